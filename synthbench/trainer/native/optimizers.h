// Optimizers on a span of one run's row, and adapters. Formulas as in `trainer/optimizers` and `trainer/low_rank.py`.
#pragma once
#include "products.h"

#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>

using at::Tensor;
using Ints = at::IntArrayRef;

// m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
// w = w (1 - lr wd) - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
inline void adamw(const Tensor& value, const Tensor& grad, const Tensor& first, const Tensor& second, double lr, double decay,
                  double b1, double b2, double eps, Index t) {
  float *__restrict w = data(value), *__restrict m = data(first), *__restrict v = data(second);
  const float *__restrict g = data(grad), keep = 1 - lr * decay, rate = lr / (1 - std::pow(b1, t)), epsilon = eps;
  const float root = 1 / std::sqrt(1 - std::pow(b2, t)), old_m = b1, old_v = b2, new_m = 1 - b1, new_v = 1 - b2;
  const Index count = value.numel();
#pragma omp simd
  for (Index i = 0; i < count; i++) {
    m[i] = old_m * m[i] + new_m * g[i];
    v[i] = old_v * v[i] + new_v * g[i] * g[i];
    w[i] = w[i] * keep - rate * m[i] / (std::sqrt(v[i]) * root + epsilon);
  }
}

// b = momentum b + g + wd w;  w = w - lr b, with nesterov w = w - lr (g + wd w + momentum b)
inline void sgd(const Tensor& value, const Tensor& grad, const Tensor& momentum, double lr, double decay, double keep,
                bool is_nesterov) {
  float *__restrict w = data(value), *__restrict b = data(momentum);
  const float *__restrict g = data(grad), wd = decay, rate = lr, old_b = keep, ahead = is_nesterov ? keep : 1;
  const Index count = value.numel();
#pragma omp simd
  for (Index i = 0; i < count; i++) {
    const float decayed = g[i] + wd * w[i];
    b[i] = old_b * b[i] + decayed;
    w[i] -= rate * (ahead * b[i] + (is_nesterov ? decayed : 0));
  }
}

// x = a x + (b s + c s^2) x with s = x x'; of matrices taller than wide x = a x + x (b s + c s^2) with s = x' x.
// `steps` times, from matrices of norm 1, in place of x_Mrc.
inline void newton_schulz(Buffers& buffers, float* x_Mrc, Ints shape_Mrc, Index steps, at::ArrayRef<double> abc) {
  const Index count = shape_Mrc[0], side = std::min(shape_Mrc[1], shape_Mrc[2]), size = shape_Mrc[1] * shape_Mrc[2];
  const bool is_wide = shape_Mrc[1] <= shape_Mrc[2];
  const auto stack = [](float* of, Ints shape) { return at::from_blob(of, shape, at::kFloat); };
  Tensor gram = stack(buffers.take(count * side * side), {count, side, side}), x = stack(x_Mrc, shape_Mrc);
  Tensor polynomial = stack(buffers.take(count * side * side), {count, side, side});
  Tensor next = stack(buffers.take(count * size), shape_Mrc);
  for (Index step = 0; step < steps; step++, std::swap(x, next)) {
    const Tensor transposed = x.transpose(1, 2);
    at::bmm_out(gram, is_wide ? x : transposed, is_wide ? transposed : x);
    at::baddbmm_out(polynomial, gram, gram, gram, abc[1], abc[2]);
    at::baddbmm_out(next, x, is_wide ? polynomial : x, is_wide ? x : polynomial, abc[0]);
  }
  if (x.data_ptr<float>() != x_Mrc) copy(x_Mrc, x.data_ptr<float>(), count * size);
}

// b = momentum b + (1 - momentum) g;  u = b, with nesterov g + momentum (b - g)
// w = w (1 - lr wd) - lr scale newton_schulz(u / |u|), scale .2 sqrt(max(rows, columns)) or sqrt(max(1, rows / columns))
// matrices: of each its offset from the span's beginning, rows and columns
inline void muon(Buffers& buffers, const Tensor& value, const Tensor& grad, const Tensor& momentum, Ints matrices, double lr,
                 double decay, double keep, bool is_nesterov, bool is_rms_matched, Index steps, at::ArrayRef<double> abc) {
  const float kept = 1 - lr * decay, fresh = 1 - keep, ahead = is_nesterov ? keep : 1;
  std::vector<bool> is_done(matrices.size());
  for (size_t i = 0; i < matrices.size(); i += 3) {
    if (is_done[i]) continue;
    const Index rows = matrices[i + 1], columns = matrices[i + 2], size = rows * columns;
    std::vector<Index> alike;  // matrices of one shape are multiplied together
    for (size_t j = i; j < matrices.size(); j += 3)
      if (matrices[j + 1] == rows && matrices[j + 2] == columns) alike.push_back(matrices[j]), is_done[j] = true;
    float* x = buffers.take(alike.size() * size);
    for (size_t k = 0; k < alike.size(); k++) {
      float *u = x + k * size, *b = data(momentum) + alike[k];
      const float* g = data(grad) + alike[k];
      for (Index j = 0; j < size; j++) {
        b[j] += fresh * (g[j] - b[j]);
        u[j] = g[j] + ahead * (b[j] - g[j]);
      }
      const float norm = std::sqrt(dot(u, u, size)), scale = 1 / (norm < 1e-7f ? 1e-7f : norm);
      for (Index j = 0; j < size; j++) u[j] *= scale;
    }
    newton_schulz(buffers, x, {Index(alike.size()), rows, columns}, steps, abc);
    const double original = std::sqrt(std::max(1.0, static_cast<double>(rows) / columns));
    const float rate = lr * (is_rms_matched ? .2 * std::sqrt(std::max(rows, columns)) : original);
    for (size_t k = 0; k < alike.size(); k++) {
      float* w = data(value) + alike[k];
      for (Index j = 0; j < size; j++) w[j] = w[j] * kept - rate * x[k * size + j];
    }
  }
}

// W = base + 2 B A; matrices: of each the offsets of W (rows, columns), A (rank, columns) and B (rows, rank), then rows and
// columns. merged holds the base.
inline void merge(const Tensor& merged, const Tensor& adapters, Ints matrices, Index rank) {
  for (size_t i = 0; i < matrices.size(); i += 5) {
    const Index rows = matrices[i + 3], columns = matrices[i + 4];
    const Matrix a(data(adapters) + matrices[i + 1], rank, columns), b(data(adapters) + matrices[i + 2], rows, rank);
    multiply(Matrix(data(merged) + matrices[i], rows, columns), b, a, 1, 2);
  }
}

// dA = 2 B' dW, dB = 2 dW A'
inline void merge_backward(const Tensor& gradient, const Tensor& dmerged, const Tensor& adapters, Ints matrices, Index rank) {
  for (size_t i = 0; i < matrices.size(); i += 5) {
    const Index rows = matrices[i + 3], columns = matrices[i + 4];
    const Matrix a(data(adapters) + matrices[i + 1], rank, columns), b(data(adapters) + matrices[i + 2], rows, rank);
    const Matrix dw(data(dmerged) + matrices[i], rows, columns);
    multiply(Matrix(data(gradient) + matrices[i + 1], rank, columns), b.T(), dw, 0, 2);
    multiply(Matrix(data(gradient) + matrices[i + 2], rows, rank), dw, a.T(), 0, 2);
  }
}
