"""What scores are computed from: per-item observations of one run at one point, as numpy arrays. No model, no torch.

Sets are named `new/SLICE/SPLIT` (the stage's own data) and `old/SLICE/SPLIT` (the data of the stages before it).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HEAD, TAIL = 1, 3  # places in the generators' BUCKETS


@dataclass(frozen=True)
class Observations:
    """N items of a set, teacher-forced.

    correct_N: the complete answer, end token included, is the argmax given the true prefix. by_rule_N: likewise the answer
    that the rule would give (on old items the new rule). nll_N: nats, summed over the answer's tokens. kl_N:
    KL(before || after) in nats, summed over the answer's tokens, of the first items or of none: as many as were evaluated
    at the start. entropy_N: nats of the answer for someone who knows neither item nor rule. tokens: answer tokens an item.
    floor: accuracy without learning. bucket_N: bucket of realized exposures (HEAD, TAIL or between); empty where all items
    have equally many exposures.
    """

    correct_N: NDArray[np.bool_]
    by_rule_N: NDArray[np.bool_]
    nll_N: Floats
    kl_N: Floats
    entropy_N: Floats
    tokens: int
    floor: float
    bucket_N: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, dtype=np.int8))

    def first(self, count: int) -> Observations:
        """The same of the first `count` items (the floor is that of the full set)."""
        return Observations(
            self.correct_N[:count], self.by_rule_N[:count], self.nll_N[:count], self.kl_N[:count],
            self.entropy_N[:count], self.tokens, self.floor, self.bucket_N[:count],
        )  # fmt: skip

    def then(self, more: Observations) -> Observations:
        """The same with more items of the set after these (the floor is that of the full set)."""
        return Observations(
            np.concatenate([self.correct_N, more.correct_N]), np.concatenate([self.by_rule_N, more.by_rule_N]),
            np.concatenate([self.nll_N, more.nll_N]), np.concatenate([self.kl_N, more.kl_N]),
            np.concatenate([self.entropy_N, more.entropy_N]), self.tokens, self.floor,
            np.concatenate([self.bucket_N, more.bucket_N]),
        )  # fmt: skip

    @property
    def exact_match(self) -> float:
        return float(self.correct_N.mean())

    @property
    def capped_nll(self) -> float:
        """Nats per answer token, each item's loss capped at its answer's entropy: a lost fact is lost, not worse."""
        return float(np.minimum(self.nll_N, self.entropy_N).mean() / self.tokens)


class Point(NamedTuple):
    """One run at one step.

    sets: by name. moved: by parameter group, norm of the change since the start / norm then. parameters: of the model.
    """

    sets: Mapping[str, Observations]
    moved: Mapping[str, float]
    parameters: int = 0

    def slices(self, age: str) -> list[str]:
        """Slices of the new or the old data that are observed here."""
        return list(dict.fromkeys(name.split("/")[1] for name in self.sets if name.startswith(f"{age}/")))


def aligned(before: Point, after: Point) -> Point:
    """`before` on the items that `after` observes: a path is read on a sample, the beginning of each set."""
    sets = {name: observed.first(len(after.sets[name].correct_N)) for name, observed in before.sets.items()
            if name in after.sets}  # fmt: skip
    return before._replace(sets=sets)
