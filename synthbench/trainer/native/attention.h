// Causal attention of one example after the other, one head after the other, in tiles that stay in the first cache.
//
// Shapes: N rows (tokens of the batch that matter, one example after the other), M of them are asked, L tokens of an
// example, S of them asked, d width, h head width.
#pragma once
#include "layers.h"

// The tokens of a batch that matter: of each example those up to the last one that is asked. Asked is, what reaches the
// loss: queries of the last layer, its MLP and the head are computed there alone.
struct Rows {
  std::vector<Index> token_N, position_N;
  std::vector<Index> asked_M, target_M;  // index of a row; the token that follows it
  std::vector<Index> rows_B = {0}, asked_B = {0};  // where examples begin, and at last their ends
  Index longest = 0;
};

struct Attention {
  const Rows& rows;
  bool is_last;  // only asked rows have queries
  Index width, head_width;
  Index row() const { return padded(rows.longest); }  // of the weights of one query and head
  Index queries() const { return is_last ? rows.asked_M.size() : rows.token_N.size(); }
  Index row_of(Index m) const { return is_last ? rows.asked_M[m] : m; }
  Index position(Index m) const { return rows.position_N[row_of(m)]; }
  const std::vector<Index>& queries_B() const { return is_last ? rows.asked_B : rows.rows_B; }
};

// One head of a column of keys or values, transposed, columns beyond the example zero: (h, padded L)
inline void transpose(float* out_hL, const float* x, Index stride, Index length, Index head_width, Index row) {
  for (Index j = 0; j < head_width; j++) {
    for (Index l = 0; l < length; l++) out_hL[j * row + l] = x[l * stride + j];
    for (Index l = length; l < row; l++) out_hL[j * row + l] = 0;
  }
}

// p = softmax(q k' / sqrt(h)) over positions up to the query's own; out = p v. kv_N2d: keys beside values.
// Keeps p: weights_MHL, zero beyond the query's position.
inline void attend(Buffers& buffers, const Attention& shape, float* out_Md, float* weights_MHL, float* q_Md, float* kv_N2d) {
  const Index d = shape.width, h = shape.head_width, heads = d / h, row = shape.row();
  const float factor = 1.0f / std::sqrt(static_cast<float>(h));
  float* keys_hL = buffers.take(h * row);
  const auto &rows_B = shape.rows.rows_B, &queries_B = shape.queries_B();
  for (size_t b = 0; b + 1 < rows_B.size(); b++) {
    const Index length = rows_B[b + 1] - rows_B[b], first = queries_B[b], asked = queries_B[b + 1] - first;
    const Index used = padded(length);
    for (Index head = 0; head < heads; head++) {
      float *keys = kv_N2d + rows_B[b] * 2 * d + head * h, *values = keys + d;
      const Matrix weights(weights_MHL + first * heads * row + head * asked * used, asked, used);
      transpose(keys_hL, keys, 2 * d, length, h, used);
      multiply_small(weights, Matrix(q_Md + first * d + head * h, asked, h, d), Matrix(keys_hL, h, used));
      float* p = weights.data;
      for (Index s = 0; s < asked; s++, p += used) {
        const float most = largest(p, shape.position(first + s) + 1);
        for (Index l = 0; l < used; l++) p[l] = factor * (p[l] - most);
      }
      p = weights.data;
#pragma omp simd
      for (Index i = 0; i < asked * used; i++) p[i] = exponential(p[i]);
      for (Index s = 0; s < asked; s++, p += used) {
        const Index position = shape.position(first + s);
        for (Index l = 0; l < used; l++) p[l] = l <= position ? p[l] : 0;
        const float scale = 1.0f / total(p, used);
        for (Index l = 0; l < used; l++) p[l] *= scale;
      }
      multiply_small(Matrix(out_Md + first * d + head * h, asked, h, d), Matrix(weights.data, asked, length, used),
                     Matrix(values, length, h, 2 * d));
    }
  }
}

// dp = dout v';  dscore = p (dp - sum(dp p)) / sqrt(h);  dq = dscore k;  dk = dscore' q;  dv = p' dout
inline void attend_backward(Buffers& buffers, const Attention& shape, float* dq_Md, float* dkv_N2d, float* dout_Md,
                            float* weights_MHL, float* q_Md, float* kv_N2d) {
  const Index d = shape.width, h = shape.head_width, heads = d / h, row = shape.row();
  const float factor = 1.0f / std::sqrt(static_cast<float>(h));
  float *values_hL = buffers.take(h * row), *dscores_SL = buffers.take(shape.rows.longest * row);
  const auto &rows_B = shape.rows.rows_B, &queries_B = shape.queries_B();
  for (size_t b = 0; b + 1 < rows_B.size(); b++) {
    const Index length = rows_B[b + 1] - rows_B[b], first = queries_B[b], asked = queries_B[b + 1] - first;
    const Index used = padded(length);
    for (Index head = 0; head < heads; head++) {
      const Index of_rows = rows_B[b] * 2 * d + head * h, of_queries = first * d + head * h;
      const Matrix q(q_Md + of_queries, asked, h, d), dout(dout_Md + of_queries, asked, h, d);
      const Matrix weights(weights_MHL + first * heads * row + head * asked * used, asked, length, used);
      const Matrix dscores(dscores_SL, asked, length, used);
      transpose(values_hL, kv_N2d + of_rows + d, 2 * d, length, h, used);
      multiply_small(Matrix(dscores_SL, asked, used), dout, Matrix(values_hL, h, used));
      for (Index s = 0; s < asked; s++) {
        float *dp = dscores_SL + s * used, *p = weights.data + s * weights.row;
        const float along = dot(dp, p, used);
        for (Index l = 0; l < used; l++) dp[l] = p[l] * (dp[l] - along) * factor;
      }
      multiply_small(Matrix(dq_Md + of_queries, asked, h, d), dscores, Matrix(kv_N2d + of_rows, length, h, 2 * d));
      multiply_small(Matrix(dkv_N2d + of_rows, length, h, 2 * d), dscores.T(), q);
      multiply_small(Matrix(dkv_N2d + of_rows + d, length, h, 2 * d), weights.T(), dout);
    }
  }
}
