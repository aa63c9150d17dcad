"""What probes look at: a fleet's models before and after a stage, and items of the pretraining language.

Shapes: K runs, N items, L tokens, S answer tokens, V vocabulary, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from synthbench.cards import ModelCard
from synthbench.experiment.runs import Run
from synthbench.generators import Examples, Splits, Task, join
from synthbench.trainer import transformer
from synthbench.trainer.fleet import Fleet, Views
from synthbench.trainer.loop import first_position

ITEMS = 128  # a slice at most
BLOCK = 64  # items of a run that are evaluated together


@dataclass(frozen=True)
class Subject:
    """before, after: all weights by name, each (K, *shape): at the stage's start and its end, adapters merged."""

    fleet: Fleet
    task: Task
    runs: Sequence[Run]
    before: Views
    after: Views

    @property
    def model(self) -> ModelCard:
        return self.fleet.model

    @property
    def is_base(self) -> bool:
        """Whether these runs started from fresh weights."""
        return not self.runs[0].history

    @property
    def language(self) -> str:
        """The stage whose data are the pretraining language: the first."""
        return (*self.runs[0].history, self.runs[0].stage)[0]

    @cached_property
    def drawn_K(self) -> list[dict[str, Splits]]:
        """The pretraining language of each run's seed, as much of it as its stage trains."""
        examples = self.runs[0].examples if self.is_base else None
        of_seed = {run.seed: self.task.draw(self.language, run.seed, examples) for run in self.runs}
        return [of_seed[run.seed] for run in self.runs]

    @cached_property
    def items_K(self) -> list[Examples]:
        """What shows the pretraining loss: rules on held-out items, other slices on trained ones."""
        return [join({name: shown(name, splits) for name, splits in drawn.items()}) for drawn in self.drawn_K]

    def loss_K(self, weights: Views, items_K: Sequence[Examples] | None = None) -> np.ndarray:
        """Nats per answer token of each run under these weights."""
        items = self.items_K if items_K is None else items_K
        tokens_KNL, answer_KNL = tokens(items), np.stack([of.answer_NL for of in items])
        first = first_position(answer_KNL)
        logp_KNSV = self.logp(weights, tokens_KNL, first)
        target_KNS = tokens_KNL[..., first + 1 :].to(logp_KNSV.device)
        learned_KNS = torch.from_numpy(answer_KNL[..., first + 1 :]).to(logp_KNSV.device)
        nll_KNS = -logp_KNSV.gather(-1, target_KNS[..., None]).squeeze(-1)
        loss_K: np.ndarray = ((nll_KNS * learned_KNS).sum((1, 2)).double() / learned_KNS.sum((1, 2))).cpu().numpy()
        return loss_K

    @torch.no_grad()
    def logp(self, weights: Views, tokens_KNL: Tensor, first: int) -> Tensor:
        """Log-probabilities of what follows positions from `first` on: shape (K, N, S, V)."""
        device = weights["embedding"].device
        blocks = torch.split(tokens_KNL.to(device), BLOCK, dim=1)
        logits = [self.fleet.logits(block[..., :-1], first, weights) for block in blocks]
        return torch.cat(logits, dim=1).log_softmax(-1)

    @torch.no_grad()
    def states(self, weights: Views, tokens_KNL: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """The residual stream after each layer (K, N, L, d), and the attention in it (K, N, heads, L, L); `trainer/
        transformer.py`, written to be looked into."""
        model, (runs, count, length) = self.model, tokens_KNL.shape
        x = transformer.entries(weights["embedding"], tokens_KNL.to(weights["embedding"].device))
        if model.positions == "learned":
            x = x.view(runs, count, length, -1) + weights["positions"][:, None, :length]
        x, after, attended = x.reshape(runs, count * length, -1), [], []
        for i in range(model.layers):
            layer = f"layers.{i}"
            normed = transformer.norm(model, weights, f"{layer}.norm_attention", x)
            qkv_KNo = normed @ weights[f"{layer}.qkv"].flatten(1, 2).mT
            attended.append(attention(model, qkv_KNo, length).view(runs, count, -1, length, length))
            h = transformer.attention(model, qkv_KNo, length)
            x = x + h @ weights[f"{layer}.out"].mT
            x = x + transformer.mlp(model, weights, layer, transformer.norm(model, weights, f"{layer}.norm_mlp", x))
            after.append(x.view(runs, count, length, -1))
        return after, attended


def attention(model: ModelCard, qkv_KNo: Tensor, length: int) -> Tensor:
    """The attention of every position to those before it and itself: shape (K N, heads, L, L)."""
    of_heads = (-1, length, 3, model.width // model.head_width, model.head_width)
    q, k, _ = qkv_KNo.view(of_heads).unbind(2)
    if model.positions == "rope":
        turn = transformer.rotation(length, model.head_width, qkv_KNo.device)
        q, k = transformer.rotate(q.contiguous(), turn), transformer.rotate(k.contiguous(), turn)
    products = q.transpose(1, 2) @ k.transpose(1, 2).mT / model.head_width**0.5
    hidden = torch.ones(length, length, dtype=torch.bool, device=products.device).triu(1)
    chance: Tensor = products.masked_fill(hidden, -torch.inf).softmax(-1)
    return chance


def shown(name: str, splits: Splits) -> Examples:
    """The items of a slice that show the pretraining loss."""
    return (splits.test if name == "rule" else splits.train).take(slice(ITEMS))


def tokens(items_K: Sequence[Examples]) -> Tensor:
    """Token ids of each run's items, shape (K, N, L)."""
    return torch.from_numpy(np.stack([items.tokens_NL for items in items_K])).long()


def matrices(weights: Views, hidden: Sequence[str]) -> list[Tensor]:
    """The hidden matrices of these names, each (K, rows, columns): query, key and value apart."""
    of_names = [weights[name].reshape(len(weights[name]), -1, *weights[name].shape[-2:]).unbind(1) for name in hidden]
    return [matrix for of_name in of_names for matrix in of_name]


def hidden_names(weights: Views) -> list[str]:
    """The names of the hidden matrices."""
    return [name for name in weights if name.startswith("layers.") and "norm" not in name]
