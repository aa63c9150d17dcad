// The transformer of one run: losses, and gradients written by hand. The same mathematics as `trainer/transformer.py`.
//
// Shapes: B examples, N rows, M rows that are asked (see attention.h), d width, F inner width, V vocabulary.
#pragma once
#include "attention.h"

struct Layer {
  float *qkv, *out, *up, *gate, *down;  // (3d, d), (d, d), (F, d), (F, d), (d, F)
  Affine norm_attention, norm_mlp;
};

// Where each weight, or its gradient, of one run lies; null where a model has none, or no gradient is asked for.
struct Parameters {
  std::vector<Layer> layers;
  float *embedding, *positions, *head;  // (V, d), (L, d), (V, d)
  Affine norm_head;
};

struct Model {
  Index layers, width, head_width, inner, vocabulary, length;
  MLP mlp;
  std::vector<Index> offsets;  // from the beginning of a run's row, in the order of `Parameters`; -1: none

  // hidden: the row that holds the matrices of layers; rest: the one of all others, or null
  Parameters of(float* hidden, float* rest) const {
    const Index* offset = offsets.data();
    const auto next = [&](float* row) {
      const Index at = *offset++;
      return at < 0 || !row ? nullptr : row + at;
    };
    Parameters all;
    for (Index i = 0; i < layers; i++)
      all.layers.push_back({next(hidden), next(hidden), next(hidden), next(hidden), next(hidden),
                            {next(rest), next(rest)}, {next(rest), next(rest)}});
    all.embedding = next(rest), all.positions = next(rest), all.head = next(rest);
    all.norm_head = {next(rest), next(rest)};
    return all;
  }
};

// What the backward pass needs of a layer.
struct Passed {
  Attention shape;
  bool is_table;  // norm and qkv were computed by entry of the vocabulary
  Norm norm_attention = {}, norm_mlp = {};
  float *asked_Md = nullptr, *q_Md = nullptr, *kv_N2d = nullptr, *weights_MHL = nullptr, *heads_Md = nullptr;
  float *up_MF = nullptr, *gate_MF = nullptr, *inner_MF = nullptr;
};

struct Forward {
  std::vector<Passed> layers;
  Norm norm_head;
  float* logits_MV;
};

inline float* gathered(Buffers& buffers, const float* x_Nd, const std::vector<Index>& rows_M, Index width) {
  float* out_Md = buffers.take(rows_M.size() * width);
  for (size_t m = 0; m < rows_M.size(); m++) copy(out_Md + m * width, x_Nd + rows_M[m] * width, width);
  return out_Md;
}

inline void rotate_rows(const Passed& layer, float* q_Md, float* kv_N2d, const float* turn_Lh, float direction) {
  const Attention& shape = layer.shape;
  const Index d = shape.width, h = shape.head_width, rows = shape.rows.token_N.size();
  for (Index m = 0; m < shape.queries(); m++) rotate(q_Md + m * d, turn_Lh + shape.position(m) * h, d, h, direction);
  for (Index n = 0; n < rows; n++) rotate(kv_N2d + n * 2 * d, turn_Lh + shape.rows.position_N[n] * h, d, h, direction);
}

