// The operators that Python calls, each for one run: `torch.ops.synthbench.*`. Tensors are float32 on the CPU.
#include <torch/library.h>

#include "optimizers.h"
#include "transformer.h"

namespace {
thread_local Buffers buffers;
using Optional = std::optional<Tensor>;

// hides the one for tensors, which become optional ones
float* data(const Optional& tensor) { return tensor ? ::data(*tensor) : nullptr; }

// model: layers, width, head width, inner width, vocabulary, length, MLP, then the offsets
Model parsed(Ints model) {
  TORCH_CHECK(model.size() > 7 && Index(model.size()) == 12 + 9 * model[0], "another number of offsets");
  return {model[0], model[1], model[2], model[3], model[4], model[5], MLP(model[6]), model.slice(7).vec()};
}

// tokens_BL: inputs and the token after them. asked(b, l): whether the token after position l of example b is asked for.
template <class Asked>
Rows rows_of(const Tensor& tokens, const Model& model, const Asked& asked) {
  TORCH_CHECK(tokens.is_contiguous() && tokens.scalar_type() == at::kLong && tokens.dim() == 2, "tokens are (B, L) of int64");
  const Index batch = tokens.size(0), length = tokens.size(1) - 1, *token = tokens.data_ptr<Index>();
  TORCH_CHECK(length <= model.length, "more tokens than positions");
  Rows rows;
  for (Index b = 0; b < batch; b++, token += length + 1) {
    Index used = 0;
    for (Index l = 0; l < length; l++)
      if (asked(b, l)) {
        rows.asked_M.push_back(rows.token_N.size() + l);
        rows.target_M.push_back(token[l + 1]);
        used = l + 1;
      }
    for (Index l = 0; l <= used; l++) TORCH_CHECK(token[l] >= 0 && token[l] < model.vocabulary, "a token beyond the vocabulary");
    rows.token_N.insert(rows.token_N.end(), token, token + used);
    for (Index l = 0; l < used; l++) rows.position_N.push_back(l);
    rows.rows_B.push_back(rows.token_N.size());
    rows.asked_B.push_back(rows.asked_M.size());
    rows.longest = std::max(rows.longest, used);
  }
  TORCH_CHECK(rows.longest, "no token is asked for");
  return rows;
}

// The loss of a run on a batch; gradients go to the rows that are given. hidden, rest: rows with the matrices of layers, and
// with all other weights. turn: RoPE's rotations (L, h / 2, 2).
double gradient(Ints ints, const Tensor& hidden, const Tensor& rest, const Optional& turn, const Tensor& tokens,
                const Tensor& answer, Index first, const Tensor& hidden_gradient, const Optional& rest_gradient) {
  const c10::InferenceMode guard;
  const Model model = parsed(ints);
  TORCH_CHECK(answer.is_contiguous() && answer.scalar_type() == at::kBool && answer.sizes() == tokens.sizes(), "answers");
  const bool* is_answer = answer.data_ptr<bool>();
  const Index row = answer.size(1);
  const Rows rows = rows_of(tokens, model, [=](Index b, Index l) { return l >= first && is_answer[b * row + l + 1]; });
  buffers.next = 0;
  const Parameters weights = model.of(data(hidden), data(rest));
  const Forward passed = forward(buffers, model, weights, rows, data(turn));
  const double loss = cross_entropy(passed.logits_MV, rows, model.vocabulary);
  const Parameters gradients = model.of(data(hidden_gradient), data(rest_gradient));
  backward(buffers, model, weights, gradients, rows, data(turn), passed);
  return loss;
}

// Logits (B, S, V) of what follows the positions from `first` on; the token after the inputs is not used.
void logits(Ints ints, const Tensor& row, const Optional& turn, const Tensor& tokens, Index first, const Tensor& out) {
  const c10::InferenceMode guard;
  const Model model = parsed(ints);
  const Rows rows = rows_of(tokens, model, [=](Index, Index l) { return l >= first; });
  TORCH_CHECK(out.numel() == Index(rows.asked_M.size()) * model.vocabulary, "logits of another size");
  buffers.next = 0;
  const Forward passed = forward(buffers, model, model.of(data(row), data(row)), rows, data(turn));
  copy(data(out), passed.logits_MV, out.numel());
}

void muon_step(const Tensor& value, const Tensor& grad, const Tensor& momentum, Ints matrices, double lr, double decay,
               double keep, bool is_nesterov, bool is_rms_matched, Index steps, at::ArrayRef<double> abc) {
  const c10::InferenceMode guard;
  muon(buffers, value, grad, momentum, matrices, lr, decay, keep, is_nesterov, is_rms_matched, steps, abc);
}
}  // namespace

TORCH_LIBRARY(synthbench, library) {
  library.def("gradient(int[] model, Tensor hidden, Tensor rest, Tensor? turn, Tensor tokens, Tensor answer, int first, "
              "Tensor(a!) hidden_gradient, Tensor(b!)? rest_gradient) -> float", &gradient);
  library.def("logits(int[] model, Tensor row, Tensor? turn, Tensor tokens, int first, Tensor(a!) out) -> ()", &logits);
  library.def("adamw(Tensor(a!) value, Tensor grad, Tensor(b!) first, Tensor(c!) second, float lr, float decay, float b1, "
              "float b2, float eps, int step) -> ()", &adamw);
  library.def("sgd(Tensor(a!) value, Tensor grad, Tensor(b!) momentum, float lr, float decay, float keep, "
              "bool is_nesterov) -> ()", &sgd);
  library.def("muon(Tensor(a!) value, Tensor grad, Tensor(b!) momentum, int[] matrices, float lr, float decay, float keep, "
              "bool is_nesterov, bool is_rms_matched, int steps, float[] abc) -> ()", &muon_step);
  library.def("merge(Tensor(a!) merged, Tensor adapters, int[] matrices, int rank) -> ()", &merge);
  library.def("merge_backward(Tensor(a!) gradient, Tensor dmerged, Tensor adapters, int[] matrices, int rank) -> ()",
              &merge_backward);
}
