"""reports/contrasts.md: how often each kind of claim is wrong, and how often found, by simulation:
`python -m docs.contrasts > reports/contrasts.md`.

Rows are simulated with a known truth and answered as those of an experiment are. A value is the mean of its cell, an
effect of the seed that all rows of one base share, and noise of its own, normal with deviations of SEED and NOISE.
There are three tasks. In the second one seed and noise cannot add more than ROOM, so that values crowd there; in the third
one a score is at its bound in all rows. Of every row a tenth of the readings is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import beta

from synthbench import cards
from synthbench.analysis.claims import answers
from synthbench.analysis.rows import Row
from synthbench.cards import ClaimCard, RunnerCard
from synthbench.reporting.table import github

COMMAND = "python -m docs.contrasts > reports/contrasts.md"
SEEDS, TRIALS = (8, 16), 1000
SEED, NOISE = 0.03, 0.03  # typical of rule accuracy and of forgetting at equal fit
EFFECT, MARGIN = 0.05, 0.05
MISSING = 0.1  # of the readings
BOUND, ROOM = 1.0, 0.02
TASKS = ("usual", "crowded", "at its bound")
SCORE, OTHER = "rule_accuracy@fit", "unseen_accuracy@fit"
DECAYS = (0.05, 0.1, 0.2, 0.4)
APART = 0.2  # of neighbouring bases, before


class Cell(NamedTuple):
    """What names a row, and how far its means lie from its task's, by score."""

    optimizer: str
    base: str
    means: Mapping[str, float]
    decay: float = 0.0


class Truth(NamedTuple):
    """A claim; rows for which it is false, and rows for which it is true by EFFECT. is_directed: whether a refutation of
    the false claim is no false alarm. is_cut: whether all cells of a task have one bound, BOUND."""

    name: str
    claim: Mapping[str, Any]
    false: Sequence[Cell]
    true: Sequence[Cell]
    is_directed: bool = False
    is_cut: bool = False


def two(better: float, worse: float = 0.0, base: str = "") -> list[Cell]:
    """Muon, better than AdamW in the score and worse in the other one; on one base, or each on its own."""
    return [
        Cell("muon", base or "muon", {SCORE: better, OTHER: -worse}),
        Cell("adamw", base or "adamw", {SCORE: 0.0, OTHER: 0.0}),
    ]


def pooled(better: float) -> list[Cell]:
    """The same on one base for each of two values of an axis."""
    return [cell._replace(decay=decay) for decay in DECAYS[:2] for cell in two(better, base="adamw")]


def matrix(interaction: float, optimizers: Sequence[str]) -> list[Cell]:
    """Every base finetuned by every optimizer: each has an effect of its own as a base, and one of its own as an optimizer;
    matched rows have the interaction, too."""
    effects = {name: 0.06 * index for index, name in enumerate(optimizers)}
    return [
        Cell(name, base, {SCORE: effects[name] - 2 * effects[base] + interaction * (name == base)})
        for base in optimizers for name in optimizers
    ]  # fmt: skip


def along(change: float, hump: float = 0.0) -> list[Cell]:
    """AdamW along the axis: a straight change over it, in its logarithm, and a hump in its middle."""
    last = len(DECAYS) - 1
    means = [change * index / last + hump * (0 < index < last) for index in range(len(DECAYS))]
    return [Cell("adamw", "adamw", {SCORE: mean}, decay) for decay, mean in zip(DECAYS, means, strict=True)]


