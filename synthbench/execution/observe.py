"""Observation: a fleet evaluated on the items that scores ask about. The only file that knows model and examples.

Shapes: K runs, N items, L tokens, S answer tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthbench.common.remembered import remembered
from synthbench.generators import Examples, Splits, Task, by_slice, floor
from synthbench.scores import Observations, Point
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

    def stacked(self, column: str, part: slice, rows: Sequence[int]) -> NDArray[Any]:
        """A column of a part of the examples, of the runs in these rows: shape (K, N, ...)."""
        return np.stack([getattr(self.examples[k], column)[part] for k in rows])


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


@remembered(
    lambda task, stage, history, seed, sizes: (
        task.card.model_dump_json(), *(plugin.source for plugin in task.plugins), stage, history, seed,
        *sorted(sizes.items()),
    ),
    last=16,
)  # fmt: skip
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
                    known = task.by_rule_of(stage, seed, examples) if age == "old" else examples
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

    @property
    def _along(self) -> list[str]:
        """The sets that are evaluated on the way."""
        return [name for name in self.sets if not name.endswith("/validation")]

    def start(self, sample: int) -> list[Point]:
        """The first evaluation, which later ones are compared with: every old item, of the new ones the first `sample`.

        kl_new is taken on these alone, at the end as on the way.
        """
        parts = {name: slice(None) if name.startswith("old/") else slice(sample) for name in self._along}
        return self.evaluate(parts)

    def path(self, sample: int, bracket_sample: int) -> list[Point]:
        """An evaluation on the way: of every set but validation the first `sample` items, of trained ones, whose fit
        decides where more are evaluated, the first `bracket_sample`."""
        return self.evaluate({n: slice(bracket_sample if is_trained(n) else sample) for n in self._along})

    @torch.no_grad()
    def rest(
        self, sample: int, bracket_sample: int, rows: Sequence[int], flat_KP: Tensor
    ) -> list[dict[str, Observations]]:
        """What `path` leaves out of the first `bracket_sample` items, of the runs in these rows, by set. flat_KP: the
        fleet's buffer as it was at the point."""
        sizes = {name: len(self.sets[name].examples[0]) for name in self._along if not is_trained(name)}
        left = [name for name, size in sizes.items() if sample < min(size, bracket_sample)]
        weights = {name: value[list(rows)] for name, value in self.fleet.weights(flat_KP).items()}
        return self._observed(dict.fromkeys(left, slice(sample, bracket_sample)), weights, rows)

    def end(self) -> list[Point]:
        """The last evaluation: every item of every set."""
        return self.evaluate(dict.fromkeys(self.sets, slice(None)))

    @staticmethod
    def fit(point: Point, limit: int) -> float:
        """The score `fit` on at most so many items a set. It decides what is evaluated, so it is part of a run's identity,
        as scores are not."""
        return fmean(items.first(limit).exact_match for name, items in point.sets.items() if is_trained(name))

    @torch.no_grad()
    def evaluate(self, parts: Mapping[str, slice]) -> list[Point]:
        """One point for each run. parts: by set which of its items."""
        weights = self.fleet.weights()
        moved, size = self._moved(weights), self.fleet.layout.size
        observed_K = self._observed(parts, weights, range(len(self.fleet)))
        return [Point(sets, moved_k, size) for sets, moved_k in zip(observed_K, moved, strict=True)]

    def _observed(
        self, parts: Mapping[str, slice], weights: Views, rows: Sequence[int]
    ) -> list[dict[str, Observations]]:
        """Of the runs in these rows, whose weights are given, the observations of these parts of sets."""
        logp = self._predicted(parts, weights, rows)
        observed = {name: self._of_set(name, logp_KNSV, parts[name], rows) for name, logp_KNSV in logp.items()}
        return [{name: runs[index] for name, runs in observed.items()} for index in range(len(rows))]

    def _predicted(self, parts: Mapping[str, slice], weights: Views, rows: Sequence[int]) -> dict[str, Tensor]:
        """Log-probabilities where answers are predicted, by set (K, N, S, V). Sets go through the model together."""
        if not parts:
            return {}
        names = list(parts)
        tokens = [self.sets[name].stacked("tokens_NL", part, rows) for name, part in parts.items()]
        tokens_KNL = torch.from_numpy(np.concatenate(tokens, axis=1)).long().to(self.fleet.flat_KP.device)
        first = self._first(names[0])
        assert all(self._first(name) == first for name in names), "sets with answers at different places"
        blocks = [
            self.fleet.logits(block[..., :-1], first, weights).log_softmax(-1)
            for block in torch.split(tokens_KNL, GPU_BLOCK if tokens_KNL.is_cuda else BLOCK, dim=1)
        ]
        pieces = torch.split(torch.cat(blocks, dim=1), [part.shape[1] for part in tokens], dim=1)
        return dict(zip(names, pieces, strict=True))

    def _first(self, name: str) -> int:
        return first_position(self.sets[name].examples[0].answer_NL)

    def _of_set(self, name: str, logp_KNSV: Tensor, part: slice, rows: Sequence[int]) -> list[Observations]:
        items, after = self.sets[name], self._first(name) + 1

        def column(column_name: str) -> Tensor:
            return torch.from_numpy(items.stacked(column_name, part, rows)[..., after:]).to(logp_KNSV.device)

        target_KNS, padding_KNS = column("tokens_NL").long(), ~column("answer_NL")
        best_KNS = logp_KNSV.argmax(-1)
        correct_KN = (padding_KNS | (best_KNS == target_KNS)).all(-1).cpu()
        by_rule_KN = (padding_KNS | (best_KNS == column("rule_answer_NL"))).all(-1).cpu()
        nll_KNS = -logp_KNSV.gather(-1, target_KNS[..., None]).squeeze(-1)
        nll_KN = nll_KNS.masked_fill(padding_KNS, 0).sum(-1).double().cpu()
        kl_KN = self._kl(logp_KNSV, padding_KNS, part, rows).double().cpu() if name == KL_SET else nll_KN[:, :0]
        observed = []
        for index, k in enumerate(rows):
            examples = items.examples[k]
            observed.append(Observations(
                correct_KN[index].numpy(), by_rule_KN[index].numpy(), nll_KN[index].numpy(), kl_KN[index].numpy(),
                examples.bits_N[part] * log(2), int(examples.answer_NL[0].sum()), items.floors[k],
                examples.bucket_N[part if examples.bucket_N.any() else slice(0)],
            ))  # fmt: skip
        return observed

    def _kl(self, logp_KNSV: Tensor, padding_KNS: Tensor, part: slice, rows: Sequence[int]) -> Tensor:
        """KL(before || now), summed over the answer, of the items evaluated first: shape (K, N)."""
        if self._before is None:
            self._before = _floored(logp_KNSV)
        before = self._before[list(rows), part]
        count = min(before.shape[1], logp_KNSV.shape[1])
        before = before[:, :count]
        kl_KNS = (before.exp() * (before - _floored(logp_KNSV[:, :count]))).sum(-1)
        return kl_KNS.masked_fill(padding_KNS[:, :count], 0).sum(-1)

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


def is_trained(name: str) -> bool:
    """Whether a set holds the stage's own trained items, of which `fit` is computed."""
    return name.startswith("new/") and name.endswith("/train")


def _floored(logp: Tensor) -> Tensor:
    """Log-probabilities with every token at KL_FLOOR or more, normalized again."""
    return logp.exp().clamp_min(KL_FLOOR).log().log_softmax(-1)
