// Optimizers on a span of one run's row, and adapters. Formulas as in `trainer/optimizers` and `trainer/low_rank.py`.
#pragma once
#include "products.h"

using at::Tensor;
using Ints = at::IntArrayRef;

inline void check_sizes(const Tensor& value, std::initializer_list<Tensor> others) {
  for (const Tensor& other : others) TORCH_CHECK(other.numel() == value.numel(), "spans of different sizes");
}

// m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
// w = w (1 - lr wd) - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
inline void adamw(const Tensor& value, const Tensor& grad, const Tensor& first, const Tensor& second, double lr, double decay,
                  double b1, double b2, double eps, Index t) {
  check_sizes(value, {grad, first, second});
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
  check_sizes(value, {grad, momentum});
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

// x = x (a + b s + c s^2) with s = x' x: `steps` times, from a matrix of norm 1 that is at least as tall as wide, in place
inline void newton_schulz(Buffers& buffers, Matrix x, Index steps, at::ArrayRef<double> abc) {
  const Index side = x.columns, size = x.rows * side;
  const Matrix gram(buffers.take(side * side), side, side), polynomial(buffers.take(side * side), side, side);
  Matrix next(buffers.take(size), x.rows, side);
  for (Index step = 0; step < steps; step++) {
    multiply(gram, x.T(), x);
    copy(polynomial.data, gram.data, side * side);
    multiply(polynomial, gram, gram, abc[1], abc[2]);
    for (Index j = 0; j < side; j++) polynomial.data[j * side + j] += abc[0];
    multiply(next, x, polynomial);
    copy(x.data, next.data, size);
  }
}

// b = momentum b + (1 - momentum) g;  u = b, with nesterov g + momentum (b - g)
// w = w (1 - lr wd) - lr scale newton_schulz(u / |u|), scale .2 sqrt(max(rows, columns)) or sqrt(max(1, rows / columns))
// matrices: of each its offset from the span's beginning, rows and columns
inline void muon(Buffers& buffers, const Tensor& value, const Tensor& grad, const Tensor& momentum, Ints matrices, double lr,
                 double decay, double keep, bool is_nesterov, bool is_rms_matched, Index steps, at::ArrayRef<double> abc) {
  check_sizes(value, {grad, momentum});
  const float kept = 1 - lr * decay, fresh = 1 - keep, ahead = is_nesterov ? keep : 1;
  for (size_t i = 0; i < matrices.size(); i += 3) {
    buffers.next = 0;
    const Index at = matrices[i], rows = matrices[i + 1], columns = matrices[i + 2], size = rows * columns;
    TORCH_CHECK(at >= 0 && at + size <= value.numel(), "a matrix beyond its span");
    float *w = data(value) + at, *b = data(momentum) + at, *u = buffers.take(size);
    const float* g = data(grad) + at;
    for (Index j = 0; j < size; j++) {
      b[j] += fresh * (g[j] - b[j]);
      u[j] = g[j] + ahead * (b[j] - g[j]);
    }
    const float norm = std::sqrt(dot(u, u, size)), scale = 1 / (norm < 1e-7f ? 1e-7f : norm);
    Matrix x(buffers.take(size), std::max(rows, columns), std::min(rows, columns));
    const Matrix as_x = rows < columns ? Matrix(u, rows, columns).T() : Matrix(u, rows, columns);
    for (Index r = 0; r < x.rows; r++)
      for (Index c = 0; c < x.columns; c++) x.data[r * x.row + c] = as_x.data[r * as_x.row + c * as_x.column] * scale;
    newton_schulz(buffers, x, steps, abc);
    for (Index r = 0; r < x.rows; r++)
      for (Index c = 0; c < x.columns; c++) as_x.data[r * as_x.row + c * as_x.column] = x.data[r * x.row + c];
    const double original = std::sqrt(std::max(1.0, static_cast<double>(rows) / columns));
    const float rate = lr * (is_rms_matched ? .2 * std::sqrt(std::max(rows, columns)) : original);
    for (Index j = 0; j < size; j++) w[j] = w[j] * kept - rate * u[j];
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
