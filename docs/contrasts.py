"""reports/contrasts.md: how often each kind of claim is supported where it is false, and where it is true, by simulation:
`python -m docs.contrasts > reports/contrasts.md`.

Rows are simulated with a known truth and answered as those of an experiment are. A value is the mean of its cell, an effect
of the seed that all rows of one base share, and noise of its own: normal with deviations of SEED and NOISE. There are three
tasks. In the second one a score has its bound less than two deviations above; in the third one it is at its bound. Of every
row a tenth of the readings is missing.
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

SEEDS, TRIALS = (8, 16), 2000
SEED, NOISE = 0.03, 0.03  # deviations, typical of rule accuracy and of forgetting at equal fit
EFFECT, MARGIN = 0.05, 0.05
MISSING = 0.1  # of the readings
BOUND = 1.0
MIDDLES = {"usual": 0.5, "near the bound": BOUND - 0.05, "at the bound": BOUND + 1}  # means by task
SCORE, OTHER = "rule_accuracy@fit", "unseen_accuracy@fit"
DECAYS = (0.05, 0.1, 0.2, 0.4)
BETTER = 0.2  # of bases along the axis


class Cell(NamedTuple):
    """A row's mean, less that of its task, by score; and the optimizers and axis value that name it."""

    optimizer: str
    base: str
    means: Mapping[str, float]
    decay: float = 0.0


class Truth(NamedTuple):
    """A claim, and the rows without and with what it says, the second with an effect of EFFECT."""

    name: str
    claim: Mapping[str, Any]
    false: Sequence[Cell]
    true: Sequence[Cell]
    is_directed: bool = False  # whether only support is a false alarm, else refutation, too


def matrix(interaction: float, optimizers: Sequence[str] = ("adamw", "muon")) -> list[Cell]:
    """Every base finetuned by every optimizer, each with an effect of its own; the matched ones with an interaction. Where
    all rows of a task are near the bound, the effects are the same for all: a bound turns main effects into an interaction."""
    effects = {name: 0.04 * index for index, name in enumerate(optimizers)}
    return [
        Cell(name, base, {SCORE: effects[name] - 2 * effects[base] + interaction * (name == base)})
        for base in optimizers for name in optimizers
    ]  # fmt: skip


def two(better: float, worse: float = 0.0, base: str = "") -> list[Cell]:
    """Muon, better than AdamW in the score and worse in the other one."""
    return [
        Cell("muon", base or "muon", {SCORE: better, OTHER: -worse}),
        Cell("adamw", base or "adamw", {SCORE: 0.0, OTHER: 0.0}),
    ]


def along(change: float, hump: float = 0.0) -> list[Cell]:
    """AdamW along the axis, with a straight change over it in its logarithm, and a hump that goes up and down again."""
    shapes = [(index / (len(DECAYS) - 1) - 0.5, float(0 < index < len(DECAYS) - 1)) for index in range(len(DECAYS))]
    return [
        Cell("adamw", "adamw", {SCORE: change * line + hump * middle}, decay)
        for decay, (line, middle) in zip(DECAYS, shapes, strict=True)
    ]


def pooled(difference: float) -> list[Cell]:
    return [cell._replace(decay=decay) for decay in DECAYS[:2] for cell in two(difference, base="adamw")]


PAIR = {"rows": {"optimizer": "muon"}, "than": {"optimizer": "adamw"}}
ON_ADAMW = {"rows": {"optimizer": "muon", "base": "adamw"}, "than": {"optimizer": "adamw", "base": "adamw"}}
POOLED = {side: {**rows, "axes": {"weight_decay": list(DECAYS[:2])}} for side, rows in ON_ADAMW.items()}
ALONG = {"rows": {"optimizer": "adamw"}, "axis": "weight_decay"}
DOMINANCE = {"kind": "dominates", "no_worse": OTHER, **ON_ADAMW}
HIGHER = {"expected": "higher"}
TRIO = ("adamw", "muon", "sgd")
TRUTHS = [
    Truth("difference, own bases", PAIR | HIGHER, two(0.0), two(EFFECT)),
    Truth("difference, one base", ON_ADAMW | HIGHER, two(0.0, base="adamw"), two(EFFECT, base="adamw")),
    Truth("difference, pooled over two values of an axis", POOLED | HIGHER, pooled(0.0), pooled(EFFECT)),
    Truth(
        "interaction of two optimizers",
        {"kind": "interaction", "matrix": {"optimizers": ["adamw", "muon"]}, **HIGHER}, matrix(0.0), matrix(EFFECT),
    ),
    Truth(
        "interaction of three optimizers", {"kind": "interaction", "matrix": {"optimizers": [*TRIO]}, **HIGHER},
        matrix(0.0, TRIO), matrix(EFFECT, TRIO),
    ),
    Truth("trend, else flat", {"kind": "trend", "scale": "log", **ALONG, **HIGHER}, along(0.0), along(EFFECT)),
    Truth(
        "trend beside a hump", {"kind": "trend", "scale": "log", **ALONG, **HIGHER}, along(0.0, EFFECT),
        along(EFFECT, EFFECT),
    ),
    Truth(
        "dominates; false: worse by the margin in the second score", DOMINANCE,
        two(2 * EFFECT, MARGIN, base="adamw"), two(EFFECT, base="adamw"), True,
    ),
    Truth(
        "dominates; false: no better in the first score", DOMINANCE, two(0.0, base="adamw"), two(EFFECT, base="adamw"),
    ),
    Truth(
        "inversion", {"kind": "inversion", "before": "learning", **ALONG}, along(0.0), along(-EFFECT),
    ),
]  # fmt: skip