HIGHER = {"expected": "higher"}
OWN_BASES = {"rows": {"optimizer": "muon"}, "than": {"optimizer": "adamw"}}
ONE_BASE = {"rows": {"optimizer": "muon", "base": "adamw"}, "than": {"optimizer": "adamw", "base": "adamw"}}
POOLED = {side: {**rows, "axes": {"weight_decay": list(DECAYS[:2])}} for side, rows in ONE_BASE.items()}
PAIR, TRIO = ["adamw", "muon"], ["adamw", "muon", "sgd"]
OF_TWO, OF_THREE = ({"kind": "interaction", "matrix": {"optimizers": names}, **HIGHER} for names in (PAIR, TRIO))
ALONG = {"rows": {"optimizer": "adamw"}, "axis": "weight_decay"}
TREND = {"kind": "trend", "scale": "log", **ALONG, **HIGHER}
DOMINANCE = {"kind": "dominates", "no_worse": OTHER, **ONE_BASE}
INVERSION = {"kind": "inversion", "before": "learning", **ALONG}
TRUTHS = [
    Truth("difference, own bases", OWN_BASES | HIGHER, two(0.0), two(EFFECT)),
    Truth("difference, one base", ONE_BASE | HIGHER, two(0.0, base="adamw"), two(EFFECT, base="adamw")),
    Truth("difference, pooled over two values of an axis", POOLED | HIGHER, pooled(0.0), pooled(EFFECT)),
    Truth("interaction of two optimizers", OF_TWO, matrix(0.0, PAIR), matrix(EFFECT, PAIR)),
    Truth("interaction of three optimizers", OF_THREE, matrix(0.0, TRIO), matrix(EFFECT, TRIO)),
    Truth("trend", TREND, along(0.0), along(EFFECT)),
    Truth("trend beside a hump", TREND, along(0.0, EFFECT), along(EFFECT, EFFECT)),
    Truth("dominates; false: no better", DOMINANCE, two(0.0, base="adamw"), two(EFFECT, base="adamw")),
    Truth(
        "dominates; false: worse by the margin in the other score", DOMINANCE,
        two(2 * EFFECT, MARGIN, base="adamw"), two(EFFECT, base="adamw"), is_directed=True,
    ),
    Truth("inversion", INVERSION, along(0.0), along(-EFFECT)),
]  # fmt: skip
CUT = Truth(
    "interaction of two optimizers, under one bound", OF_TWO, matrix(0.0, PAIR), matrix(EFFECT, PAIR), is_cut=True
)


@cache
def card(seeds: int) -> RunnerCard:
    """A card with a margin and so many seeds."""
    shipped = cards.load(RunnerCard, "quick")
    reading = shipped.reading.model_copy(update={"target_steps": [shipped.reading.target_step]})
    return shipped.model_copy(update={"seeds": seeds, "reading": reading, "margins": {"share": MARGIN}})


def rows(truth: Truth, cells: Sequence[Cell], seeds: int, generator: np.random.Generator) -> list[Row]:
    """The rows of every task, drawn anew."""
    return [row for task in TASKS for row in _of_task(task, truth, cells, seeds, generator)]


def _of_task(
    task: str, truth: Truth, cells: Sequence[Cell], seeds: int, generator: np.random.Generator
) -> list[Row]:  # fmt: skip
    bases = list(dict.fromkeys((cell.base, cell.decay) for cell in cells))
    shared = {base: generator.normal(0, SEED, (2, seeds)) for base in bases}
    before = {base: APART * index + generator.normal(0, SEED, seeds) for index, base in enumerate(bases)}
    drawn = []
    for cell in cells:
        base, noise = (cell.base, cell.decay), generator.normal(0, NOISE, (2, seeds))
        values = {}
        for name, spread in zip((SCORE, OTHER), shared[base] + noise, strict=True):
            mean = (BOUND - ROOM if truth.is_cut and task == "crowded" else 0.5) + cell.means.get(name, 0.0)
            room = (BOUND - mean if truth.is_cut else ROOM) if task == "crowded" else np.inf
            values[name] = np.full(seeds, BOUND) if task == "at its bound" else mean + np.minimum(room, spread)
        drawn.append(_row(task, cell, values, before[base], generator))
    return drawn


