"""The plain PyTorch reference, written from the formulas: every member of a fleet is compared with it.

One model is one `nn.Module` with separate query, key and value layers; one run is one loop over torch's optimizers. The
loss is taken from the logits of all positions, masked to answer tokens: this also checks that a fleet may evaluate its last
layer at answers alone.

Shapes: N items, B examples, L tokens, H heads, h head width, d width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from math import sqrt
from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbench import plugins
from synthbench.cards import ModelCard
from synthbench.common.errors import BadInput
from synthbench.common.wording import named
from synthbench.plugins import groups
from synthbench.plugins.decorators import CustomOptimizer, Update
from synthbench.plugins.groups import Instance, Member
from synthbench.plugins.torch_optim import set_evaluating
from synthbench.trainer.loop import Data
from synthbench.trainer.optimizers import OPTIMIZERS

EPSILON = 1e-6  # under the root of the norms
IGNORED = -100  # the target that cross_entropy leaves out


@cache
def turns(length: int, head_width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    frequency_h = 10_000.0 ** (-torch.arange(0, head_width, 2, device=device) / head_width)
    angle_Lh = torch.outer(torch.arange(length, device=device), frequency_h)
    return angle_Lh.cos(), angle_Lh.sin()


def rotated(x_BHLh: Tensor) -> Tensor:
    """RoPE (arXiv 2104.09864): the pair (x_2i, x_2i+1) at position t turns by the angle t 10,000^(-2i / h)."""
    (cos, sin), even, odd = turns(*x_BHLh.shape[-2:], x_BHLh.device), x_BHLh[..., 0::2], x_BHLh[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


def norm(card: ModelCard) -> nn.Module:
    if card.norm == "layernorm":
        return nn.LayerNorm(card.width, eps=EPSILON)
    return nn.RMSNorm(card.width, eps=EPSILON, elementwise_affine=False)


class Layer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)). (Attention by its formula is as fast as torch's fused one here.)"""

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        self.kind, self.head_width = card.mlp, card.head_width
        width, inner = card.width, card.width * card.expansion
        self.norm_attention, self.norm_mlp = norm(card), norm(card)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.up = nn.Linear(width, inner, bias=False)
        if card.mlp == "swiglu":
            self.gate = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)
        self.turn = rotated if card.positions == "rope" else nn.Identity()

    def forward(self, x_BLd: Tensor) -> Tensor:
        x_BLd = x_BLd + self.out(self.attention(self.norm_attention(x_BLd)))
        x_BLd = x_BLd + self.down(self.mlp(self.norm_mlp(x_BLd)))
        return x_BLd

    def attention(self, x_BLd: Tensor) -> Tensor:
        q, k, v = (y(x_BLd).unflatten(-1, (-1, self.head_width)).transpose(1, 2) for y in (self.q, self.k, self.v))
        q, k = self.turn(q), self.turn(k)
        future = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).triu(1)
        weights_BHLL = (q @ k.mT / sqrt(self.head_width)).masked_fill(future, float("-inf")).softmax(-1)
        heads: Tensor = (weights_BHLL @ v).transpose(1, 2).flatten(-2)
        return heads

    def mlp(self, x_BLd: Tensor) -> Tensor:
        up = self.up(x_BLd)
        if self.kind == "relu2":
            inner: Tensor = F.relu(up).square()
        elif self.kind == "gelu":
            inner = F.gelu(up, approximate="tanh")
        else:
            inner = F.silu(self.gate(x_BLd)) * up
        return inner


class Transformer(nn.Module):
    """A decoder-only transformer: embedding, layers, norm, head."""

    def __init__(self, card: ModelCard, vocabulary: int, length: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, card.width)
        self.positions = nn.Embedding(length, card.width) if card.positions == "learned" else None
        self.layers = nn.ModuleList(Layer(card) for _ in range(card.layers))
        self.norm_head = norm(card)
        self.head = nn.Linear(card.width, vocabulary, bias=False)
        if card.tied:
            self.head.weight = self.embedding.weight

    def forward(self, tokens_BL: Tensor) -> Tensor:
        """Logits of the token that follows each position, shape (B, L, V)."""
        x_BLd = self.embedding(tokens_BL)
        if self.positions is not None:
            x_BLd = x_BLd + self.positions.weight[: tokens_BL.shape[1]]
        for layer in self.layers:
            x_BLd = layer(x_BLd)
        logits: Tensor = self.head(self.norm_head(x_BLd))
        return logits

    def hidden(self) -> list[nn.Parameter]:
        """The trainable matrices of the layers: what Muon moves."""
        return [p for p in self.layers.parameters() if p.requires_grad and p.ndim == 2]


