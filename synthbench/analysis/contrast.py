"""What a claim is estimated from: values by stratum and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import nan
from statistics import fmean
from typing import NamedTuple

Values = Mapping[int, float]  # by seed
RESOLUTION = 1 / 1024  # of a score that is a share: it is of at most 1,024 items


class Contrast(NamedTuple):
    """A difference of two rows, or what is else computed by seed, over strata: tasks, or tasks at values of an axis. Strata
    are fixed: each counts once, from the seeds that it has.

    values: by stratum and seed: row - other where paired, else the values of the first row. others: of the second row, None
    where paired. resolution: the least deviation between seeds that a test believes in, in the score's unit. is_ranked:
    whether only the order of values counts, some of which are bounds and infinite here. is_flipped: whether values are so
    coarse (shares of a few pairs) that an exact test by flipped signs takes the place of Student's.
    """

    values: Sequence[Values]
    others: Sequence[Values] | None = None
    resolution: float = 0.0
    is_ranked: bool = False
    is_flipped: bool = False

    @property
    def is_paired(self) -> bool:
        return self.others is None

    @property
    def samples(self) -> list[Sequence[Values]]:
        return [self.values] if self.others is None else [self.values, self.others]

    @property
    def n(self) -> int:
        """Seeds that some stratum has: of two samples those of the smaller one."""
        return min(len({seed for stratum in sample for seed in stratum}) for sample in self.samples)

    @property
    def fewest(self) -> int:
        """Seeds of the stratum that has fewest."""
        return min((len(stratum) for sample in self.samples for stratum in sample), default=0)

    @property
    def mean(self) -> float:
        """The mean over strata of the mean difference of each; NaN where a stratum has no values on a side."""
        if not self.fewest:
            return nan
        first, *second = (fmean(fmean(stratum.values()) for stratum in sample) for sample in self.samples)
        return first - sum(second)

    @property
    def is_nothing(self) -> bool:
        """Whether no value differs from another row's in any stratum."""
        others: Sequence[Values] = [{0: 0.0}] * len(self.values) if self.others is None else self.others
        return all(len({*a.values(), *b.values()}) <= 1 for a, b in zip(self.values, others, strict=True))


def one_task(values: Sequence[float], others: Sequence[float] | None = None, resolution: float = 0.0) -> Contrast:
    """The contrast of one stratum, seeds in order: of differences, or of two samples."""
    samples = [dict(enumerate(sample)) for sample in (values, others) if sample is not None]
    return Contrast([samples[0]], None if others is None else [samples[1]], resolution)