// turn_Lh: RoPE's cosines and sines, null with learned positions
inline Forward forward(Buffers& buffers, const Model& model, const Parameters& w, const Rows& rows, const float* turn_Lh) {
  const Index N = rows.token_N.size(), d = model.width, F = model.inner, V = model.vocabulary;
  Forward passed;
  float* x = buffers.take(N * d);  // the residual stream: N rows, M from the last attention on
  for (Index n = 0; n < N; n++) {
    copy(x + n * d, w.embedding + rows.token_N[n] * d, d);
    if (w.positions) add(x + n * d, w.positions + rows.position_N[n] * d, d);
  }
  for (Index i = 0; i < model.layers; i++) {
    const Layer& layer = w.layers[i];
    Passed of{{rows, i == model.layers - 1, d, model.head_width}, i == 0 && !w.positions && V < N};
    const Index M = of.shape.queries();
    const Matrix qkv(layer.qkv, 3 * d, d), query(layer.qkv, d, d), key_value(layer.qkv + d * d, 2 * d, d);
    of.q_Md = buffers.take(M * d), of.kv_N2d = buffers.take(N * 2 * d);
    if (of.is_table) {
      of.norm_attention = normalize(buffers, w.embedding, V, d, layer.norm_attention);
      float* table_V3d = buffers.take(V * 3 * d);
      multiply(Matrix(table_V3d, V, 3 * d), Matrix(of.norm_attention.y_Rd, V, d), qkv.T());
      for (Index m = 0; m < M; m++) copy(of.q_Md + m * d, table_V3d + rows.token_N[of.shape.row_of(m)] * 3 * d, d);
      for (Index n = 0; n < N; n++) copy(of.kv_N2d + n * 2 * d, table_V3d + rows.token_N[n] * 3 * d + d, 2 * d);
    } else {
      of.norm_attention = normalize(buffers, x, N, d, layer.norm_attention);
      float* y_Nd = of.norm_attention.y_Rd;
      of.asked_Md = of.shape.is_last ? gathered(buffers, y_Nd, rows.asked_M, d) : y_Nd;
      multiply(Matrix(of.q_Md, M, d), Matrix(of.asked_Md, M, d), query.T());
      multiply(Matrix(of.kv_N2d, N, 2 * d), Matrix(y_Nd, N, d), key_value.T());
    }
    if (turn_Lh) rotate_rows(of, of.q_Md, of.kv_N2d, turn_Lh, 1);
    of.weights_MHL = buffers.take(M * (d / model.head_width) * of.shape.row()), of.heads_Md = buffers.take(M * d);
    attend(buffers, of.shape, of.heads_Md, of.weights_MHL, of.q_Md, of.kv_N2d);
    if (of.shape.is_last) x = gathered(buffers, x, rows.asked_M, d);
    multiply(Matrix(x, M, d), Matrix(of.heads_Md, M, d), Matrix(layer.out, d, d).T(), 1);
    of.norm_mlp = normalize(buffers, x, M, d, layer.norm_mlp);
    const Matrix y(of.norm_mlp.y_Rd, M, d);
    of.up_MF = buffers.take(M * F), of.inner_MF = buffers.take(M * F);
    multiply(Matrix(of.up_MF, M, F), y, Matrix(layer.up, F, d).T());
    if (layer.gate) {
      of.gate_MF = buffers.take(M * F);
      multiply(Matrix(of.gate_MF, M, F), y, Matrix(layer.gate, F, d).T());
    }
    activate(model.mlp, of.inner_MF, of.up_MF, of.gate_MF, M * F);
    multiply(Matrix(x, M, d), Matrix(of.inner_MF, M, F), Matrix(layer.down, d, F).T(), 1);
    passed.layers.push_back(of);
  }
  const Index M = rows.asked_M.size();
  passed.norm_head = normalize(buffers, x, M, d, w.norm_head);
  passed.logits_MV = buffers.take(M * V);
  multiply(Matrix(passed.logits_MV, M, V), Matrix(passed.norm_head.y_Rd, M, d), Matrix(w.head, V, d).T());
  return passed;
}

// Mean cross-entropy of the tokens asked for. Logits become its gradient: (softmax(logits) - 1 at the token) / M
inline double cross_entropy(float* logits_MV, const Rows& rows, Index V) {
  const Index M = rows.asked_M.size();
  double loss = 0;
  for (Index m = 0; m < M; m++) {
    float* logits = logits_MV + m * V;
    const float of_target = logits[rows.target_M[m]], most = largest(logits, V);
#pragma omp simd
    for (Index j = 0; j < V; j++) logits[j] = exponential(logits[j] - most);
    const float sum = total(logits, V);
    loss += std::log(sum) + most - of_target;
    const float scale = 1 / (sum * M);
    for (Index j = 0; j < V; j++) logits[j] *= scale;
    logits[rows.target_M[m]] -= 1.0f / M;
  }
  return loss / M;
}