def unstacked(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A member's weights, or adapters, with `layers.I.qkv` split into `layers.I.q`, `.k` and `.v`."""
    split = dict(weights)
    for name in [name for name in weights if "qkv" in name]:
        split |= {name.replace("qkv", part): matrix for part, matrix in zip("qkv", split.pop(name), strict=True)}
    return split


def parameter_name(name: str) -> str:
    """The name in the module of a fleet's parameter."""
    return name.replace(".gain", ".weight") if "norm" in name else f"{name}.weight"


def load(card: ModelCard, weights: Mapping[str, Tensor], length: int) -> Transformer:
    """A model with the weights of a fleet's member (`fleet.member(k)`) that reads `length` tokens."""
    state = {parameter_name(name): value for name, value in unstacked(weights).items()}
    if card.tied:
        state["head.weight"] = state["embedding.weight"]
    model = Transformer(card, len(state["embedding.weight"]), length)
    model.load_state_dict(state)
    return model


def adapt(model: Transformer, adapters: Mapping[str, Tensor]) -> Transformer:
    """The model with low-rank adapters (`fleet.saved(k)` under lora) on its layers, everything else frozen: x W^T becomes
    x W^T + 2 x A^T B^T, LoRA (arXiv 2106.09685) at alpha = 2 r, never merged."""
    model.requires_grad_(False)
    for name, value in unstacked(adapters).items():
        where, _, factor = name.rpartition(".")
        model.get_submodule(where).register_parameter(factor, nn.Parameter(value.clone()))
        if factor == "A":
            model.get_submodule(where).register_forward_hook(lambda layer, x, y: y + 2 * x[0] @ layer.A.T @ layer.B.T)
    return model


QUINTIC = (3.4445, -4.7750, 2.0315)


def newton_schulz(
    matrix: Tensor, steps: int = 5, coefficients: Sequence[float] = QUINTIC, dtype: torch.dtype = torch.float32
) -> Tensor:
    """X / |X|, then X <- a X + (b G + c G G) X with G = X X^T, of one matrix, tall ones transposed."""
    if matrix.shape[0] > matrix.shape[1]:
        return newton_schulz(matrix.T, steps, coefficients, dtype).T
    a, b, c = coefficients
    x = matrix.to(dtype)
    x = x / x.norm().clamp_min(1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    orthogonal: Tensor = x.to(matrix.dtype)
    return orthogonal


def muon(grad: Tensor, state: Mapping[str, Tensor], weight: Tensor, hyper: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """torch.optim.Muon, its Newton-Schulz in float32 (or another type) in place of bfloat16, of one matrix."""
    average = hyper.momentum * state["average"] + (1 - hyper.momentum) * grad
    moved = (1 - hyper.momentum) * grad + hyper.momentum * average if hyper.nesterov else average
    rows, columns = weight.shape
    scale = sqrt(max(1.0, rows / columns)) if hyper.scale == "original" else 0.2 * sqrt(max(rows, columns))
    orthogonal = newton_schulz(moved, hyper.steps, hyper.coefficients, getattr(torch, hyper.dtype))
    return weight * (1 - hyper.lr * hyper.weight_decay) - hyper.lr * scale * orthogonal, {"average": average}


def adamw_flat(
    grad: Tensor, state: Mapping[str, Tensor], weight: Tensor, hyper: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """torch.optim.AdamW's step of one matrix, its singular values made equal at the norm that it had."""
    b1, b2 = hyper.betas
    first, second = b1 * state["first"] + (1 - b1) * grad, b2 * state["second"] + (1 - b2) * grad * grad
    update = first / (1 - b1**hyper.step) / ((second / (1 - b2**hyper.step)).sqrt() + hyper.eps)
    flat = newton_schulz(update, hyper.steps)
    flat = flat * (update.norm() / flat.norm().clamp_min(1e-30))
    return weight * (1 - hyper.lr * hyper.weight_decay) - hyper.lr * flat, {"first": first, "second": second}


def muon_sign(
    grad: Tensor, state: Mapping[str, Tensor], weight: Tensor, hyper: Any
) -> tuple[Tensor, dict[str, Tensor]]:
    """Muon's step of one matrix, replaced by its signs at the norm that it had."""
    moved, kept = muon(grad, state, torch.zeros_like(weight), hyper)
    sign = moved.sign() * (moved.norm() / moved.sign().norm().clamp_min(1e-30))
    return weight * (1 - hyper.lr * hyper.weight_decay) + sign, kept


OF_MATRICES: dict[str, tuple[Update, Sequence[str]]] = {  # by optimizer: the step of one matrix, and what it keeps
    "muon": (muon, ["average"]), "adamw-flat": (adamw_flat, ["first", "second"]), "muon-sign": (muon_sign, ["average"]),
}  # fmt: skip


class MatrixByMatrix(torch.optim.Optimizer):
    """update(grad, state, param, hyper) -> (param, state) of every parameter, as of a matrix optimizer, without
    `torch.vmap`. kept: names of its state. arguments: what hyper has beside rates and the step."""

    def __init__(
        self, params: Iterable[nn.Parameter], update: Update, kept: Sequence[str], arguments: Mapping[str, Any]
    ) -> None:
        super().__init__(params, {"lr": 0.0, "weight_decay": 0.0})
        self.update, self.kept, self.arguments, self.count = update, kept, arguments, 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        self.count += 1
        for group in self.param_groups:
            rates = {name: torch.tensor(group[name]) for name in ("lr", "weight_decay")}
            for p in group["params"]:
                kept = self.state[p] or {name: torch.zeros_like(p) for name in self.kept}
                hyper = SimpleNamespace(**self.arguments, **rates, step=self.count)
                moved, self.state[p] = self.update(p.grad, kept, p.detach().clone(), hyper)
                p.copy_(moved)


Moving = tuple[Instance, float]  # an optimizer, and the part of a run's rate that it moves at


def optimizers(
    name: str, model: Transformer, arguments: Mapping[str, Any] | None = None, *, weight_decay: float = 0.0
) -> list[Moving]:
    """The optimizers of a plain loop that a registered optimizer with these arguments must equal.

    `torch-muon` is `muon` with torch's own optimizer, bfloat16 products and all. Rates are set at every step.

    Raises BadInput for an optimizer on flat buffers, which has no counterpart.
    """
    registered, plugin = OPTIMIZERS["muon" if name == "torch-muon" else name], plugins.plugin_of(name)
    options = registered.arguments.model_validate(dict(arguments or {})).model_dump()
    moved, hidden = [p for p in model.parameters() if p.requires_grad], model.hidden()
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    of_adamw: dict[str, Any] = {key: options[key] for key in ("betas", "eps") if key in options and not plugin}

    def plain(optimizer: torch.optim.Optimizer) -> Instance:
        for group in optimizer.param_groups:
            group["weight_decay"] = weight_decay
        return Instance(optimizer, [1.0] * len(optimizer.param_groups))

    def adamw(parameters: list[nn.Parameter]) -> Instance:
        return plain(torch.optim.AdamW(parameters, lr=0.0, **of_adamw))

    def of_plugin(found: plugins.Plugin, parameters: list[nn.Parameter]) -> Instance:
        optimizer: CustomOptimizer = found.value
        if isinstance(optimizer.written, type):
            return groups.instance(optimizer.written, members(model, parameters), options, weight_decay)
        if optimizer.kept is None:
            raise BadInput(f"verify: {named(found.label)} moves the buffers of a fleet; no plain loop can do that.")
        return plain(MatrixByMatrix(parameters, optimizer.written, optimizer.kept, {**optimizer.arguments, **options}))

    if name == "sgd":
        return [(plain(torch.optim.SGD(moved, lr=0.0, **options)), 1.0)]
    if name == "adamw":
        return [(adamw(moved), 1.0)]
    if plugin and options["routing"] == "all":
        return [(of_plugin(plugin, moved), 1.0)]
    if plugin:
        main = of_plugin(plugin, hidden)
    elif name == "adamw-split":
        main = adamw(hidden)
    elif name == "torch-muon":
        main = plain(torch.optim.Muon(hidden, lr=0.0, adjust_lr_fn="match_rms_adamw"))
    else:
        if name not in OF_MATRICES and not (name == "muon-product" and not any(m.endswith("A") for m, _ in trained)):
            raise BadInput(f"verify: {named(name)} moves the factors of LoRA together; no plain loop can do that.")
        main = plain(MatrixByMatrix(hidden, *OF_MATRICES.get(name, OF_MATRICES["muon"]), options))
    rest = [p for p in moved if not any(p is matrix for matrix in hidden)]
    return [(main, 1.0), *([(adamw(rest), options.get("aux_lr_ratio", 1.0))] if rest else [])]


def members(model: Transformer, parameters: Sequence[nn.Parameter]) -> list[Member]:
    """Parameters of the model under the names that a fleet gives them."""
    names, hidden = {id(p): name for name, p in model.named_parameters()}, set(map(id, model.hidden()))
    return [Member(groups.usual_name(names[id(p)]), p, id(p) in hidden) for p in parameters]


def train(
    model: Transformer, moving: Sequence[Moving], data: Data, k: int, rates: Callable[[int], float]
) -> list[float]:
    """Trains a model on the data of run k; returns the loss of every step. rates: learning rate by step, from 0."""
    tokens_NL = torch.from_numpy(data.tokens_KNL[k]).long()
    target_NL = tokens_NL.masked_fill(~torch.from_numpy(data.answer_KNL[k]), IGNORED)
    losses = []
    set_evaluating({"instances": [made for made, _ in moving]}, False)
    for step, indices_B in enumerate(torch.from_numpy(data.order_KTB[k]).long()):
        logits_BLV = model(tokens_NL[indices_B, :-1])
        loss = F.cross_entropy(logits_BLV.flatten(0, 1), target_NL[indices_B, 1:].flatten(), ignore_index=IGNORED)
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for made, ratio in moving:
            groups.set_rate(made, rates(step) * ratio)
            made.optimizer.step()
        losses.append(loss.item())
    return losses
