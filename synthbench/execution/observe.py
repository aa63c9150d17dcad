"""Observation: a fleet evaluated on the items that scores ask about. The only file that knows model and examples.

Shapes: K runs, N items, L tokens, S answer tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import log
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthbench.generators import Examples, Splits, Task, by_slice, floor
from synthbench.scores import Observations, Point
from synthbench.trainer import transformer
from synthbench.trainer.fleet import Fleet, Views
from synthbench.trainer.loop import first_position

BLOCK = 64  # items of a run that are evaluated together: activations stay in the cache
GPU_BLOCK = 1024  # on a GPU: few launches
KL_FLOOR = 1e-4  # least probability of a token in kl_new
KL_SET = "new/rule/test"


class ItemSets(NamedTuple):
    """A set of items for every run of a fleet: a set of the same name and size each, drawn for that run's seed."""

    examples: list[Examples]
    floors: list[float]

    def stacked(self, column: str, limit: int | None) -> NDArray[Any]:
        """A column of the examples of all runs, shape (K, N, ...)."""
        return np.stack([getattr(examples, column)[:limit] for examples in self.examples])


def item_sets(
    task: Task, stage: str, history: tuple[str, ...], seeds_K: list[int], sizes: Mapping[str, int]
) -> dict[str, ItemSets]:
    """What is scored in a stage: its own data, and of earlier stages the facts that were trained and rules held out.

    Of the stage's facts only the trained ones: a fact that was never shown has no answer to be found.
    """
    of_seed = {seed: _sets(task, stage, history, seed, sizes) for seed in dict.fromkeys(seeds_K)}  # runs share seeds
    per_seed = [of_seed[seed] for seed in seeds_K]
    return {
        name: ItemSets([sets[name][0] for sets in per_seed], [sets[name][1] for sets in per_seed])
        for name in per_seed[0]
    }


def _sets(
    task: Task, stage: str, history: tuple[str, ...], seed: int, sizes: Mapping[str, int]
) -> dict[str, tuple[Examples, float]]:
    sets: dict[str, tuple[Examples, float]] = {}

    def add(age: str, splits: Splits, held_out: tuple[str, ...], *, trained_rule: bool) -> None:
        for name, part in by_slice(splits.train).items():
            if name != "rule" or trained_rule:
                sets[f"{age}/{name}/train"] = part, floor(splits.train, part)
            for split in held_out if name == "rule" else ():
                if len(examples := getattr(splits, split)):
                    known = task.by_rule_of(stage, examples) if age == "old" else examples
                    sets[f"{age}/{name}/{split}"] = known, floor(splits.train, examples)

    for splits in task.draw(stage, seed, sizes).values():
        add("new", splits, ("validation", "test", "unseen"), trained_rule=True)
    for earlier in history:
        for splits in task.draw(earlier, seed).values():
            add("old", splits, ("test",), trained_rule=False)
    return sets


