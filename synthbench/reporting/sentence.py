"""What a table shows, in one sentence: a direction only where its interval excludes 0, else the seeds that would tell."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf
from typing import NamedTuple

from synthbench.cards import RunnerCard
from synthbench.reporting.rows import Row, Values
from synthbench.scores.statistics import interval, seeds_needed

HEADLINES = {
    "rule_accuracy@fit": ("generalizes the rule", "better", "worse"),
    "forgetting@fit": ("forgets", "more", "less"),
}
NAMES = {"adamw": "AdamW", "muon": "Muon", "sgd": "SGD"}


class Pair(NamedTuple):
    """Two rows to compare: one's own first."""

    row: Row
    other: Row


def pair(rows: Sequence[Row]) -> Pair | None:
    """The two rows that a table is read for: the first optimizer measured here against AdamW (or the next one) under
    full updates; with one optimizer alone, full against low rank."""
    own = [row for row in rows if not row.reference]
    if not own:
        return None
    first = next((row for row in own if row.optimizer != "adamw"), own[0])
    rivals = [r for r in rows if r.optimizer != first.optimizer and (r.task, r.update) == (first.task, first.update)]
    rivals.sort(key=lambda row: row.optimizer != "adamw")
    same = [r for r in own if r.optimizer == first.optimizer and r.task == first.task and r.update != first.update]
    return Pair(first, (rivals or same)[0]) if rivals or same else None


def differences(row: Values, other: Values) -> list[float]:
    """Paired by seed: row - other."""
    return [row[seed] - other[seed] for seed in sorted(row.keys() & other.keys())]


def sentence(rows: Sequence[Row], card: RunnerCard) -> str:
    """One sentence in words."""
    found = pair(rows)
    if found is None:
        return "Nothing here can be compared yet."
    row, other = found
    if row.lr is None or other.lr is None:
        return f"Nothing can be said: every run of {_who(row if row.lr is None else other, found)} diverged."
    parts = [_clause(name, found, card) for name in HEADLINES]
    return (
        f"At equal fit ({card.reading.fit:g}) and equal speed ({card.reading.speed} steps), {_who(row, found)} "
        f"{parts[0]}, and {parts[1]} (paired over seeds)."
    )


def _who(row: Row, found: Pair) -> str:
    name = NAMES.get(row.optimizer, row.optimizer)
    return (
        f"{name} ({row.update})" if found.row.optimizer == found.other.optimizer else f"{name} ({row.update} updates)"
    )


def _clause(name: str, found: Pair, card: RunnerCard) -> str:
    verb, more, less = HEADLINES[name]
    rival = NAMES.get(found.other.optimizer, found.other.optimizer)
    if found.row.optimizer == found.other.optimizer:
        rival = f"{found.other.update} updates"
    paired = differences(found.row.values.get(name, {}), found.other.values.get(name, {}))
    if len(paired) < 2:
        return f"cannot be compared with {rival} in how it {verb} ({len(paired)} paired seeds reach that speed)"
    found_interval = interval(paired)
    mean, low, high, n = found_interval
    if found_interval.excludes_zero:
        signs = {sign(found, name, speed) for speed in card.reading.speeds} - {None}
        if len(signs) > 1:
            return f"{verb} {more if mean > 0 else less} than {rival} there, but the sign depends on the speed"
        size = f"{abs(mean):.2f}, 95 % interval {min(abs(low), abs(high)):.2f} to {max(abs(low), abs(high)):.2f}"
        return f"{verb} {more if mean > 0 else less} than {rival} (by {size})"
    needed = seeds_needed(paired)
    seeds = "more than 1000 seeds" if isinf(needed) else f"about {max(needed, n + 1):.0f} seeds"
    return (
        f"{verb} no differently from {rival} as far as {n} seeds can tell (difference {mean:+.2f}, 95 % interval "
        f"{low:+.2f} to {high:+.2f}; {seeds} would tell one of that size)"
    )


def sign(found: Pair, name: str, speed: int) -> bool | None:
    """Whether the mean difference is above zero at a speed; None where nothing is reached."""
    values = [row.speeds.get(name, {}).get(speed, {}) for row in found]
    paired = differences(*values)
    return sum(paired) > 0 if paired else None
