"""reports/power.md: what a few own seeds find beside 32 reference seeds, by resampling the rows of reports/power.json.

The rows have 64 seeds of each optimizer. A trial draws own seeds and 32 others from them without replacement, adds a
difference to the own, and takes the verdict that `synthbench run` takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from docs.generated import STALE
from synthbench import cards
from synthbench.analysis.contrast import RESOLUTION, one_task
from synthbench.analysis.reference import Reference
from synthbench.analysis.rows import Row
from synthbench.analysis.verdict import verdict
from synthbench.cards import RunnerCard
from synthbench.reporting.table import github

FOUND = Path(__file__).resolve().parent.parent / "reports" / "power.json"
OWN, REFERENCE = (4, 8, 16), 32
SCORES = ("rule_accuracy@fit", "fact_forgetting@fit", "skill_forgetting@fit")
DIFFERENCES = (0.0, 0.05, 0.1)
TRIALS = 1000


def power_page() -> str:
    """The page; empty of tables where no rows were measured."""
    head = ["# What eight seeds find", STALE]
    if not FOUND.exists():
        return "\n\n".join([*head, "Not measured."])
    found = Reference.model_validate_json(FOUND.read_text(encoding="utf-8"))
    margin = cards.load(RunnerCard, found.runner).margins["share"]
    rows = [
        [row.optimizer, row.update, score, f"{own}", *cells(row, score, own, margin)]
        for row in found.rows for score in SCORES for own in OWN if len(row.exact(score)) >= REFERENCE + own
    ]  # fmt: skip
    text = (
        f"`synthbench run` compares your seeds with {REFERENCE} reference seeds of a built-in optimizer. Here both sides "
        f"are drawn from the same row of up to 64 seeds, {TRIALS:,} times: without a difference, how often is one found "
        f"(should be 5 %), and how often does the sentence say that there is none beyond {margin:g}; with one of 0.05 and "
        "of 0.1 added, how often is it found. Welch's t at 5 %."
    )
    heads = ["optimizer", "update", "score", "own seeds", "false alarms", "no difference", "0.05 found", "0.1 found"]
    return "\n\n".join([*head, text, github(heads, rows), f"{found.device}; {found.command}"])


def cells(row: Row, score: str, own: int, margin: float) -> list[str]:
    """Shares of trials: a difference found where there is none; `equal` there; found where there is one, by size."""
    values, shares = row.exact(score), dict[float, Counter[str]]()
    for difference in DIFFERENCES:
        shares[difference] = kinds(values, own, difference, margin)
    false = (shares[0.0]["higher"] + shares[0.0]["lower"]) / TRIALS
    found = [shares[difference]["higher"] / TRIALS for difference in DIFFERENCES[1:]]
    return [f"{share:.0%}" for share in (false, shares[0.0]["equal"] / TRIALS, *found)]


def kinds(values: Mapping[int, float], own: int, difference: float, margin: float) -> Counter[str]:
    """How often each verdict is taken on so many own seeds, a difference added, against the others' reference."""
    generator, pool = np.random.default_rng(0), np.array([*values.values()])
    counted: Counter[str] = Counter()
    for _ in range(TRIALS):
        drawn = generator.permutation(pool)[: own + REFERENCE]
        counted[_kind(drawn[:own] + difference, drawn[own:], margin)] += 1
    return counted


def _kind(own: Sequence[float], others: Sequence[float], margin: float) -> str:
    return verdict(one_task([*map(float, own)], [*map(float, others)], RESOLUTION), margin).kind
