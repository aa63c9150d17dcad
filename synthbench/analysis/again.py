"""A/A: an optimizer against itself with other random numbers, to show how far two rows differ by chance."""

from __future__ import annotations

from collections.abc import Sequence

from synthbench.analysis import verdict
from synthbench.analysis.pairing import Pair, contrast
from synthbench.analysis.rows import Row
from synthbench.analysis.verdict import Verdict
from synthbench.cards import RunnerCard
from synthbench.scores import SCORES

BASES = {True: " on one model", False: " on its own models"}
SAME = ("task", "update", "size", "place", "weight_decay")  # what a row shares with its salted variant


def again(sides: Sequence[Sequence[Row]], score: str, rows: Sequence[Row], card: RunnerCard) -> dict[str, Verdict]:
    """Of compared rows (by side one of each stratum) that have a salted variant on the card: the verdict on row - variant
    over the same strata, by the optimizer's name, with its base or update where the sides have different ones. Variants
    start from the row's base where the sides share theirs, else from their own; the name says so where the card has only
    the other kind, which chance moves less, or more, than it moves the compared rows."""
    updates = {row.update for side in sides for row in side}
    is_one_base = all(first.base == second.base for first, second in zip(*sides, strict=True))
    verdicts = {}
    for side in sides:
        for name in card.salted(side[0].optimizer) if side else ():
            for of_one_base in (is_one_base, not is_one_base):
                if pairs := [Pair(row, other) for row in side if (other := _same(row, name, rows, of_one_base))]:
                    update = f" {side[0].update}" if len(updates) > 1 else ""
                    kind = "" if of_one_base is is_one_base else BASES[of_one_base]
                    margin = card.margins.get(SCORES[score].unit)
                    verdicts[f"{side[0].label}{update}{kind}"] = verdict.verdict(contrast(pairs, score), margin)
                    break
    return verdicts


def _same(row: Row, name: str, rows: Sequence[Row], is_one_base: bool) -> Row | None:
    """The row of another optimizer with the same task, update and axes: on the same pretrained model, or on one that this
    other optimizer pretrained."""
    base = row.base if is_one_base else [name if of == row.optimizer else of for of in row.base]
    alike = [other for other in rows if all(getattr(other, axis) == getattr(row, axis) for axis in SAME)]
    return next((other for other in alike if other.optimizer == name and other.base == base), None)
