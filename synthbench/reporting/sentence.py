"""Verdicts in words, and a table in one sentence: a direction only where its interval excludes 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf

from synthbench.analysis import verdict
from synthbench.analysis.again import again
from synthbench.analysis.fairness import remedy
from synthbench.analysis.pairing import Pair, headline, is_paired
from synthbench.analysis.rows import ON, Row, applies, on_axis
from synthbench.analysis.statistics import MOST_SEEDS
from synthbench.analysis.verdict import DECIDED, Verdict
from synthbench.cards import RunnerCard
from synthbench.reporting.bounds import within
from synthbench.reporting.table import SHOWN, signed
from synthbench.scores import SCORES

HEADLINES = {
    "rule_accuracy@fit": "rule accuracy", "fact_forgetting@fit": "fact forgetting",
    "skill_forgetting@fit": "skill forgetting",
}  # fmt: skip
ALIKE = "To tune both alike: "  # what follows is a command
UNPAIRED = "unpaired"
FINE = 0.02  # of intervals within it a third decimal is shown
NAMES = {"adamw": "AdamW", "muon": "Muon", "sgd": "SGD"}


def words(judged: Verdict, name: str, subject: str) -> str:
    """A verdict on a score as an entry of a table."""
    if judged.kind == "too few seeds":
        return f"needs {verdict.LEAST_SEEDS} seeds"
    by = f" ({by_rank(judged)})" * judged.ranked
    decided = (
        f"{subject} {direction(judged, name)}{small(judged)}{by}" if judged.kind in DECIDED else undirected(judged)
    )
    return decided + elsewhere(judged)


def elsewhere(judged: Verdict) -> str:
    """A clause on the target steps at which a verdict is another in kind or in size: `; +0.02, inconclusive at step 180`;
    else nothing, and nothing where the verdict says itself that it depends on them."""
    if judged.kind == "depends on target step":
        return ""
    there = judged.elsewhere.items()
    return "".join(f"; {signed(mean)}{f', {_other(kind)},' * (kind != judged.kind)} at step {step}"
                   for step, (kind, mean) in there)  # fmt: skip


def _other(kind: verdict.Kind) -> str:
    return "no difference" if kind in ("equal", "identical") else kind


def small(judged: Verdict) -> str:
    """A note on a significant difference whose whole interval lies within the margin; else nothing."""
    return f" (by less than {judged.margin:g})" if judged.is_small else ""


def direction(judged: Verdict, name: str) -> str:
    """`better` or `worse`, and `higher` or `lower` of a score of which neither is better in itself."""
    better = {"up": "higher", "down": "lower", "-": None}[SCORES[name].better]
    return str(judged.kind) if better is None else "better" if judged.kind == better else "worse"


def undirected(judged: Verdict, detail: str = "") -> str:
    """A verdict of another kind. detail: what stands before the number of seeds where it is inconclusive."""
    if judged.kind == "inconclusive" and judged.ranked:
        return f"inconclusive ({by_rank(judged)}, n = {judged.difference.n})"
    if judged.kind == "inconclusive":
        return f"inconclusive ({detail}n = {judged.difference.n}; {seeds(judged)})"
    if judged.kind == "equal":
        return f"no difference larger than {judged.margin:g}"
    if judged.kind == "not comparable":
        return f"not comparable: {judged.why}"
    return {"identical": "no difference at any seed"}.get(judged.kind, "depends on the target step")


def by_rank(judged: Verdict) -> str:
    """`median -40, p = .008`: the median difference, which may be a bound, and the p-value of the rank test."""
    middle = judged.difference.mean
    if isinf(middle):
        return f"median {'above' if middle > 0 else 'below'} all that were measured, {p_value(judged.p)}"
    return f"median {f'{middle:+z.0f}' if middle == middle else 'not known'}, {p_value(judged.p)}"


def p_value(p: float) -> str:
    return "p < .001" if p < 0.001 else f"p = {f'{p:.3f}'.replace('0.', '.')}"


def numbers(judged: Verdict, name: str) -> str:
    """`-0.11 [-0.13, -0.10]`, with a third decimal where all are next to 0; or what a rank test has."""
    if judged.ranked:
        return by_rank(judged)
    mean, low, high, n = within(judged.difference, name, of_difference=True)
    is_fine = 0 < max(abs(low), abs(high)) < FINE
    shown_mean, shown_low, shown_high = (signed(value, SHOWN + is_fine) for value in (mean, low, high))
    return f"{shown_mean if n else 'none'}{f' [{shown_low}, {shown_high}]' if low == low else ''}"


def against_itself(verdicts: Mapping[str, Verdict], name: str) -> str:
    """`A/A (adamw again): +0.01 [-0.03, +0.05]` for each optimizer that is on the card with another salt."""
    clauses = (f"A/A ({optimizer} again): {numbers(judged, name)}" for optimizer, judged in verdicts.items())
    return "; ".join(clauses)


def seeds(judged: Verdict) -> str:
    """The seeds that an inconclusive verdict would take."""
    of_each = "" if judged.paired else " of each row"
    count = f"more than {MOST_SEEDS}" if isinf(judged.seeds) else f"about {judged.seeds:.0f}"
    return f"{count} seeds{of_each} for 80 % power"


def sentence(rows: Sequence[Row], card: RunnerCard) -> str:
    """The two rows that a table is read for, compared in its headline scores."""
    pair = headline(rows)
    if pair is None:
        return "No two rows can be compared yet."
    if diverged := [row for row in pair if row.lr is None]:
        return f"No comparison: every run of {named(diverged[0], rows)} diverged."
    where = f"On {pair.row.task}, at" if len({row.task for row in rows}) > 1 else "At"
    clauses = [f"{title} {_clause(verdict.of(pair, name, card), name)}" for name, title in _headlines(pair).items()]
    chance = [
        f"{title}, {text}" for name, title in _headlines(pair).items()
        if (text := against_itself(again([[row] for row in pair], name, rows, card), name))
    ]  # fmt: skip
    how = "paired over seeds" if is_paired([pair]) else UNPAIRED
    return (
        f"{where} {card.reading.at} and target step {card.reading.target_step}, {named(pair.row, rows)} against "
        f"{named(pair.other, rows)}: {'; '.join(clauses)} ({how})." + f" By chance: {'; '.join(chance)}." * bool(chance)
    )


def _headlines(pair: Pair) -> dict[str, str]:
    """The headline scores that the task has."""
    return {name: title for name, title in HEADLINES.items() if any(applies(name, row) for row in pair)}


def next_step(rows: Sequence[Row], card: RunnerCard) -> str:
    """How to make the two rows of the sentence comparable; nothing where they are."""
    pair = headline(rows)
    judged = [verdict.of(pair, name, card) for name in _headlines(pair)] if pair else []
    return to_compare([pair] * len(judged), judged, card) if pair else ""


def to_compare(pairs: Sequence[Pair], judged: Sequence[Verdict], card: RunnerCard) -> str:
    """How to make the first of these pairs comparable, as a sentence; nothing where all are."""
    first = next((pair for pair, of_pair in zip(pairs, judged, strict=False) if of_pair.kind == "not comparable"), None)
    return f"{ALIKE}{remedy(first, card)}" if first else ""


def named(row: Row, rows: Sequence[Row]) -> str:
    """A row with what it differs in from others, beside its task: `Muon (full, decay 0.1)`."""
    differing = [label for label in row.axes if len({other.axes.get(label) for other in rows}) > 1]
    decays = [f"decay {row.decay}"] if "decay" not in row.axes and len({other.decay for other in rows}) > 1 else []
    details = [row.update, *(on_axis(label, row.axes[label]) for label in differing), *decays]
    name = ON.join(NAMES.get(part, part) for part in row.label.split(ON))
    return f"{name} ({', '.join(details)})"


def _clause(judged: Verdict, name: str) -> str:
    mean, low, high, n = within(judged.difference, name, of_difference=True)
    if judged.kind == "too few seeds":
        needed = f"; {verdict.LEAST_SEEDS} are needed" if n else ""  # where none does, rates are missing, not seeds
        return f"not compared ({n}{' paired' * judged.paired} seed{'s' * (n != 1)} with a value at the target step{needed})"
    there = elsewhere(judged)
    size = f"difference {signed(mean)}, 95 % interval {signed(low)} to {signed(high)}{there}"
    if judged.kind in DECIDED:
        least, most = sorted((abs(low), abs(high)))
        return f"{judged.kind} by {abs(mean):.{SHOWN}f} (95 % interval {least:.{SHOWN}f} to {most:.{SHOWN}f}{there})"
    if judged.kind == "depends on target step":
        return f"{'higher' if mean > 0 else 'lower'} there, but the direction depends on the target step"
    return undirected(judged, f"{size}, ") if judged.kind == "inconclusive" else f"{undirected(judged)} ({size})"
