// Memory, matrix products and e^x: all that the rest is written in.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

using Index = int64_t;

// Buffers that are taken in the same order at every step, and are allocated again only where a size has changed.
struct Buffers {
  std::vector<at::Tensor> tensors;
  size_t next = 0;

  // `size` floats, not initialized, aligned as torch aligns tensors; they stay until the buffers are used again
  float* take(Index size) {
    if (next == tensors.size()) tensors.push_back(at::empty({size}, at::kFloat));
    at::Tensor& tensor = tensors[next++];
    if (tensor.numel() != size) tensor = at::empty({size}, at::kFloat);
    return tensor.data_ptr<float>();
  }
};

// A view of floats: element (i, j) is data[i * row + j * column].
struct Matrix {
  float* data;
  Index rows, columns, row, column = 1;

  Matrix(float* data, Index rows, Index columns, Index row) : data(data), rows(rows), columns(columns), row(row) {}
  Matrix(float* data, Index rows, Index columns) : Matrix(data, rows, columns, columns) {}
  Matrix T() const {
    Matrix transposed(data, columns, rows, column);
    transposed.column = row;
    return transposed;
  }
  at::Tensor tensor() const { return at::from_blob(data, {rows, columns}, {row, column}, at::kFloat); }
};

// Floats side by side: as many as a register holds (AVX-512), or as two to four of the others do.
#ifdef __AVX512F__
constexpr Index WIDE = 16, TALL = 8;
#else
constexpr Index WIDE = 8, TALL = 4;
#endif
constexpr Index LANES = 8;
template <Index COUNT>
using Floats __attribute__((vector_size(4 * COUNT), aligned(4))) = float;

inline Index padded(Index count, Index lanes = LANES) { return (count + lanes - 1) / lanes * lanes; }

// ROWS by VECTORS * COUNT elements of out = beta out + alpha a b, of whose last columns `beyond` are not stored. Sums stay in
// registers; b is read by rows, a one float at a time, so its transpose costs nothing.
template <Index COUNT, Index ROWS, Index VECTORS>
inline void tile(float* out, Index out_row, const Matrix& a, const float* b, Index b_row, float beta, float alpha, Index beyond) {
  using Vector = Floats<COUNT>;
  Vector sum[ROWS][VECTORS] = {};
  for (Index k = 0; k < a.columns; k++)
    for (Index i = 0; i < ROWS; i++)
      for (Index v = 0; v < VECTORS; v++)
        sum[i][v] += a.data[i * a.row + k * a.column] * *reinterpret_cast<const Vector*>(b + k * b_row + v * COUNT);
  for (Index i = 0; i < ROWS; i++, out += out_row)
    for (Index v = 0; v < VECTORS; v++) {
      const Index stored = v + 1 < VECTORS ? COUNT : COUNT - beyond;
      Vector of_out = {};
      if (beta != 0) std::memcpy(&of_out, out + v * COUNT, stored * sizeof(float));
      of_out = beta * of_out + alpha * sum[i][v];
      std::memcpy(out + v * COUNT, &of_out, stored * sizeof(float));
    }
}

template <Index COUNT, Index ROWS, Index VECTORS>
inline void columns_of(const Matrix& out, Matrix a, const float* b, Index b_row, Index j, float beta, float alpha) {
  const Index beyond = std::max<Index>(0, j + VECTORS * COUNT - out.columns);
  Index i = 0;
  for (; i + ROWS <= out.rows; i += ROWS, a.data += ROWS * a.row)
    tile<COUNT, ROWS, VECTORS>(out.data + i * out.row + j, out.row, a, b + j, b_row, beta, alpha, beyond);
  for (; i < out.rows; i++, a.data += a.row)
    tile<COUNT, 1, VECTORS>(out.data + i * out.row + j, out.row, a, b + j, b_row, beta, alpha, beyond);
}

// out = beta out + alpha a b. A library's product, ATen's, is half as fast where it takes the processor for a lesser one, and
// as fast where it does not; large matrices, which this one does not cut to fit the cache, are left to it.
inline void multiply(const Matrix& out, const Matrix& a, const Matrix& b, float beta = 0, float alpha = 1) {
  if (b.rows > 1024 || b.columns > 1024) {
    at::Tensor product = out.tensor();
    at::addmm_out(product, product, a.tensor(), b.tensor(), beta, alpha);
    return;
  }
  static thread_local std::vector<float> copied;
  const float* rows_of_b = b.data;
  Index b_row = b.row;
  if (b.column != 1 || b.columns % WIDE) {  // a copy by rows, padded
    b_row = padded(b.columns, WIDE);
    copied.resize(b.rows * b_row);
    for (Index block = 0; block < b.rows; block += WIDE)  // so that lines that are read are used while in the cache
      for (Index j = 0; j < b_row; j++)
        for (Index k = block; k < std::min(block + WIDE, b.rows); k++)
          copied[k * b_row + j] = j < b.columns ? b.data[k * b.row + j * b.column] : 0;
    rows_of_b = copied.data();
  }
  Index j = 0;
  for (; j + WIDE < out.columns; j += 2 * WIDE) columns_of<WIDE, TALL, 2>(out, a, rows_of_b, b_row, j, beta, alpha);
  if (j < out.columns) columns_of<WIDE, TALL, 1>(out, a, rows_of_b, b_row, j, beta, alpha);
}

// out = a b for the few rows and columns of one head; where these are no multiple of LANES, the last columns one by one
inline void multiply_small(const Matrix& out, const Matrix& a, const Matrix& b) {
  Index j = 0;
  for (; j + LANES <= out.columns; j += LANES) columns_of<LANES, 4, 1>(out, a, b.data, b.row, j, 0, 1);
  for (; j < out.columns; j++)
    for (Index i = 0; i < out.rows; i++) {
      float sum = 0;
      for (Index k = 0; k < a.columns; k++) sum += a.data[i * a.row + k * a.column] * b.data[k * b.row + j];
      out.data[i * out.row + j] = sum;
    }
}

// e^x within 2 units of the last place, in steps that a compiler vectorizes; 1e-38 below -87, NaN for NaN.
// e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln 2 / 2, e^r by a polynomial (Cephes, expf).
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : x;
  x = x > 88.0f ? 88.0f : x;
  const float shift = 12582912.0f;  // 1.5 * 2^23: adding it leaves n in the last bits
  const float shifted = x * 1.44269504f + shift, n = shifted - shift;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  for (float c : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f}) p = p * r + c;
  const uint32_t power = (std::bit_cast<uint32_t>(shifted) << 23) + (127u << 23);
  return (p * r * r + r + 1.0f) * std::bit_cast<float>(power);
}

inline float sigmoid(float x) { return 1.0f / (1.0f + exponential(-x)); }

inline float largest(const float* x, Index count) {
  float most = x[0];
#pragma omp simd reduction(max : most)
  for (Index i = 0; i < count; i++) most = x[i] > most ? x[i] : most;
  return most;
}

inline float total(const float* x, Index count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < count; i++) sum += x[i];
  return sum;
}

inline float dot(const float* a, const float* b, Index count) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (Index i = 0; i < count; i++) sum += a[i] * b[i];
  return sum;
}

inline void add(float* to, const float* from, Index count) {
  for (Index i = 0; i < count; i++) to[i] += from[i];
}

inline float* data(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_contiguous() && tensor.is_cpu() && tensor.scalar_type() == at::kFloat, "not a row of floats");
  return tensor.data_ptr<float>();
}

inline void copy(float* to, const float* from, Index count) { std::memcpy(to, from, count * sizeof(float)); }