@cache
def card(seeds: int) -> RunnerCard:
    """A card with a margin and so many seeds."""
    shipped = cards.load(RunnerCard, "quick")
    reading = shipped.reading.model_copy(update={"target_steps": [shipped.reading.target_step]})
    return shipped.model_copy(update={"seeds": seeds, "reading": reading, "margins": {"share": MARGIN}})


def rows(cells: Sequence[Cell], seeds: int, generator: np.random.Generator) -> list[Row]:
    """The rows of every task, drawn anew."""
    return [row for task in MIDDLES for row in _of_task(task, cells, seeds, generator)]


def _of_task(task: str, cells: Sequence[Cell], seeds: int, generator: np.random.Generator) -> list[Row]:
    bases = list(dict.fromkeys((cell.base, cell.decay) for cell in cells))
    shared = {base: generator.normal(0, SEED, (2, seeds)) for base in bases}
    before = {base: BETTER * index + generator.normal(0, SEED, seeds) for index, base in enumerate(bases)}
    drawn = []
    for cell in cells:
        values = {}
        for name, effect in zip((SCORE, OTHER), shared[cell.base, cell.decay], strict=True):
            mean = MIDDLES[task] + cell.means.get(name, 0.0) * (task == "usual" or len(bases) < 2)
            values[name] = np.minimum(BOUND, mean + effect + generator.normal(0, NOISE, seeds))
        drawn.append(_row(task, cell, values, before[cell.base, cell.decay], generator))
    return drawn


def _row(
    task: str, cell: Cell, values: Mapping[str, Any], before: Any, generator: np.random.Generator
) -> Row:  # fmt: skip
    every = {"rule_accuracy": dict(enumerate(map(float, values[SCORE])))}  # which says that the score has a meaning
    every["unseen_accuracy"] = every["rule_accuracy"]
    for name, drawn in values.items():
        is_read = generator.random(len(drawn)) >= MISSING
        every[name] = {seed: float(value) for seed, value in enumerate(drawn) if is_read[seed]}
    changes = {
        "task": task, "optimizer": cell.optimizer, "base": [cell.base], "weight_decay": cell.decay,
        "seeds": list(range(len(before))), "values": every, "start": {"learning": dict(enumerate(map(float, before)))},
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
    return Counter(answers(asked, rows(cells, seeds, generator))[0].kind for _ in range(trials))


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
    limit = float(beta.ppf(0.95, false + 1, measured - false))
    return Rates(measured, false / measured, limit, present["supported"] / measured_true)


def page(trials: int = TRIALS) -> str:
    """The page."""
    found = {(truth.name, seeds): rates(truth, seeds, trials) for truth in TRUTHS for seeds in SEEDS}
    lines = [
        [name, f"{seeds}", f"{one.measured / trials:.0%}", f"{one.false:.1%}", f"{one.limit:.1%}", f"{one.found:.0%}"]
        for (name, seeds), one in found.items()
    ]
    return "\n\n".join(["# How often claims are wrong", *TEXT, github(HEADS, lines), *AFTER])


HEADS = ["claim", "seeds", "answered", "false alarms", "at most", "power"]
TEXT = [
    "Made by `python -m docs.contrasts > reports/contrasts.md`.",
    f"Rows with a known truth are simulated and answered as those of an experiment are, {TRIALS:,} times: how often is a "
    "claim supported that is false, or refuted by a difference where there is none (*false alarms*, should be 5 %; *at most*: "
    f"the one-sided 95 % limit), and how often is it supported where there is an effect of {EFFECT} (*power*)? *Answered*: "
    "the trials in which enough readings were there.",
    f"Three tasks; in one of them all values are at the score's bound, in another one their mean is {BOUND - MIDDLES['near the bound']:g} "
    f"below it. A value is the mean of its cell, an effect of the seed that rows of one base share (deviation {SEED}) and "
    f"noise (deviation {NOISE}). {MISSING:.0%} of the readings are missing. The axis has {len(DECAYS)} values; the effect of "
    "a trend or an inversion is the change over all of it. Effects are those of the task away from the bound alone where "
    "bases differ, so that the mean over tasks has half of them.",
]
AFTER = []

if __name__ == "__main__":
    print(page())
