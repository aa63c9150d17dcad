// Memory, matrix products and e^x: all that the rest is written in.
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>

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

// out = beta out + alpha a b, by ATen
inline void multiply(const Matrix& out, const Matrix& a, const Matrix& b, float beta = 0, float alpha = 1) {
  at::Tensor product = out.tensor();
  if (beta == 0 && alpha == 1)
    at::mm_out(product, a.tensor(), b.tensor());
  else
    at::addmm_out(product, product, a.tensor(), b.tensor(), beta, alpha);
}

// Eight floats side by side: what every processor that we know multiplies at once, or in two halves.
constexpr Index LANES = 8;
typedef float Lanes __attribute__((vector_size(4 * LANES), aligned(4)));

inline Index padded(Index count) { return (count + LANES - 1) / LANES * LANES; }

template <int ROWS>
inline void small_rows(float* out, Index out_row, const float* a, Index a_row, Index a_column, const float* b, Index b_row,
                       Index columns, Index inner) {
  Index j = 0;
  for (; j + LANES <= columns; j += LANES) {
    Lanes sum[ROWS] = {};
    for (Index k = 0; k < inner; k++) {
      const Lanes of_b = *reinterpret_cast<const Lanes*>(b + k * b_row + j);
      for (int i = 0; i < ROWS; i++) sum[i] += a[i * a_row + k * a_column] * of_b;
    }
    for (int i = 0; i < ROWS; i++) *reinterpret_cast<Lanes*>(out + i * out_row + j) = sum[i];
  }
  for (; j < columns; j++)
    for (int i = 0; i < ROWS; i++) {
      float sum = 0;
      for (Index k = 0; k < inner; k++) sum += a[i * a_row + k * a_column] * b[k * b_row + j];
      out[i * out_row + j] = sum;
    }
}

// out = a b for the few rows and columns of one head, where a call of a library costs more than the product
inline void multiply_small(const Matrix& out, const Matrix& a, const Matrix& b) {
  Index i = 0;
  for (; i + 4 <= out.rows; i += 4)
    small_rows<4>(out.data + i * out.row, out.row, a.data + i * a.row, a.row, a.column, b.data, b.row, out.columns, a.columns);
  for (; i < out.rows; i++)
    small_rows<1>(out.data + i * out.row, out.row, a.data + i * a.row, a.row, a.column, b.data, b.row, out.columns, a.columns);
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
