"""Rows that are compared with each other: of one task and setting, differing in one thing; and whether seed by seed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from typing import NamedTuple

from synthbench.analysis.contrast import RESOLUTION, Contrast, Values
from synthbench.analysis.rank_test import less
from synthbench.analysis.rows import ON, SEVERAL, Row
from synthbench.common.errors import BadInput
from synthbench.common.wording import check_choice, listed, shown
from synthbench.plugins.loading import label
from synthbench.scores import SCORES
from synthbench.scores.reading import BETWEEN_RATES

OLD = ">"  # between the optimizer of pretraining and that of finetuning, until 0.2
AXES = ("task", "label", "update")  # what rows of one table differ in, beside the axes of their card


class Pair(NamedTuple):
    """Two rows to compare: differences are row - other."""

    row: Row
    other: Row


def setting(row: Row) -> tuple[object, ...]:
    """What a row has to share with those that it is ranked with: the task, and how much of it is trained."""
    return row.task, row.size, tuple(sorted(row.items.items()))


def on(row: Row, axis: str) -> object:
    """Where a row is on an axis, None where it is not on it."""
    return getattr(row, axis) if axis in AXES else row.axes.get(axis)


def counterpart(row: Row, rows: Sequence[Row], apart_from: str | None = None) -> Row | None:
    """The row like this one on all axes but one: that of the same weight decay, or the only one; None without one. A row
    that is not on an axis is like those at every value of it."""
    alike = [other for other in rows if _is_alike(row, other, apart_from)]
    exact = [other for other in alike if (other.axes, other.weight_decay) == (row.axes, row.weight_decay)]
    return exact[0] if exact else alike[0] if len(alike) == 1 else None


def _is_alike(row: Row, other: Row, apart_from: str | None) -> bool:
    shared = [*AXES, *(label for label in row.axes if label in other.axes)]
    is_sized = apart_from in row.axes or row.size == other.size  # an axis may be of sizes
    return is_sized and all(on(row, axis) == on(other, axis) for axis in shared if axis != apart_from)


def headline(rows: Sequence[Row]) -> Pair | None:
    """The two rows that a table is read for: of the first task the first optimizer measured here (no variant, if there is
    another) against AdamW (or the next one) under full updates; with one optimizer alone, full against low rank."""
    measured = [row for row in rows if not row.reference]
    if not measured:
        return None
    others = [row for row in measured if row.task == measured[0].task and row.optimizer != "adamw"]
    first = min(others, key=lambda row: row.variant_of is not None, default=measured[0])
    alike = [row for row in rows if setting(row) == setting(first)]
    rivals = [row for row in alike if row.optimizer != first.optimizer and row.update == first.update]
    rivals.sort(key=lambda row: (row.optimizer != "adamw", row.variant_of is not None))
    updates = [row for row in alike if row.optimizer == first.optimizer and row.update != first.update]
    rivals += [row for row in updates if not row.reference]
    return Pair(first, rivals[0]) if rivals else None


def meant(name: str, known: Collection[str]) -> str:
    """What is known under a name that may be typed as in tables, with optimizers as for `run`, or in the old spelling of
    `muon on adamw`, `adamw>muon`; the optimizer's label where nothing is."""
    optimizer, _, base = name.rpartition(ON)
    older_base, _, older = name.rpartition(OLD)
    spellings = [name, label(name), f"{label(optimizer)}{ON}{label(base)}", f"{label(older)}{ON}{label(older_base)}"]
    return next((spelling for spelling in spellings if spelling in known), label(name))


def of_optimizer(rows: Sequence[Row], name: str, option: str) -> list[Row]:
    """The rows of an optimizer, named as in the table, as for `run`, or, where that is clear, without that of pretraining.

    Raises BadInput that begins with the option where there are none, or where the name could mean several.
    """
    labels = list(dict.fromkeys(row.label for row in rows))
    name = meant(name, labels)
    several = [name] if name in labels else list(dict.fromkeys(row.label for row in rows if row.optimizer == name))
    if len(several) > 1:
        raise BadInput(f"{option} {shown(name)} could be any of {listed(several)}; name one of them.")
    if not several:
        check_choice(option, name, labels)
    return [row for row in rows if row.label == several[0]]


def differences(row: Values, other: Values) -> dict[int, float]:
    """Paired by seed: row - other."""
    return {seed: less(row[seed], other[seed]) for seed in sorted(row.keys() & other.keys())}


def is_paired(pairs: Sequence[Pair]) -> bool:
    """Whether a seed is one experiment in both rows of each pair: where they start from the same base, or no stage comes
    before and they share their data, and one kind of device measured all of their runs.

    Between own bases pairing buys nothing: the correlation of values by seed was measured at -.5 to .2. On another kind of
    device the data are the same, but sums are rounded differently, and training amplifies that.
    """
    return all(
        row.device == other.device and SEVERAL not in row.device and has_same_base(row, other) for row, other in pairs
    )


def has_same_base(row: Row, other: Row) -> bool:
    """Whether the same optimizers trained the earlier stages, with equal scores at every seed that both rows have: another
    weight decay or card shows there."""
    if row.base != other.base or row.start == other.start:  # the latter said at once for nearly all rows
        return row.base == other.base
    pairs = (differences(by_seed, other.start.get(name, {})) for name, by_seed in row.start.items())
    return not any(value for pair in pairs for value in pair.values())


def sides(pair: Pair, name: str) -> tuple[Values, Values]:
    """The values by seed of both rows in a score: where paired, of the seeds that both have."""
    first, second = (values_of(row, name) for row in pair)
    if not is_paired([pair]):
        return first, second
    common = sorted(first.keys() & second.keys())
    return {seed: first[seed] for seed in common}, {seed: second[seed] for seed in common}


def contrast(pairs: Sequence[Pair], name: str, target_step: int | None = None) -> Contrast:
    """What the mean over pairs (one a stratum) of row - other is estimated from in a score (`x@fit`: at this target step,
    by default the card's); paired where all pairs are."""
    both = [[values_of(row, name, target_step) for row in pair] for pair in pairs]
    resolution = RESOLUTION if SCORES[name].unit == "share" else 0.0
    if is_paired(pairs):
        return Contrast([differences(first, second) for first, second in both], None, resolution, is_ranked(name))
    return Contrast([first for first, _ in both], [second for _, second in both], resolution, is_ranked(name))


def is_ranked(name: str) -> bool:
    """Whether a score's values may be bounds, so that they are compared by rank."""
    return name.endswith("@t")


def values_of(row: Row, name: str, target_step: int | None = None) -> Values:
    """A score by seed (`x@fit`: at this target step, by default the card's); bounds are infinite."""
    if target_step is not None and name.endswith(tuple(BETWEEN_RATES)):
        return row.target_steps.get(name, {}).get(target_step, {})
    bounds = {seed: inf if mark == ">" else -inf for seed, mark in row.censored.get(name, {}).items()}
    return row.values.get(name, {}) | bounds
