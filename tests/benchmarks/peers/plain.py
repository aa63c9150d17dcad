"""What most people write: an `nn.Module` and `torch.optim`, one run at a time; the same under torch.compile."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthbench.verification import reference
from tests.benchmarks.peers import Way
from tests.benchmarks.shapes import DECAY, RATES, STEPS, Shape, data, fleet

BETAS, EPS = (0.9, 0.999), 1e-8
Optimizers = list[torch.optim.Optimizer]


def plain(shape: Shape, optimizer: str, update: str, runs: int) -> Way:
    model = module(shape, update)
    return loop(shape, model, model, optimizers(model, optimizer))


def compiled(shape: Shape, optimizer: str, update: str, runs: int) -> Way:
    model = module(shape, update)
    return loop(shape, torch.compile(model), model, optimizers(model, optimizer))


def torch_muon(shape: Shape, optimizer: str, update: str, runs: int) -> Way:
    """torch's Muon, whose products are in bfloat16, with AdamW on the rest."""
    model = module(shape, update)
    hidden = model.hidden()
    muon = torch.optim.Muon(hidden, lr=RATES["muon"], weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    return loop(shape, model, model, [muon, adamw([p for p in trained(model) if p.ndim != 2 or not among(p, hidden)])])


class Rotation(nn.Module):
    """RoPE by angles that are kept: torch.compile would compute those of the reference at every step."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        cos, sin = reference.turns(shape.length, shape.model.head_width, torch.device("cpu"))
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)

    def forward(self, x_BHLh: Tensor) -> Tensor:
        even, odd = x_BHLh[..., 0::2], x_BHLh[..., 1::2]
        return torch.stack((even * self.cos - odd * self.sin, even * self.sin + odd * self.cos), dim=-1).flatten(-2)


def module(shape: Shape, update: str) -> reference.Transformer:
    """Run 0, with adapters where the update says so."""
    start = fleet(shape, [0], update)
    base = fleet(shape, [0], "full")
    model = reference.load(shape.model, base.member(0), shape.length)
    if shape.model.positions == "rope":
        for layer in model.layers:
            layer.turn = Rotation(shape)
    return model if update == "full" else reference.adapt(model, start.saved(0))


def among(one: Tensor, others: list[nn.Parameter]) -> bool:
    return any(one is other for other in others)


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def adamw(parameters: list[nn.Parameter], lr: float = RATES["muon"]) -> torch.optim.Optimizer:
    """torch's fastest: one fused pass."""
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=DECAY, betas=BETAS, eps=EPS, fused=True)


def optimizers(model: reference.Transformer, name: str) -> Optimizers:
    if name == "adamw":
        return [adamw(trained(model), RATES["adamw"])]
    made = [instance.optimizer for instance, _ in reference.optimizers(name, model, weight_decay=DECAY)]
    for one in made:
        for group in one.param_groups:
            group["lr"] = RATES[name]
    return made


def loop(shape: Shape, forward: nn.Module, model: nn.Module, moving: Optimizers) -> Way:
    """forward: takes tokens (B, L) to logits (B, L, V), by the parameters of `model`, which the optimizers move."""
    shown = data(shape, [0])
    tokens_NL, order_TB = torch.from_numpy(shown.tokens_KNL[0]).long(), torch.from_numpy(shown.order_KTB[0]).long()
    count = -1

    def call() -> float:
        nonlocal count
        count += 1
        tokens_BL = tokens_NL[order_TB[count % STEPS]]
        logits_BLV = forward(tokens_BL[:, :-1])[:, shape.first :]
        loss = F.cross_entropy(logits_BLV.flatten(0, 1), tokens_BL[:, shape.first + 1 :].flatten())
        model.zero_grad()
        loss.backward()
        for optimizer in moving:
            optimizer.step()
        return loss.item()

    return Way(call, sum(p.numel() for p in trained(model)))