def _row(
    task: str, cell: Cell, values: Mapping[str, Any], before: Any, generator: np.random.Generator
) -> Row:  # fmt: skip
    by_seed = dict(enumerate(map(float, values[SCORE])))
    measured = {"rule_accuracy": by_seed, "unseen_accuracy": by_seed}  # which say that the scores have a meaning
    for name, drawn in values.items():
        is_read = generator.random(len(drawn)) >= MISSING
        measured[name] = {seed: float(value) for seed, value in enumerate(drawn) if is_read[seed]}
    changes = {
        "task": task, "optimizer": cell.optimizer, "base": [cell.base], "weight_decay": cell.decay,
        "seeds": [*by_seed], "values": measured, "start": {"learning": dict(enumerate(map(float, before)))},
    }  # fmt: skip
    return BLANK.model_copy(update=changes)


BLANK = Row(
    task="", base=[], optimizer="", update="full", weight_decay=0.0, lr=1e-3, edge=False, trials=[1, 1], seeds=[], runs=1,
    diverged=0, values={}, target_steps={}, start={}, start_lr=None, device="simulated",
)  # fmt: skip


def kinds(truth: Truth, seeds: int, trials: int, *, is_true: bool) -> Counter[str]:
    """How often each answer is given."""
    generator = np.random.default_rng(0)
    claim = ClaimCard.model_validate({"says": truth.name, "source": "simulated", "score": SCORE} | dict(truth.claim))
    asked = card(seeds).model_copy(update={"claims": [claim]})
    cells = truth.true if is_true else truth.false
    return Counter(answers(asked, rows(truth, cells, seeds, generator))[0].kind for _ in range(trials))


class Rates(NamedTuple):
    """Of the trials with an answer. false: where a claim that is false is supported or, where nothing differs, refuted by a
    difference. limit: of false, the one-sided 95 % limit (Clopper and Pearson). found: where it is true, supported."""

    measured: int
    false: float
    limit: float
    found: float


def rates(truth: Truth, seeds: int, trials: int) -> Rates:
    """Of one kind of claim with so many seeds."""
    without, present = (kinds(truth, seeds, trials, is_true=is_true) for is_true in (False, True))
    false = without["supported"] + without["opposite"] * (not truth.is_directed)
    measured, measured_true = (trials - counted["not measured"] for counted in (without, present))
    limit = float(beta.ppf(0.95, false + 1, measured - false)) if false < measured else 1.0
    return Rates(measured, false / measured, limit, present["supported"] / measured_true)


def _line(truth: Truth, seeds: int, trials: int) -> list[str]:
    one = rates(truth, seeds, trials)
    return [
        truth.name,
        f"{seeds}",
        f"{one.measured / trials:.0%}",
        f"{one.false:.1%}",
        f"{one.limit:.1%}",
        f"{one.found:.0%}",
    ]


HEADS = ["claim", "seeds", "answered", "false alarms", "at most", "power"]
TEXT = f"""\
# How often claims are wrong

Made by `{COMMAND}`.

Rows with a known truth are simulated and answered as those of an experiment are, {TRIALS:,} times. *False alarms*: how
often a claim is supported that is false, or refuted by a difference where there is none; it should be 5 %, and *at most*
is its one-sided 95 % limit. *Power*: how often a claim is supported that is true by {EFFECT}. *Answered*: trials in which
enough readings are there; the other shares are of these.

A value is the mean of its cell, an effect of the seed that rows of one base share (deviation {SEED}) and noise (deviation
{NOISE}). There are three tasks: in one of them seed and noise add at most {ROOM}, so that values crowd there, and in one
all values are at the score's bound, so that it is left out. {MISSING:.0%} of the readings are missing. The axis has
{len(DECAYS)} values; the effect of a trend or an inversion is the change over all of it. The margin is {MARGIN}.
"""
AFTER = """\
A bound that some rows reach and others do not turns what an optimizer does to all rows into an interaction, and no test
tells the two apart. Here two optimizers have no interaction but for the bound, near which one of two tasks lies:
"""


def page(trials: int = TRIALS) -> str:
    """The page."""
    lines = [_line(truth, seeds, trials) for truth in TRUTHS for seeds in SEEDS]
    cut = [_line(CUT, seeds, trials) for seeds in SEEDS]
    return "\n".join([TEXT, github(HEADS, lines), "", AFTER, github(HEADS, cut)])


if __name__ == "__main__":
    print(page())
