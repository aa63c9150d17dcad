// Optimizers on the row of one run, and adapters. Formulas as in `trainer/optimizers` and `trainer/low_rank.py`.
#pragma once
#include "products.h"

#include <ATen/ops/baddbmm.h>
#include <ATen/ops/bmm.h>

struct Rates {
  double lr, weight_decay;
};

// m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
// w = w (1 - lr wd) - lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
inline void adamw(float* __restrict w, const float* __restrict g, float* __restrict m, float* __restrict v, Index count,
                  Rates rates, double b1, double b2, double eps, double t) {
  const float keep = 1 - rates.lr * rates.weight_decay, rate = rates.lr / (1 - std::pow(b1, t));
  const float root = 1 / std::sqrt(1 - std::pow(b2, t)), epsilon = eps;
  const float first = b1, second = b2, new_first = 1 - b1, new_second = 1 - b2;
#pragma omp simd
  for (Index i = 0; i < count; i++) {
    m[i] = first * m[i] + new_first * g[i];
    v[i] = second * v[i] + new_second * g[i] * g[i];
    w[i] = w[i] * keep - rate * m[i] / (std::sqrt(v[i]) * root + epsilon);
  }
}

// b = momentum b + g + wd w;  w = w - lr b, with nesterov w = w - lr (g + wd w + momentum b)
inline void sgd(float* __restrict w, const float* __restrict g, float* __restrict b, Index count, Rates rates,
                double momentum, bool is_nesterov) {
  const float decay = rates.weight_decay, lr = rates.lr, keep = momentum, ahead = is_nesterov ? momentum : 1;
#pragma omp simd
  for (Index i = 0; i < count; i++) {
    const float decayed = g[i] + decay * w[i];
    b[i] = keep * b[i] + decayed;
    w[i] -= lr * (ahead * b[i] + (is_nesterov ? decayed : 0));
  }
}

struct Muon {
  double momentum;
  bool is_nesterov, is_rms_matched;
  Index steps;
  double a, b, c;
};

// x = a x + (b s + c s^2) x with s = x x', for matrices that are taller than wide x = a x + x (b s + c s^2), s = x' x:
// `steps` times, from matrices of norm 1. Returns where the result lies, in x or in spare.
inline float* newton_schulz(Buffers& buffers, float* x_Mrc, float* spare_Mrc, Index count, Index rows, Index columns, const Muon& muon) {
  const Index side = std::min(rows, columns);
  const auto stack = [count](float* data, Index r, Index c) { return at::from_blob(data, {count, r, c}, at::kFloat); };
  at::Tensor gram = stack(buffers.take(count * side * side), side, side), x = stack(x_Mrc, rows, columns);
  at::Tensor polynomial = stack(buffers.take(count * side * side), side, side), next = stack(spare_Mrc, rows, columns);
  for (Index step = 0; step < muon.steps; step++) {
    const at::Tensor transposed = x.transpose(1, 2);
    at::bmm_out(gram, rows <= columns ? x : transposed, rows <= columns ? transposed : x);
    at::baddbmm_out(polynomial, gram, gram, gram, muon.b, muon.c);
    at::baddbmm_out(next, x, rows <= columns ? polynomial : x, rows <= columns ? x : polynomial, muon.a);
    std::swap(x, next);
  }
  return x.data_ptr<float>();
}

// b = momentum b + (1 - momentum) g;  u = b, with nesterov g + momentum (b - g)
// w = w (1 - lr wd) - lr scale newton_schulz(u / |u|), scale .2 sqrt(max(rows, columns)) or sqrt(max(1, rows / columns))
// matrices: offset from the span's beginning, rows and columns of each
inline void muon_step(Buffers& buffers, float* w, const float* g, float* b, const std::vector<Index>& matrices, Rates rates,
                      const Muon& muon) {
  const float keep = 1 - rates.lr * rates.weight_decay, fresh = 1 - muon.momentum, ahead = muon.is_nesterov ? muon.momentum : 1;
  std::vector<bool> is_done(matrices.size() / 3);
  for (size_t i = 0; i < is_done.size(); i++) {
    if (is_done[i]) continue;
    const Index rows = matrices[3 * i + 1], columns = matrices[3 * i + 2], size = rows * columns;
    std::vector<Index> alike;  // matrices of one shape are multiplied together
    for (size_t j = i; j < is_done.size(); j++)
      if (matrices[3 * j + 1] == rows && matrices[3 * j + 2] == columns) alike.push_back(matrices[3 * j]), is_done[j] = true;
    const Index count = alike.size();
    float* x_Mrc = buffers.take(count * size);
    for (Index k = 0; k < count; k++) {
      float *x = x_Mrc + k * size, *of_b = b + alike[k];
      const float* of_g = g + alike[k];
      for (Index j = 0; j < size; j++) {
        of_b[j] += fresh * (of_g[j] - of_b[j]);
        x[j] = of_g[j] + ahead * (of_b[j] - of_g[j]);
      }
      const float norm = std::sqrt(dot(x, x, size)), scale = 1 / (norm < 1e-7f ? 1e-7f : norm);
      for (Index j = 0; j < size; j++) x[j] *= scale;
    }
    const float* u_Mrc = newton_schulz(buffers, x_Mrc, buffers.take(count * size), count, rows, columns, muon);
    const double ratio = static_cast<double>(rows) / columns;
    const float rate = rates.lr * (muon.is_rms_matched ? .2 * std::sqrt(std::max(rows, columns)) : std::sqrt(std::max(1.0, ratio)));
    for (Index k = 0; k < count; k++)
      for (Index j = 0; j < size; j++) w[alike[k] + j] = w[alike[k] + j] * keep - rate * u_Mrc[k * size + j];
  }
}

// Of each matrix: offsets of W, A and B in their rows; W is (rows, columns), A (rank, columns), B (rows, rank).
struct Adapter {
  Index weight, a, b, rows, columns;
};
constexpr float ALPHA_OVER_RANK = 2;

// W = base + 2 B A
inline void merge(float* merged, float* adapters, const std::vector<Adapter>& all, Index rank) {
  for (const Adapter& of : all)
    multiply(Matrix(merged + of.weight, of.rows, of.columns), Matrix(adapters + of.b, of.rows, rank),
             Matrix(adapters + of.a, rank, of.columns), 1, ALPHA_OVER_RANK);
}

// dA = 2 B' dW, dB = 2 dW A'
inline void merge_backward(float* gradient, float* dmerged, float* adapters, const std::vector<Adapter>& all, Index rank) {
  for (const Adapter& of : all) {
    const Matrix dw(dmerged + of.weight, of.rows, of.columns);
    const Matrix a(adapters + of.a, rank, of.columns), b(adapters + of.b, of.rows, rank);
    multiply(Matrix(gradient + of.a, rank, of.columns), b.T(), dw, 0, ALPHA_OVER_RANK);
    multiply(Matrix(gradient + of.b, of.rows, rank), dw, a.T(), 0, ALPHA_OVER_RANK);
  }
}