class Observer:
    """Evaluates one fleet; later evaluations are compared with the first, at step 0."""

    def __init__(self, fleet: Fleet, sets: Mapping[str, ItemSets]) -> None:
        self.fleet, self.sets = fleet, sets
        with torch.no_grad():
            self._start: Views = {name: value.clone() for name, value in fleet.weights().items()}
        self._before: Tensor | None = None

    def start(self, sample: int) -> list[Point]:
        """The first evaluation, which later ones are compared with: every old item, of the new ones the sample.

        kl_new is taken on the sample alone, at the end as on the way.
        """
        old = self.evaluate([name for name in self.sets if name.startswith("old/")])
        new = self.evaluate([n for n in self.sets if n.startswith("new/") and not n.endswith("/validation")], sample)
        return [before._replace(sets={**before.sets, **after.sets}) for before, after in zip(old, new, strict=True)]

    def path(self, sample: int) -> list[Point]:
        """An evaluation on the way: of every set but validation the sample, its first items."""
        return self.evaluate([name for name in self.sets if not name.endswith("/validation")], sample)

    def end(self) -> list[Point]:
        """The last evaluation: every item of every set."""
        return self.evaluate(self.sets)

    @torch.no_grad()
    def evaluate(self, names: Iterable[str], limit: int | None = None) -> list[Point]:
        """One point for each run. limit: at most so many items a set."""
        weights = self.fleet.weights()
        moved = self._moved(weights)
        logp = self._predicted(list(names), weights, limit)
        observed = {name: self._observed(name, logp_KNSV, limit) for name, logp_KNSV in logp.items()}
        size = self.fleet.layout.size
        return [
            Point({name: runs[k] for name, runs in observed.items()}, moved[k], size) for k in range(len(self.fleet))
        ]

    def _predicted(self, names: list[str], weights: Views, limit: int | None) -> dict[str, Tensor]:
        """Log-probabilities where answers are predicted, by set (K, N, S, V). Sets go through the model together."""
        if not names:
            return {}
        tokens = [self.sets[name].stacked("tokens_NL", limit) for name in names]
        tokens_KNL = torch.from_numpy(np.concatenate(tokens, axis=1)).long().to(self.fleet.flat_KP.device)
        first = self._first(names[0])
        assert all(self._first(name) == first for name in names), "sets with answers at different places"
        blocks = [
            transformer.logits(self.fleet.model, weights, block[..., :-1], first).log_softmax(-1)
            for block in torch.split(tokens_KNL, GPU_BLOCK if tokens_KNL.is_cuda else BLOCK, dim=1)
        ]
        pieces = torch.split(torch.cat(blocks, dim=1), [part.shape[1] for part in tokens], dim=1)
        return dict(zip(names, pieces, strict=True))

    def _first(self, name: str) -> int:
        return first_position(self.sets[name].examples[0].answer_NL)

    def _observed(self, name: str, logp_KNSV: Tensor, limit: int | None) -> list[Observations]:
        items, after = self.sets[name], self._first(name) + 1

        def column(column_name: str) -> Tensor:
            return torch.from_numpy(items.stacked(column_name, limit)[..., after:]).to(logp_KNSV.device)

        target_KNS, padding_KNS = column("tokens_NL").long(), ~column("answer_NL")
        best_KNS = logp_KNSV.argmax(-1)
        correct_KN = (padding_KNS | (best_KNS == target_KNS)).all(-1).cpu()
        by_rule_KN = (padding_KNS | (best_KNS == column("rule_answer_NL"))).all(-1).cpu()
        nll_KNS = -logp_KNSV.gather(-1, target_KNS[..., None]).squeeze(-1)
        nll_KN = nll_KNS.masked_fill(padding_KNS, 0).sum(-1).double().cpu()
        kl_KN = self._kl(logp_KNSV, padding_KNS).double().cpu() if name == KL_SET else nll_KN[:, :0]
        return [
            Observations(
                correct_KN[k].numpy(), by_rule_KN[k].numpy(), nll_KN[k].numpy(), kl_KN[k].numpy(),
                examples.bits_N[:limit] * log(2), int(examples.answer_NL[0].sum()), items.floors[k],
                examples.bucket_N[: limit if examples.bucket_N.any() else 0],
            )
            for k, examples in enumerate(items.examples)
        ]  # fmt: skip

    def _kl(self, logp_KNSV: Tensor, padding_KNS: Tensor) -> Tensor:
        """KL(before || now), summed over the answer, of the items evaluated first: shape (K, N)."""
        if self._before is None:
            self._before = _floored(logp_KNSV)
        before = self._before
        kl_KNS = (before.exp() * (before - _floored(logp_KNSV[:, : before.shape[1]]))).sum(-1)
        return kl_KNS.masked_fill(padding_KNS[:, : before.shape[1]], 0).sum(-1)

    def _moved(self, weights: Views) -> list[dict[str, float]]:
        """By run and parameter group: norm of the change since the start over the norm then."""
        changed: dict[str, Tensor] = {}
        before: dict[str, Tensor] = {}
        for name, value in weights.items():
            group = self.fleet.layout.parameters[name].group
            start = self._start[name]
            changed[group] = changed.get(group, 0) + (value - start).flatten(1).square().sum(1)
            before[group] = before.get(group, 0) + start.flatten(1).square().sum(1)
        ratio = {group: (changed[group] / before[group]).sqrt().cpu() for group in changed}
        return [{group: float(value[k]) for group, value in ratio.items()} for k in range(len(self.fleet))]


def _floored(logp: Tensor) -> Tensor:
    """Log-probabilities with every token at KL_FLOOR or more, normalized again."""
    return logp.exp().clamp_min(KL_FLOOR).log().log_softmax(-1)
