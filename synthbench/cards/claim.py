"""A claim on a runner's card: what is contrasted in which score, under which readings, and what is expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from synthbench.cards.base import Card, Prose
from synthbench.cards.values import Optimizer, ScoreName, Several, Update, unique

AxisValue = float | Annotated[str, Field(max_length=4096)]
AxisValues = Annotated[list[AxisValue], Field(min_length=1, max_length=100), AfterValidator(unique)]
Label = Annotated[str, Field(max_length=200)]
Readings = Annotated[list[Literal["fit", "fits", "end", "steps", "base"]], Field(max_length=4), AfterValidator(unique)]
Contrasted = Literal["difference", "interaction", "trend", "dominates", "inversion"]
REQUIRED: dict[str, tuple[str, ...]] = {
    "difference": ("rows", "than", "expected"),
    "interaction": ("matrix", "expected"),
    "trend": ("rows", "axis", "expected"),
    "dominates": ("rows", "than", "no_worse"),
    "inversion": ("rows", "axis", "before"),
}  # of each kind; no other kind's keys may stand beside them
OPTIONAL = {"trend": ("scale",), "interaction": ("given",)}


class PlaceCard(Card):
    """Where rows lie on a runner's axes."""

    update: Update = "full"
    size: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    axes: Annotated[dict[Label, AxisValue | AxisValues], Field(max_length=8)] = {}
    """By axis a value, or a list of values over which is pooled: each value of each task counts once."""

    @property
    def pooled(self) -> dict[str, list[AxisValue]]:
        """The axes over which is pooled, with their values."""
        return {label: values for label, values in self.axes.items() if isinstance(values, list)}

    def has(self, coordinates: Mapping[str, AxisValue], along: str | None = None) -> bool:
        """Whether a place is one of these. along: an axis of which all values are, unless some are named."""
        wanted = {label: value for label, value in ({"size": self.size} | self.axes).items() if label != along}
        wanted |= {along: self.axes[along]} if along in self.axes else {}
        return all(
            coordinates.get(label) in (values if isinstance(values, list) else [values])
            for label, values in wanted.items()
        )


class RowsCard(PlaceCard):
    """The rows of a runner's table that a claim is about: of every task one, or one for each of several values of an
    axis."""

    optimizer: Optimizer
    base: Optimizer | None = None
    """The optimizer that pretrained what it finetunes; none: its own."""

    @property
    def name(self) -> str:
        """`muon on adamw`."""
        return self.optimizer if self.base in (None, self.optimizer) else f"{self.optimizer} on {self.base}"


class MatrixCard(PlaceCard):
    """Optimizers that each pretrain a model, which each of them finetunes."""

    optimizers: Annotated[list[Optimizer], Field(min_length=2, max_length=8), AfterValidator(unique)]


class ClaimCard(Card):
    """A hypothesis about a score of some rows. Answered from the mean over tasks, and over the values of axes that are
    pooled, of what is contrasted, paired over seeds where rows share their base."""

    kind: Contrasted = "difference"
    """What is contrasted. difference: `rows` less `than`. interaction: finetuning with the optimizer that pretrained less
    finetuning with another one, over a `matrix`. trend: the change along an `axis`, fitted by seed. dominates: `rows` are
    better than `than` in the score, and no worse in `no_worse`. inversion: along an `axis`, bases that are worse `before`
    are better in the score, more often than not."""
    says: Prose
    """The claim in words."""
    source: Prose
    """Who states it."""
    score: ScoreName
    readings: Readings = []
    """Where the score is read, the first one for the primary test; none: as the score's name says."""
    rows: RowsCard | None = None
    than: RowsCard | None = None
    """The rows they are compared with."""
    matrix: MatrixCard | None = None
    """Of an interaction: every pair of its optimizers is answered, and all together."""
    axis: Label | None = None
    """Of a trend or an inversion: an axis of numbers; `rows.axes` may name some of its values."""
    scale: Literal["linear", "log"] = "linear"
    """Of a trend: whether the score is fitted to the axis' values or to their logarithms."""
    no_worse: ScoreName | None = None
    """Of a dominance: the score in which the rows are not worse by the card's margin."""
    given: ScoreName | None = None
    """Of an interaction: a second score that is held equal, by the slope of the first one over it within rows."""
    before: ScoreName | None = None
    """Of an inversion: the score of the bases, at the end of their pretraining."""
    expected: Literal["higher", "lower", "equal", "no higher", "no lower"] | None = None
    """How the contrast differs from 0: that of the first rows, of the matched ones, or along the axis. no higher, no lower:
    not by the card's margin (a test of non-inferiority)."""
    tasks: Several | None = None
    """Labels of tasks; none: all that have the score."""
    primary: bool = False
    """One of the questions that the runner was made for, which share one error rate."""

    @model_validator(mode="after")
    def _has_the_keys_of_its_kind(self) -> ClaimCard:
        of_kinds = dict.fromkeys(key for keys in (*REQUIRED.values(), *OPTIONAL.values()) for key in keys)
        required = REQUIRED[self.kind]
        if missing := [key for key in required if getattr(self, key) is None]:
            raise ValueError(f"a claim of kind {self.kind} needs {' and '.join(missing)}")
        allowed = (*required, *OPTIONAL.get(self.kind, ()))
        given = [key for key in of_kinds if getattr(self, key) != type(self).model_fields[key].default]
        if others := [key for key in given if key not in allowed]:
            raise ValueError(f"a claim of kind {self.kind} has {', '.join(allowed)}, but no {' or '.join(others)}")
        return self

    @property
    def is_noninferiority(self) -> bool:
        """Whether the contrast is expected not to lie beyond the margin on one side."""
        return self.expected in ("no higher", "no lower")

    @property
    def expects_none(self) -> bool:
        """Whether it claims that there is no difference, or none on one side, which holds where all rows are at a bound."""
        return self.expected == "equal" or self.is_noninferiority

    @property
    def scores(self) -> list[str]:
        """The score under each of its readings."""
        return self.under_readings(self.score)

    def under_readings(self, score: str) -> list[str]:
        """A score as it is read for each answer."""
        return [score if reading == "end" else f"{score}@{reading}" for reading in self.readings] or [score]

    @property
    def sides(self) -> list[RowsCard]:
        """The rows that it names one by one."""
        return [side for side in (self.rows, self.than) if side is not None]