// With y = x W': dW = dy' x and dx = dy W for every product, from the head to the embedding. logits_MV holds its gradient.
// g: where gradients go, those of weights that are not trained null.
inline void backward(Buffers& buffers, const Model& model, const Parameters& w, const Parameters& g, const Rows& rows,
                     const float* turn_Lh, const Forward& passed) {
  const Index N = rows.token_N.size(), M_last = rows.asked_M.size(), d = model.width, F = model.inner, V = model.vocabulary;
  const bool is_embedding_trained = g.embedding;
  float *dx = buffers.take(N * d), *dy = buffers.take(N * d), *dheads = buffers.take(N * d), *dq = buffers.take(N * d);
  float *dkv = buffers.take(N * 2 * d), *dinner = buffers.take(N * F), *dgate = buffers.take(N * F);
  if (is_embedding_trained) std::memset(g.embedding, 0, V * d * sizeof(float));
  if (g.positions) std::memset(g.positions, 0, model.length * d * sizeof(float));
  const Matrix dlogits(passed.logits_MV, M_last, V);  // of a tied head the gradient is the embedding's, which grows below
  if (g.head) multiply(Matrix(g.head, V, d), dlogits.T(), Matrix(passed.norm_head.y_Rd, M_last, d));
  multiply(Matrix(dx, M_last, d), dlogits, Matrix(w.head, V, d));
  normalize_backward(passed.norm_head, dx, d, w.norm_head, g.norm_head);
  for (Index i = model.layers - 1; i >= 0; i--) {
    const Layer &weight = w.layers[i], &gradient = g.layers[i];
    const Passed& of = passed.layers[i];
    const Index M = of.shape.queries();
    const Matrix dx_Md(dx, M, d), dy_Md(dy, M, d), dinner_MF(dinner, M, F), y_Md(of.norm_mlp.y_Rd, M, d);
    // x = x + activate(norm(x) up') down'
    multiply(Matrix(gradient.down, d, F), dx_Md.T(), Matrix(of.inner_MF, M, F));
    multiply(dinner_MF, dx_Md, Matrix(weight.down, d, F));
    activate_backward(model.mlp, dinner, dgate, of.up_MF, of.gate_MF, M * F);
    multiply(Matrix(gradient.up, F, d), dinner_MF.T(), y_Md);
    multiply(dy_Md, dinner_MF, Matrix(weight.up, F, d));
    if (weight.gate) {
      multiply(Matrix(gradient.gate, F, d), Matrix(dgate, M, F).T(), y_Md);
      multiply(dy_Md, Matrix(dgate, M, F), Matrix(weight.gate, F, d), 1);
    }
    normalize_backward(of.norm_mlp, dy, d, weight.norm_mlp, gradient.norm_mlp);
    add(dx, dy, M * d);
    // x = x + heads out'
    multiply(Matrix(gradient.out, d, d), dx_Md.T(), Matrix(of.heads_Md, M, d));
    multiply(Matrix(dheads, M, d), dx_Md, Matrix(weight.out, d, d));
    attend_backward(buffers, of.shape, dq, dkv, dheads, of.weights_MHL, of.q_Md, of.kv_N2d);
    if (turn_Lh) rotate_rows(of, dq, dkv, turn_Lh, -1);
    if (of.shape.is_last) {  // from M rows back to N
      std::memset(dheads, 0, N * d * sizeof(float));
      for (Index m = 0; m < M; m++) copy(dheads + rows.asked_M[m] * d, dx + m * d, d);
      std::swap(dx, dheads);
    }
    if (of.is_table) {
      float* dtable_V3d = buffers.take(V * 3 * d);
      std::memset(dtable_V3d, 0, V * 3 * d * sizeof(float));
      for (Index m = 0; m < M; m++) add(dtable_V3d + rows.token_N[of.shape.row_of(m)] * 3 * d, dq + m * d, d);
      for (Index n = 0; n < N; n++) add(dtable_V3d + rows.token_N[n] * 3 * d + d, dkv + n * 2 * d, 2 * d);
      const Matrix dtable(dtable_V3d, V, 3 * d);
      multiply(Matrix(gradient.qkv, 3 * d, d), dtable.T(), Matrix(of.norm_attention.y_Rd, V, d));
      if (!is_embedding_trained) return;
      float* dentry_Vd = buffers.take(V * d);
      multiply(Matrix(dentry_Vd, V, d), dtable, Matrix(weight.qkv, 3 * d, d));
      normalize_backward(of.norm_attention, dentry_Vd, d, weight.norm_attention, gradient.norm_attention);
      add(g.embedding, dentry_Vd, V * d);
    } else {
      const Matrix dq_Md(dq, M, d), dkv_N2d(dkv, N, 2 * d), y_Nd(of.norm_attention.y_Rd, N, d);
      multiply(Matrix(gradient.qkv, d, d), dq_Md.T(), Matrix(of.asked_Md, M, d));
      multiply(Matrix(gradient.qkv + d * d, 2 * d, d), dkv_N2d.T(), y_Nd);
      if (i == 0 && !is_embedding_trained) return;
      multiply(Matrix(dy, N, d), dkv_N2d, Matrix(weight.qkv + d * d, 2 * d, d));
      if (of.shape.is_last) {
        multiply(Matrix(dheads, M, d), dq_Md, Matrix(weight.qkv, d, d));
        for (Index m = 0; m < M; m++) add(dy + rows.asked_M[m] * d, dheads + m * d, d);
      } else {
        multiply(dy_Md, dq_Md, Matrix(weight.qkv, d, d), 1);
      }
      normalize_backward(of.norm_attention, dy, d, weight.norm_attention, gradient.norm_attention);
      add(dx, dy, N * d);
    }
  }
  for (Index n = 0; n < N; n++) {
    add(g.embedding + rows.token_N[n] * d, dx + n * d, d);
    if (g.positions) add(g.positions + rows.position_N[n] * d, dx + n * d, d);
  }
}
