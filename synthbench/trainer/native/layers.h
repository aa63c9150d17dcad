// The parts of a layer but its products: each forward step, and below it its backward step with the formula.
#pragma once
#include "products.h"

enum class MLP { relu2, gelu, swiglu };
constexpr float EPSILON = 1e-6f;  // under the root of the norms

// Gain and bias of a layernorm, null for an rmsnorm; or their gradients, null where these are not asked for.
struct Affine {
  float *gain, *bias;
};

struct Norm {
  Index rows;
  float *x_Rd;      // normalized
  float *scale_R;   // 1 / deviation
  float *y_Rd;      // gain x + bias
};

// rmsnorm: x / sqrt(mean(x^2) + eps); layernorm: the same of x - mean(x), then gain and bias
inline Norm normalize(Buffers& buffers, const float* in_Rd, Index rows, Index width, Affine affine) {
  Norm norm{rows, buffers.take(rows * width), buffers.take(rows), nullptr};
  norm.y_Rd = affine.gain ? buffers.take(rows * width) : norm.x_Rd;
  for (Index i = 0; i < rows; i++) {
    const float* in = in_Rd + i * width;
    float *x = norm.x_Rd + i * width, mean = 0;
    if (affine.gain) {
#pragma omp simd reduction(+ : mean)
      for (Index j = 0; j < width; j++) mean += in[j];
      mean /= width;
    }
    for (Index j = 0; j < width; j++) x[j] = in[j] - mean;
    const float scale = norm.scale_R[i] = 1.0f / std::sqrt(dot(x, x, width) / width + EPSILON);
    for (Index j = 0; j < width; j++) x[j] *= scale;
    if (affine.gain)
      for (Index j = 0; j < width; j++) norm.y_Rd[i * width + j] = affine.bias[j] + affine.gain[j] * x[j];
  }
  return norm;
}

// dgain = sum of dy x, dbias = sum of dy, over rows; dx = gain dy;
// din = (dx - x mean(dx x) - mean(dx)) / deviation, the last mean for layernorm only. In place of dy.
inline void normalize_backward(const Norm& norm, float* dy_Rd, Index width, Affine affine, Affine gradient) {
  if (gradient.gain) {
    std::memset(gradient.gain, 0, width * sizeof(float));
    std::memset(gradient.bias, 0, width * sizeof(float));
  }
  for (Index i = 0; i < norm.rows; i++) {
    float *dy = dy_Rd + i * width, mean = 0;
    const float* x = norm.x_Rd + i * width;
    if (gradient.gain)
      for (Index j = 0; j < width; j++) {
        gradient.gain[j] += dy[j] * x[j];
        gradient.bias[j] += dy[j];
      }
    if (affine.gain) {
#pragma omp simd reduction(+ : mean)
      for (Index j = 0; j < width; j++) mean += dy[j] *= affine.gain[j];
      mean /= width;
    }
    const float along = dot(dy, x, width) / width, scale = norm.scale_R[i];
    for (Index j = 0; j < width; j++) dy[j] = (dy[j] - x[j] * along - mean) * scale;
  }
}

constexpr float GELU = 1.5957691216f, CUBIC = 0.044715f;  // 2 sqrt(2 / pi): gelu(u) = u sigmoid(GELU (u + CUBIC u^3))

// relu2: max(u, 0)^2; gelu: its tanh form; swiglu: u gate sigmoid(gate)
inline void activate(MLP mlp, float* __restrict out, const float* __restrict up, const float* __restrict gate, Index count) {
  if (mlp == MLP::relu2)
    for (Index i = 0; i < count; i++) {
      const float positive = up[i] < 0 ? 0 : up[i];
      out[i] = positive * positive;
    }
  else if (mlp == MLP::gelu)
#pragma omp simd
    for (Index i = 0; i < count; i++) out[i] = up[i] * sigmoid(GELU * (up[i] + CUBIC * up[i] * up[i] * up[i]));
  else
#pragma omp simd
    for (Index i = 0; i < count; i++) out[i] = up[i] * gate[i] * sigmoid(gate[i]);
}

// relu2: dup = 2 max(u, 0) dout; gelu: dup = (s + u s (1 - s) GELU (1 + 3 CUBIC u^2)) dout with s its sigmoid;
// swiglu: dup = gate s dout, dgate = u (s + gate s (1 - s)) dout with s = sigmoid(gate). dup in place of dout.
inline void activate_backward(MLP mlp, float* __restrict dout, float* __restrict dgate, const float* __restrict up,
                              const float* __restrict gate, Index count) {
  if (mlp == MLP::relu2)
    for (Index i = 0; i < count; i++) dout[i] *= 2 * (up[i] < 0 ? 0 : up[i]);
  else if (mlp == MLP::gelu)
#pragma omp simd
    for (Index i = 0; i < count; i++) {
      const float u = up[i], s = sigmoid(GELU * (u + CUBIC * u * u * u));
      dout[i] *= s + u * s * (1 - s) * GELU * (1 + 3 * CUBIC * u * u);
    }
  else
#pragma omp simd
    for (Index i = 0; i < count; i++) {
      const float g = gate[i], s = sigmoid(g), d = dout[i];
      dgate[i] = up[i] * (s + g * s * (1 - s)) * d;
      dout[i] = g * s * d;
    }
}

// RoPE: neighbouring pairs (a, b) of a head turn by the angle of their position: (a c - b s, a s + b c).
// direction -1 turns back, which is also the backward step. turn_h: the position's c and s by turns.
inline void rotate(float* x_d, const float* turn_h, Index width, Index head_width, float direction) {
  for (Index head = 0; head < width; head += head_width)
    for (Index j = 0; j < head_width; j += 2) {
      const float a = x_d[head + j], b = x_d[head + j + 1], c = turn_h[j], s = direction * turn_h[j + 1];
      x_d[head + j] = a * c - b * s;
      x_d[head + j + 1] = a * s + b * c;
    }
}
