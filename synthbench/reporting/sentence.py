"""What a table shows, in one sentence: a direction only where its interval excludes 0, else the seeds that would tell."""

from __future__ import annotations

from collections.abc import Sequence

from synthbench.analysis import verdict
from synthbench.analysis.pairing import Pair, setting
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard

HEADLINES = {
    "rule_accuracy@fit": ("generalizes the rule", "better", "worse"),
    "forgetting@fit": ("forgets", "more", "less"),
}
NAMES = {"adamw": "AdamW", "muon": "Muon", "sgd": "SGD"}


def pair(rows: Sequence[Row]) -> Pair | None:
    """The two rows that a table is read for: of the first task the first optimizer measured here (no variant, if there is
    another) against AdamW (or the next one) under full updates; with one optimizer alone, full against low rank."""
    own = [row for row in rows if not row.reference]
    if not own:
        return None
    others = [row for row in own if row.task == own[0].task and row.optimizer != "adamw"]
    first = min(others, key=lambda row: row.variant_of is not None, default=own[0])
    alike = [r for r in rows if setting(r) == setting(first)]
    rivals = [r for r in alike if r.optimizer != first.optimizer and r.update == first.update]
    rivals.sort(key=lambda row: (row.optimizer != "adamw", row.variant_of is not None))
    same = [r for r in alike if not r.reference and r.optimizer == first.optimizer and r.update != first.update]
    return Pair(first, (rivals or same)[0]) if rivals or same else None


def sentence(rows: Sequence[Row], card: RunnerCard) -> str:
    """One sentence in words."""
    found = pair(rows)
    if found is None:
        return "Nothing here can be compared yet."
    row, other = found
    if row.lr is None or other.lr is None:
        return f"Nothing can be said: every run of {_who(row if row.lr is None else other, found)} diverged."
    parts = [_clause(name, found, card) for name in HEADLINES]
    where = f"On {row.task}, at" if len({one.task for one in rows}) > 1 else "At"
    return (
        f"{where} equal fit ({card.reading.fit:g}) and equal target step ({card.reading.target_step} steps), {_who(row, found)} "
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
    judged = verdict.of(found, name, card)
    mean, low, high, n = judged.found
    if judged.kind == "too few seeds":
        reach = f"{n} paired seed{' reaches' if n == 1 else 's reach'} that target step"
        needed = f"; {verdict.LEAST} are needed" if n else ""  # where none does, rates are missing, not seeds
        return f"cannot be compared with {rival} in how it {verb} ({reach}{needed})"
    if judged.found.excludes_zero:
        way = f"{verb} {more if mean > 0 else less} than {rival}"
        if judged.kind == "depends on target step":
            return f"{way} there, but the sign depends on the target step"
        return f"{way} (by {abs(mean):.2f}, 95 % interval {min(abs(low), abs(high)):.2f} to {max(abs(low), abs(high)):.2f})"
    size = f"difference {mean:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}"
    if judged.kind != "undecided":
        return f"{verb} no differently from {rival}, or by less than {judged.margin:g} ({size})"
    return (
        f"{verb} no differently from {rival} as far as {n} seeds can tell ({size}; {verdict.seeds(judged)} would tell)"
    )
