// The operators that Python calls, each for one run: `torch.ops.synthbench.*`. Tensors are float32 on the CPU.
#include <torch/library.h>

#include "optimizers.h"
#include "transformer.h"

namespace {
thread_local Buffers buffers;
using Ints = at::IntArrayRef;

float* data(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.is_contiguous() && tensor.is_cpu() && tensor.scalar_type() == at::kFloat, "not a row of floats");
  return tensor.data_ptr<float>();
}

float* data(const std::optional<at::Tensor>& tensor) { return tensor ? data(*tensor) : nullptr; }

// model: layers, width, head width, inner width, vocabulary, length, MLP, then the offsets
Model parsed(Ints model) {
  TORCH_CHECK(model.size() > 7 && Index(model.size()) == 12 + 9 * model[0], "another number of offsets");
  return {model[0], model[1], model[2], model[3], model[4], model[5], MLP(model[6]), model.slice(7).vec()};
}

// tokens_BL, each followed by the next. asked: whether the token that follows position l of example b is asked for.
template <class Asked>
Rows rows_of(const at::Tensor& tokens, const Model& model, const Asked& asked) {
  TORCH_CHECK(tokens.is_contiguous() && tokens.scalar_type() == at::kLong && tokens.dim() == 2, "tokens are (B, L) of int64");
  const Index batch = tokens.size(0), length = tokens.size(1) - 1;
  const Index* token = tokens.data_ptr<Index>();
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
    for (Index l = 0; l < used; l++) {
      rows.token_N.push_back(token[l]);
      rows.position_N.push_back(l);
    }
    rows.rows_B.push_back(rows.token_N.size());
    rows.asked_B.push_back(rows.asked_M.size());
    rows.longest = std::max(rows.longest, used);
  }
  TORCH_CHECK(rows.longest <= model.length, "more tokens than positions");
  return rows;
}

// The loss of a run on a batch. Gradients go to the rows where they are asked for. hidden, rest: weights of the layers'
// matrices and all others, each a whole row. turn: RoPE's rotations (L, h / 2, 2).
double gradient(Ints ints, const at::Tensor& hidden, const at::Tensor& rest, const std::optional<at::Tensor>& turn,
                const at::Tensor& tokens, const at::Tensor& answer, Index first, const at::Tensor& hidden_gradient,
                const std::optional<at::Tensor>& rest_gradient) {
  const c10::InferenceMode guard;
  const Model model = parsed(ints);
  TORCH_CHECK(answer.is_contiguous() && answer.scalar_type() == at::kBool && answer.sizes() == tokens.sizes(), "answers");
  const bool* is_answer = answer.data_ptr<bool>();
  const Index row = answer.size(1);
  const Rows rows = rows_of(tokens, model, [=](Index b, Index l) { return l >= first && is_answer[b * row + l + 1]; });
  buffers.next = 0;
  const Parameters weights = model.of(data(hidden), data(rest));
  const Parameters gradients = model.of(data(hidden_gradient), data(rest_gradient));
  const Forward passed = forward(buffers, model, weights, rows, data(turn));
  const double loss = cross_entropy(passed.logits_MV, rows, model.vocabulary);
  backward(buffers, model, weights, gradients, rows, data(turn), passed);
  return loss;
}

// Logits (B, S, V) of what follows the positions from `first` on. tokens as above, the last one is not read.
void logits(Ints ints, const at::Tensor& hidden, const at::Tensor& rest, const std::optional<at::Tensor>& turn,
            const at::Tensor& tokens, Index first, const at::Tensor& out) {
  const c10::InferenceMode guard;
  const Model model = parsed(ints);
  const Rows rows = rows_of(tokens, model, [=](Index, Index l) { return l >= first; });
  TORCH_CHECK(out.numel() == Index(rows.asked_M.size()) * model.vocabulary, "logits of another size");
  buffers.next = 0;
  const Forward passed = forward(buffers, model, model.of(data(hidden), data(rest)), rows, data(turn));
  copy(data(out), passed.logits_MV, out.numel());
}

void step_adamw(const at::Tensor& value, const at::Tensor& grad, const at::Tensor& first, const at::Tensor& second, double lr,
                double decay, double b1, double b2, double eps, Index step) {
  adamw(data(value), data(grad), data(first), data(second), value.numel(), {lr, decay}, b1, b2, eps, step);
}

void step_sgd(const at::Tensor& value, const at::Tensor& grad, const at::Tensor& momentum, double lr, double decay,
              double keep, bool is_nesterov) {
  sgd(data(value), data(grad), data(momentum), value.numel(), {lr, decay}, keep, is_nesterov);
}

void step_muon(const at::Tensor& value, const at::Tensor& grad, const at::Tensor& momentum, Ints matrices, double lr,
               double decay, double keep, bool is_nesterov, bool is_rms_matched, Index steps, at::ArrayRef<double> abc) {
  const c10::InferenceMode guard;
  buffers.next = 0;
  muon_step(buffers, data(value), data(grad), data(momentum), matrices.vec(), {lr, decay},
            {keep, is_nesterov, is_rms_matched, steps, abc[0], abc[1], abc[2]});
}

std::vector<Adapter> adapters_of(Ints ints) {
  std::vector<Adapter> all;
  for (size_t i = 0; i + 5 <= ints.size(); i += 5) all.push_back({ints[i], ints[i + 1], ints[i + 2], ints[i + 3], ints[i + 4]});
  return all;
}

void add_adapters(const at::Tensor& merged, const at::Tensor& adapters, Ints ints, Index rank) {
  const c10::InferenceMode guard;
  merge(data(merged), data(adapters), adapters_of(ints), rank);
}

void adapter_gradient(const at::Tensor& gradient, const at::Tensor& of_merged, const at::Tensor& adapters, Ints ints, Index rank) {
  const c10::InferenceMode guard;
  merge_backward(data(gradient), data(of_merged), data(adapters), adapters_of(ints), rank);
}
}  // namespace

TORCH_LIBRARY(synthbench, library) {
  library.def("gradient(int[] model, Tensor hidden, Tensor rest, Tensor? turn, Tensor tokens, Tensor answer, int first, "
              "Tensor(a!) hidden_gradient, Tensor(b!)? rest_gradient) -> float", &gradient);
  library.def("logits(int[] model, Tensor hidden, Tensor rest, Tensor? turn, Tensor tokens, int first, Tensor(a!) out) -> ()", &logits);
  library.def("adamw(Tensor(a!) value, Tensor grad, Tensor(b!) first, Tensor(c!) second, float lr, float decay, float b1, "
              "float b2, float eps, int step) -> ()", &step_adamw);
  library.def("sgd(Tensor(a!) value, Tensor grad, Tensor(b!) momentum, float lr, float decay, float keep, bool nesterov) -> ()", &step_sgd);
  library.def("muon(Tensor(a!) value, Tensor grad, Tensor(b!) momentum, int[] matrices, float lr, float decay, float keep, "
              "bool nesterov, bool match_rms, int steps, float[] abc) -> ()", &step_muon);
  library.def("add_adapters(Tensor(a!) merged, Tensor adapters, int[] matrices, int rank) -> ()", &add_adapters);
  library.def("adapter_gradient(Tensor(a!) gradient, Tensor of_merged, Tensor adapters, int[] matrices, int rank) -> ()", &adapter_gradient);
}
