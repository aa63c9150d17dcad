"""Recomputes what the program publishes of a folder of results: `python -m tests.recompute FOLDER RUNNER`.

Its input is the export of every run and the runner's card. It shares no code with the package: the formulas are those
of the documentation, the numbers numpy's and scipy's. Runners have one or two stages. Rows of variants that share a base
are left out and counted, since the export does not say whose run is whose. A line for each kind of number says how many
were compared, and the largest deviation beyond the printed decimals; the exit code is 1 where one is above 1e-9.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise
from math import inf, isfinite, log, nan
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
from scipy import optimize, special, stats

Object = dict[str, Any]
Values = dict[int, float]  # by seed
Call = Callable[[Sequence[str]], str]  # arguments of the program -> its standard output
EXACT, LEVEL, ENOUGH, TIE, RESOLUTION, LEAST_SEEDS = 1e-9, 0.05, 0.8, 0.01, 1 / 1024, 3
FITS = (0.5, 0.6, 0.7, 0.8, 0.9)
SEEDS = np.arange(2, 1001)  # as many as are asked for
UNITS = {
    "loss_forgetting": "nats/token",
    "validation_loss": "nats/token",
    "kl_new": "nats/answer",
    "bits_per_param": "bits",
}
UNITS |= {"steps_to_rule": "steps", "examples_to_rule": "items", "dataset_bits_per_param": "bits"}
MARGINS = {"share": 0.05, "nats/token": 0.1, "nats/answer": 0.1}
SIGNED = {"forgetting": 1, "fact_forgetting": 1, "skill_forgetting": 1, "rote_gap": 2, "relearning_savings": 2}
RECALL = {"fact": "fact_recall", "rule": "rule_fit", "exception": "exception_recall", "noise": "noise_recall"}
HELD_OUT = {"fact": "fact_recall", "rule": "rule_accuracy", "exception": "exception_recall"}
FORGOTTEN = {"fact": "fact_forgetting", "rule": "skill_forgetting"}
UNMOVED = (
    "forgetting",
    "loss_forgetting",
    "overwritten",
    "lost",
    "kl_new",
    "update_norm.hidden",
    "update_norm.embedding",
)
NAMES = ("task", "base", "optimizer", "update", "weight_decay", "size")


def unit(name: str) -> str:
    score = name.partition("@")[0]
    return "ratio" if score.startswith("update_norm") else UNITS.get(score, "share")


def derived(run: Object, parent: Object | None) -> Iterator[tuple[str, float, float]]:
    """Scores of a run that follow from others: name, recomputed and published value, at every point and at the end."""
    end = {name: value for name, value in run["scores"].items() if value is not None}
    slices, path = [name for name, score in RECALL.items() if score in end], [point["scores"] for point in run["path"]]
    old = [name for name in FORGOTTEN if parent and FORGOTTEN[name] in end and name in parent["examples"]]
    for scores in (*path, end):
        yield "fit", fmean(scores[RECALL[name]] for name in slices), scores["fit"]
        yield "learning", fmean(scores[HELD_OUT[name]] for name in slices if name in HELD_OUT), scores["learning"]
        if old:
            yield "forgetting", fmean(scores[FORGOTTEN[name]] for name in old), scores["forgetting"]
        if "kept" in scores:
            yield "kept", 1 - scores["overwritten"] - scores["lost"], scores["kept"]
        if "rote_gap" in scores:  # the floors are those of whole sets, and stay
            floors = end["rote_gap"] - end["rule_fit"] + end["rule_accuracy"]
            yield "rote_gap", scores["rule_fit"] - scores["rule_accuracy"] + floors, scores["rote_gap"]
    for name in path[0].keys() & UNMOVED:
        yield f"{name} at step 0", 0.0, path[0][name]
    if old and parent:
        lost, known = [scores["forgetting"] for scores in path], fmean(parent["scores"][HELD_OUT[name]] for name in old)
        yield "forgetting_from_peak", lost[-1] - min(lost), end["forgetting_from_peak"]
        if known:
            yield "retention", 1 - end["forgetting"] / known, end["retention"]


def curve(run: Object, name: str) -> dict[int, float]:
    """A score by step."""
    return {point["step"]: point["scores"].get(name, nan) for point in run["path"]}


def along(run: Object, name: str, step: float) -> float:
    """A score at a step, linear between points; NaN beyond the end."""
    by_step = curve(run, name)
    return float(np.interp(step, [*by_step], [*by_step.values()], right=nan))


def crossing(by_step: dict[int, float], level: float) -> float:
    """The first step, linear between points, that reaches a level; 0 where none does."""
    for (before, low), (step, high) in pairwise([(-1, nan), *by_step.items()]):
        if not high < level:
            between = before + (step - before) * (level - low) / (high - low) if low == low else float(step)
            return between if high == high else 0.0
    return 0.0


def first_reaching(values: dict[int, float], level: float) -> tuple[float, str] | None:
    """The first key that reaches a level, linear in its logarithm, with a mark where it is only a bound."""
    points = sorted((key, value) for key, value in values.items() if key > 0 and value == value)
    if not points or points[0][1] >= level:
        return (float(points[0][0]), "<") if points else None
    for (before, low), (after, high) in pairwise(points):
        if high >= level:
            return float(np.exp(np.interp(level, [low, high], [log(before), log(after)]))), ""
    return float(points[-1][0]), ">"


class Row:
    """The runs of one optimizer and update over rates and seeds. before: the row of the stage before."""

    def __init__(self, card: Object, names: Sequence[Any], runs: Sequence[Object], before: Row | None) -> None:
        self.task, self.base, self.optimizer, self.update, self.weight_decay, self.size = self.names = tuple(names)
        self.reading, self.before, self.sizes = card["reading"], before, [self]
        started = {run["run"] for run in before.chosen} if before else {None}
        runs = [run for run in runs if run["parent"] in started]
        self.rates, seeds = sorted({run["lr"] for run in runs}), Counter(run["seed"] for run in runs)
        self.runs = [run for run in runs if seeds[run["seed"]] == len(self.rates)] or runs  # seeds that have every rate
        self.seeds = sorted({run["seed"] for run in self.runs})
        self.converged = [run for run in self.runs if run["status"] == "ok"]
        self.lr = self._choice()
        self.chosen: list[Object] = [run for run in self.converged if run["lr"] == self.lr]
        self.edge = len(self.rates) > 1 and self.lr in (self.rates[0], self.rates[-1])
        self.edge_before: bool = bool(before and (before.edge or before.edge_before))
        self.trials: list[int] = [*(before.trials if before else ()), len(self.rates)]
        self.device = " + ".join(sorted({run["device"] for run in self.runs}))
        self._known: dict[tuple[str, float], tuple[Values, dict[int, str]]] = {}
        self._crossed: dict[tuple[str, float], float] = {}

    def _mean(self, name: str, lr: float, of_diverged: float) -> float:
        runs = [run for run in self.runs if run["lr"] == lr]
        scores = [run["scores"][name] if run["status"] == "ok" else of_diverged for run in runs]
        return nan if None in scores else fmean(scores)

    def _choice(self) -> float | None:
        """The rate that learns most; within a tie the one that forgets least, has the lowest loss, is lowest."""
        learned = {lr: self._mean("validation_learning", lr, 0) for lr in sorted({run["lr"] for run in self.converged})}

        def order(lr: float) -> tuple[float, ...]:
            forgotten = [self._mean(name, lr, 1) for name in FORGOTTEN.values()]
            return (
                fmean([mean for mean in forgotten if mean == mean] or [0]),
                self._mean("validation_loss", lr, inf),
                lr,
            )

        return min((lr for lr in learned if learned[lr] >= max(learned.values()) - TIE), key=order, default=None)

    def values(self, name: str, target: float | None = None) -> Values:
        """A score at the end or a reading by seed; of what is only known to lie beyond, the bound."""
        return self._read(name, target)[0]

    def marks(self, name: str) -> dict[int, str]:
        return self._read(name, None)[1]

    def bounded(self, name: str, target: float | None = None) -> Values:
        """Values for differences: bounds are infinite."""
        ends, marks = {">": inf, "<": -inf}, self.marks(name)
        return {seed: ends.get(marks.get(seed, ""), value) for seed, value in self.values(name, target).items()}

    def _read(self, name: str, target: float | None) -> tuple[Values, dict[int, str]]:
        score, _, where = name.partition("@")
        key = name, target or self.reading["target_step"]
        if key not in self._known:
            self._known[key] = self._to_rule(score) if where == "t" else (self._values(score, where, key[1]), {})
        return self._known[key]

    def _values(self, score: str, where: str, target: float) -> Values:
        found = {run["seed"]: run["scores"][score] for run in self.chosen if run["scores"][score] is not None}
        if where in ("fit", "fits") and found:
            fits = FITS if where == "fits" else (self.reading["fit"],)
            found = {seed: self._between(seed, score, target * self.size, fits) for seed in self.seeds}
            found = found if sum(value == value for value in found.values()) >= ENOUGH * len(found) else {}
        elif where == "steps" and found:
            found = {run["seed"]: along(run, score, target * self.size) for run in self.chosen}
        return {seed: round(value, 6) for seed, value in sorted(found.items()) if value == value}

    def _crossing(self, run: Object, fit: float) -> float:
        if (key := (run["run"], fit)) not in self._crossed:
            self._crossed[key] = crossing(curve(run, self.reading.get("fit_of", "fit")), fit)
        return self._crossed[key]

    def _between(self, seed: int, score: str, target: float, fits: Sequence[float]) -> float:
        """A score where fits are reached, linear in log T between two rates, neighbours in T, around the target step."""
        runs = [run for run in self.converged if run["seed"] == seed]
        steps = [self._crossing(run, self.reading["fit"]) for run in runs]
        for (fast, first), (slow, second) in pairwise(sorted((T, index) for index, T in enumerate(steps) if T)):
            if fast <= target <= slow:
                share = log(target / fast) / log(slow / fast) if slow > fast else 0.0
                reached = [[self._crossing(runs[index], fit) for fit in fits] for index in (first, second)]
                low, high = (fmean(along(runs[index], score, T) if T else nan for T in reached[side])
                             for side, index in enumerate((first, second)))  # fmt: skip
                return low + share * (high - low) if share else low
        return nan

    def _to_rule(self, score: str) -> tuple[Values, dict[int, str]]:
        """Steps or items to the card's rule accuracy."""
        curves = {run["seed"]: curve(run, "rule_accuracy") for run in self.chosen if score == "steps_to_rule"}
        if score == "examples_to_rule" and len(self.sizes) > 1 and "rule" in self.runs[0]["examples"]:
            sizes = [(row.runs[0]["examples"]["rule"], row.values("rule_accuracy")) for row in self.sizes]
            curves = {seed: {items: values.get(seed, nan) for items, values in sizes} for seed in self.seeds}
        found = {seed: first_reaching(curves[seed], self.reading.get("rule", 0.5)) for seed in sorted(curves)}
        known = {seed: at for seed, at in found.items() if at}
        return {seed: at[0] for seed, at in known.items()}, {seed: at[1] for seed, at in known.items() if at[1]}


def rows_of(runs: Sequence[Object], card: Object) -> list[Row]:
    """The rows of the last stage, without those whose runs the export does not tell apart."""
    variants, stages = card.get("variants", {}), [stage["name"] for stage in card["stages"]]
    shared = {name: variant for name, variant in variants.items() if variant.get("base") != name}
    mixed = {other for name, v in shared.items() for other in (name, v["of"], v.get("base", v["of"]))}
    cells: dict[tuple[Any, ...], list[Object]] = defaultdict(list)
    for run in runs:
        first, stage, items = run["pretrain_optimizer"], stages.index(run["stage"]), sum(run["examples"].values())
        name = first if variants.get(first, {}).get("of", first) == run["optimizer"] else run["optimizer"]
        names = run["task"], first if stage else "", name, run["trainable"], run["weight_decay"]
        cells[stage, *names, items].append(run)
    rows: list[tuple[int, Row]] = []
    for (stage, task, *others, items), of_cell in sorted(cells.items(), key=lambda cell: cell[0][0]):
        totals = sorted({cell[-1] for cell in cells if cell[:2] == (stage, task)})
        size = float(sorted(card["stages"][stage].get("sizes", [1.0]))[totals.index(items)])
        parents = {run["parent"] for run in of_cell}  # whose task may be a family of tasks
        before = next((row for _, row in rows if parents & {run["run"] for run in row.runs}), None)
        rows.append((stage, Row(card, (task, *others, size), of_cell, before)))
    last = [
        row for stage, row in rows if stage == len(stages) - 1 and row.runs and not mixed & {row.optimizer, row.base}
    ]
    for row in last:
        row.sizes = [other for other in last if other.names[:-1] == row.names[:-1]]
    return last


def is_paired(row: Row, other: Row) -> bool:
    """Whether both start from the same models, or from none, and one same device measured them."""
    parents = [{run["seed"]: run["parent"] for run in side.runs} for side in (row, other)]
    same = all(parents[0][seed] == parents[1][seed] for seed in parents[0].keys() & parents[1].keys())
    return same and row.device == other.device and " + " not in row.device


Pairs = Sequence[tuple[Row, Row]]


class Contrast:
    """row - other over pairs of rows, one a task: paired by seed, or two samples (Welch)."""

    def __init__(self, pairs: Pairs, name: str, target: float | None = None) -> None:
        self.ranked, self.resolution = name.endswith("@t"), RESOLUTION if unit(name) == "share" else 0.0
        self.paired, self.mean, self.error, self.freedom = all(is_paired(*pair) for pair in pairs), nan, nan, nan
        self.sides = [[row.bounded(name, target) for row in side] for side in zip(*pairs, strict=True)]
        if self.paired:  # of the seeds that both have
            kept = [a.keys() & b.keys() for a, b in zip(*self.sides, strict=True)]
            self.sides = [[{s: row[s] for s in sorted(seeds)} for row, seeds in zip(side, kept, strict=True)]
                          for side in self.sides]  # fmt: skip
        both = [(a, b) for a, b in zip(*self.sides, strict=True)]
        self.samples = [[{s: _less(a[s], b[s]) for s in a} for a, b in both]] if self.paired else self.sides
        self.fewest = min(len(task) for sample in self.samples for task in sample)
        self.counts = [len({seed for task in sample for seed in task}) for sample in self.samples]
        self.n = min(self.counts)
        together = [(*x.values(), *([0.0] if self.paired else y.values())) for x, y in
                    zip(self.samples[0], self.samples[-1], strict=True)]  # fmt: skip
        self.nothing = all(len({*values}) < 2 for values in together)
        if self.ranked and self.fewest:
            lists = [[*task.values()] for task in self.samples[0]] if self.paired else [
                [_less(x, y) for x in a.values() for y in b.values()] for a, b in both]  # fmt: skip
            self.mean = sum(map(median, lists)) / len(lists)
        elif self.fewest:
            means = [fmean(fmean(task.values()) for task in sample) for sample in self.samples]
            self.mean = means[0] - sum(means[1:])
        if self.fewest > 1 and not self.ranked:
            self.error, self.freedom = map(float, self.spread(self.counts))

    def spread(self, counts: Sequence[Any]) -> tuple[Any, Any]:
        """Standard error, at least that of one item, and degrees of freedom (Welch). Seeds are clusters over tasks."""
        parts = []
        for sample, count in zip(self.samples, counts, strict=True):
            shares: dict[int, float] = defaultdict(float)
            for task in sample:
                for seed, value in task.items():
                    shares[seed] += (value - fmean(task.values())) / len(task) / len(sample)
            parts.append(len(shares) ** 2 / (len(shares) - 1) * sum(share**2 for share in shares.values()) / count)
        squares = sum(part**2 / (n - 1) for part, n in zip(parts, counts, strict=True))
        freedom = sum(parts) ** 2 / squares if np.all(squares) else sum(counts) - len(counts)
        return np.maximum(np.sqrt(sum(parts)), self.resolution / np.sqrt(np.minimum(counts[0], counts[-1]))), freedom

    def tail(self, distance: float) -> float:
        return float(stats.t.sf(distance / self.error, self.freedom)) if self.error else float(distance < 0)

    def interval(self) -> tuple[float, float]:
        half = float(stats.t.ppf(0.975, self.freedom)) * self.error
        return self.mean - half, self.mean + half

    def ranks(self) -> list[list[float]]:
        """Sums over tasks of each seed's ranks: signed, or less the middle rank."""
        sums: list[Values] = [defaultdict(float) for _ in self.samples]
        for task in zip(*self.samples, strict=True):
            moved = [value for side in task for value in side.values() if value or not self.paired]
            middle = 0.0 if self.paired else (len(moved) + 1) / 2
            order = iter(stats.rankdata(np.abs(moved) if self.paired else moved) - middle)
            for side, total in zip(task, sums, strict=True):
                for seed, value in side.items():
                    sign = np.sign(value) if self.paired else 1.0
                    total[seed] += sign * next(order) if sign else 0.0
        return [[total[seed] for seed in sorted(total)] for total in sums]

    def p(self) -> float:
        if self.fewest < 2 or self.nothing:
            return 1.0
        if not self.ranked:
            return 2 * self.tail(abs(self.mean))
        ranks = self.ranks()
        if len({x for side in ranks for x in side} | ({0.0} if self.paired else set())) < 2:
            return 1.0
        return float((stats.wilcoxon(*ranks) if self.paired else stats.mannwhitneyu(*ranks)).pvalue)

    def is_above(self) -> bool:
        means = [fmean(side) for side in self.ranks()] if self.ranked else [self.mean]
        return means[0] > sum(means[1:])

    def equivalence(self, margin: float) -> float:
        return self.tail(margin - abs(self.mean))

    def detectable(self) -> float:
        """The difference that a t test at 5 % finds with 80 % power."""
        least = stats.t.ppf(0.975, self.freedom)
        shift = optimize.brentq(
            lambda shift: special.nctdtr(self.freedom, shift, least) - 0.2, 0, 2 * least + 2, xtol=1e-12
        )
        return float(self.error * shift)

    def seeds(self, distances: Sequence[float], level: float) -> float:
        """Seeds of each row with which one-sided t tests over all distances pass with 80 % power."""
        error, freedom = self.spread([SEEDS] * len(self.samples))
        if min(distances) <= 0 or not np.all(error):
            return inf if min(distances) <= 0 else 2
        missed = sum(special.nctdtr(freedom, d / error, stats.t.ppf(level, freedom)) for d in distances)
        return float(next((n for n, share in zip(SEEDS, missed, strict=True) if 1 - share >= 0.8), inf))


def _less(value: float, other: float) -> float:
    return 0.0 if value == other else value - other  # two equal bounds do not differ


class Judged:
    """The verdict on a contrast. signs: of its mean at the target steps. seeds: what it would take, where inconclusive."""

    def __init__(self, found: Contrast, margin: float | None, signs: set[bool]) -> None:
        self.found, self.margin, self.p = found, None if found.ranked else margin, found.p()
        self.kind, self.seeds, self.detectable = "inconclusive", nan, inf
        self.low, self.high = found.interval()
        if found.fewest < LEAST_SEEDS:
            self.kind = "too few seeds"
            return
        self.detectable = inf if found.ranked else found.detectable()
        if found.nothing:
            self.kind = "identical"
        elif self.p < LEVEL if found.ranked else self.low > 0 or self.high < 0:
            self.kind = "depends on target step" if len(signs) > 1 else "higher" if found.is_above() else "lower"
        elif self.margin is not None and found.equivalence(self.margin) <= LEVEL:
            self.kind = "equal"
        elif not found.ranked:
            mean = abs(found.mean)
            sought = [([mean], 0.975)] + ([([self.margin - mean, self.margin + mean], 0.95)] if self.margin else [])
            self.seeds = max(min(found.seeds(*wanted) for wanted in sought), found.n + 1)

    @property
    def is_test(self) -> bool:
        return self.kind not in ("too few seeds", "not comparable")


def verdict(pairs: Pairs, name: str, card: Object) -> Judged:
    """The verdict on the mean over pairs, one a task."""
    reading, margin = card["reading"], {**MARGINS, **card.get("margins", {})}.get(unit(name))
    signs, own = set[bool](), {pair: Contrast([pair], name) for pair in pairs}
    for step in reading["target_steps"] if name.endswith(("@fit", "@fits")) else ():
        there = {pair: found for pair in pairs if (found := Contrast([pair], name, step)).n and own[pair].n}
        if there and not (len(pairs) == 1 and there[pairs[0]].nothing):  # of tasks without a reading the sign stays
            turns = (fmean(of[pair].mean for pair in there) > 0 for of in (own, there))
            here = fmean(found.mean for found in own.values() if found.n) > 0
            signs |= {here, here is (next(turns) is next(turns))}
    return Judged(Contrast(pairs, name), margin, signs)


def alike(trials: Sequence[int], others: Sequence[int], card: Object) -> bool:
    """Whether as many learning rates were tried in each stage; extended grids count as equal."""
    return all(abs(a - b) <= s.get("extend", 0) for a, b, s in zip(trials, others, card["stages"], strict=True))


def unfair(pair: tuple[Row, Row], name: str, card: Object) -> bool:
    is_read = name.endswith(("@fit", "@fits"))
    at_edge = any(row.edge_before or (row.edge and not is_read) for row in pair)
    return at_edge or not alike(pair[0].trials, pair[1].trials, card)


def is_incomplete(row: Row, name: str, seeds: Sequence[int]) -> bool:
    """Whether a row has too few of the card's seeds in a score: of a reading 80 %, at the end all."""
    known = row.values(name).keys()
    too_few = len(known) < max(LEAST_SEEDS, ENOUGH * len(seeds))
    return bool(set(seeds) - set(row.seeds)) or too_few or ("@" not in name and bool(set(seeds) - known))


def holm(p_values: Sequence[float]) -> list[float]:
    adjusted, least = list(p_values), 0.0
    for done, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        adjusted[index] = least = max(least, min(1.0, (len(p_values) - done) * p_values[index]))
    return adjusted


def places(rows: Sequence[Row], name: str, sign: int, card: Object, seeds: Sequence[int]) -> list[tuple[Any, ...]]:
    """Of rows of one task and size: first and last place that differences leave, and the best row less this one."""
    whole = [row for row in rows if not is_incomplete(row, name, seeds)]
    usual = Counter(tuple(row.trials) for row in whole).most_common(1)
    whole = [row for row in whole if alike(row.trials, usual[0][0], card)]
    pairs = [*combinations(whole, 2)]
    tests = [Contrast([pair], name) for pair in pairs]
    adjusted = holm([found.p() for found in tests])
    decided = [
        (pair, found.is_above() is (sign > 0))
        for pair, found, p in zip(pairs, tests, adjusted, strict=True)
        if p < LEVEL
    ]
    beaten = [pair if is_first else pair[::-1] for pair, is_first in decided]  # better, worse
    best = max(whole, key=lambda row: sign * fmean(row.values(name).values()), default=None)
    found: list[tuple[Any, ...]] = []
    for row in rows:
        first, last = (sum(row is pair[side] for pair in beaten) for side in (1, 0))
        behind = (
            Contrast([(best, row) if sign > 0 else (row, best)], name)
            if row in whole and best and row is not best
            else None
        )
        found.append((1 + first, len(whole) - last, behind) if row in whole else (None, None, None))
    return found


def answers(
    card: Object, rows: Sequence[Row], seeds: Sequence[int]
) -> list[tuple[str, float, Judged | None, dict[str, Any]]]:
    """By claim its answer, p-value, the verdict on the mean over tasks, and the rows compared by task."""
    found = []
    for claim in card.get("claims", []):
        name, pairs = claim["score"], dict[str, tuple[Row, Row]]()
        for task in claim.get("tasks") or dict.fromkeys(row.task for row in rows):
            meant = [
                row for side in ("rows", "than") for row in rows if row.task == task and _is_meant(row, claim[side])
            ]
            if len(meant) == 2 and not any(is_incomplete(row, name, seeds) for row in meant):
                same = len({value for row in meant for value in row.values(name).values()}) == 1
                if not same and not unfair((meant[0], meant[1]), name, card):
                    pairs[task] = meant[0], meant[1]
        pooled = verdict([*pairs.values()], name, card) if pairs else None
        p = pooled.p if pooled else 1.0
        if pooled and pooled.is_test and pooled.margin is not None and "equal" in (claim["expected"], pooled.kind):
            equivalence = pooled.found.equivalence(pooled.margin)
            pooled.kind, p = ("equal", equivalence) if equivalence <= LEVEL else (pooled.kind, p)
        found.append((claim, p, pooled, pairs))
    primary = [index for index, (claim, _, _, pairs) in enumerate(found) if claim.get("primary") and pairs]
    adjusted = dict(zip(primary, holm([found[index][1] for index in primary]), strict=True))
    finals = [adjusted.get(index, p) for index, (_, p, _, _) in enumerate(found)]
    return [(_answer(claim["expected"], pooled, p), p, pooled, pairs)
            for (claim, _, pooled, pairs), p in zip(found, finals, strict=True)]  # fmt: skip


def _is_meant(row: Row, wanted: Object) -> bool:
    return (row.optimizer, row.update, row.size) == (
        wanted["optimizer"],
        wanted.get("update", "full"),
        wanted.get("size", 1),
    )


def _answer(expected: str, pooled: Judged | None, p: float) -> str:
    if pooled is None or pooled.kind == "too few seeds":
        return "not measured"
    if pooled.kind in ("depends on target step", "inconclusive") or (p >= LEVEL and pooled.kind != "identical"):
        return pooled.kind if pooled.kind == "depends on target step" else "inconclusive"
    kind = "equal" if pooled.kind == "identical" else pooled.kind
    return "supported" if kind == expected else "no difference" if kind == "equal" else "opposite"


class Audit:
    """What is published of one folder, compared: by kind of number the count, the largest deviation and where one is."""

    def __init__(self, call: Call, folder: str, runner: str, card: Object) -> None:
        self.counts, self.largest, self.deviating = Counter[str](), defaultdict[str, float](float), dict[str, str]()
        self._call, self._folder, self._card = call, folder, card
        self._name = card["name"] if runner.endswith(".toml") else runner
        exported = [json.loads(line) for line in self._print("export", self._name, "--format", "jsonl").splitlines()]
        runs = {run["run"]: run for run in exported if run["status"] != "interrupted"}
        self._rows, seeds = rows_of([*runs.values()], card), card["seeds"]
        self._seeds = [*range(seeds)] if isinstance(seeds, int) else seeds
        report = json.loads(self._print("report", self._name, "--format", "json"))
        reference = json.loads(self._print("report", self._name, "--format", "reference"))
        self._better = report["better"]
        self.left_out = len(reference["rows"]) - len(self._rows)
        for run in runs.values():
            for name, mine, theirs in derived(run, runs.get(run["parent"])) if run["status"] == "ok" else ():
                self.add("scores that follow from others", (run["run"], name), mine, theirs)
        self.add("runs and steps", "runs", len(runs), reference["spent"]["runs"])
        self.add(
            "runs and steps",
            "steps",
            sum(run["path"][-1]["step"] for run in runs.values()),
            reference["spent"]["steps"],
        )
        self._seed_by_seed(reference["rows"])
        self._table([row for row in report["rows"] if not row["reference"]])
        self._comparisons()
        if not self.left_out:
            self._claims(report.get("claims", []))

    def _print(self, *arguments: str) -> str:
        return self._call([*arguments, "--out", self._folder])

    def add(self, kind: str, where: object, mine: Any, theirs: Any, digits: int | None = None) -> None:
        """digits: decimals to which the published number is rounded."""
        mine = None if isinstance(mine, float) and not isfinite(mine) else mine  # published as empty
        beyond = 0.0 if mine == theirs else inf
        if isinstance(mine, float) and isinstance(theirs, int | float):
            beyond = max(0.0, abs(mine - theirs) - (0.5001 * 10.0**-digits if digits else 0.0))
        self.counts[kind] += 1
        self.largest[kind] = max(self.largest[kind], beyond)
        if beyond > EXACT:
            self.deviating.setdefault(kind, f"{where}: recomputed {mine}, published {theirs}")

    def _each(self, kind: str, where: object, mine: Object, shown: Object, digits: int | None = None) -> None:
        for column, value in mine.items():
            self.add(kind, (where, column), value, shown[column], digits)

    def lines(self) -> Iterator[str]:
        for kind, count in self.counts.items():
            yield f"{kind}: {count} compared, largest deviation {self.largest[kind]:.1g}"
            yield from [f"  such as {self.deviating[kind]}"] if kind in self.deviating else []
        yield f"rows whose runs the export does not tell apart: {self.left_out}"

    def _by_seed(self, kind: str, where: object, mine: dict[int, Any], theirs: Object) -> None:
        for seed in sorted({*mine, *map(int, theirs)}):
            self.add(kind, (where, seed), mine.get(seed), theirs.get(str(seed)), 6)

    def _find(self, shown: Object) -> Row | None:
        update, size = shown.get("update", shown.get("trainable")), shown.get("size", shown.get("data_size"))
        base = shown["base"] if isinstance(shown["base"], str) else "/".join(shown["base"])
        names = shown["task"], base, shown["optimizer"], update, shown["weight_decay"], size
        return next((row for row in self._rows if row.names == names), None)

    def _seed_by_seed(self, published: Sequence[Object]) -> None:
        """Choices, scores at the end, readings."""
        for shown, row in [(shown, row) for shown in published if (row := self._find(shown))]:
            before = row.before.chosen if row.before else []
            mine = {"lr": row.lr, "edge": row.edge, "edge_before": row.edge_before, "trials": row.trials,
                    "seeds": row.seeds, "runs": len(row.runs), "diverged": len(row.runs) - len(row.converged),
                    "device": row.device, "start_lr": row.before.lr if row.before else None}  # fmt: skip
            self._each("choices and counts", row.names, mine, shown)
            for name, by_seed in shown["values"].items():
                kind = f"scores x@{name.partition('@')[2]}" if "@" in name else "scores at the end"
                self._by_seed(kind, (row.names, name), row.values(name), by_seed)
            for name, marks in shown["censored"].items():
                self.add("bounds", (row.names, name), {str(s): mark for s, mark in row.marks(name).items()}, marks)
            for name, of_step in shown["target_steps"].items():
                for step, by_seed in of_step.items():
                    values = row.values(name, int(step))
                    self._by_seed("readings at target steps", (row.names, name, step), values, by_seed)
            for name, by_seed in shown["start"].items():
                starts = {run["seed"]: run["scores"][name] for run in before if run["seed"] in row.seeds}
                self._by_seed("scores at the start", (row.names, name), starts, by_seed)
            for lr, scores in shown["rates"].items():
                for name, by_seed in scores.items():
                    runs = [run for run in row.converged if run["lr"] == float(lr) and run["scores"][name] is not None]
                    ends = {run["seed"]: run["scores"][name] for run in runs}
                    self._by_seed("scores at every rate", (row.names, lr, name), ends, by_seed)

    def _table(self, published: Sequence[Object]) -> None:
        """Means with intervals; ranks."""
        groups: dict[tuple[str, float], list[tuple[Object, Row]]] = defaultdict(list)
        for shown, row in [(shown, row) for shown in published if (row := self._find(shown))]:
            groups[row.task, row.size].append((shown, row))
            for name in self._better:
                self._each("means and intervals", row.names, _cell(row, name), shown, 4)
        name, is_ranked = self._card.get("rank", ""), any("rank_first" in shown for shown in published)
        for group in groups.values() if is_ranked and not self.left_out else ():
            sign = 1 if self._better.get(name, "up") == "up" else -1
            found = places([row for _, row in group], name, sign, self._card, self._seeds)
            for (shown, row), (first, last, behind) in zip(group, found, strict=True):
                mine = _difference(behind, name)
                self._each("ranks", row.names, {"rank_first": first, "rank_last": last}, shown)
                ends = {"behind": mine["difference"], "behind_low": mine["low"], "behind_high": mine["high"]}
                self._each("differences to the best row", row.names, ends, shown, 4)

    def _comparisons(self) -> None:
        """Every pair of optimizers, and of updates."""
        known = ",".join(dict.fromkeys(row.optimizer for row in self._rows))
        for axis, options in (("optimizer", []), ("update", ["--optimizer", known])):
            apart = (axis, "base") if axis == "optimizer" else (axis,)
            for a, b in combinations(dict.fromkeys(getattr(row, axis) for row in self._rows), 2):
                sides = [[row for row in self._rows if getattr(row, axis) == side] for side in (a, b)]
                pairs = [(row, other) for row in sides[0] for other in sides[1] if _is_like(row, other, apart)]
                if pairs:
                    printed = self._print("compare", a, b, "--runner", self._name, "--format", "json", *options)
                    other = "update" if axis == "optimizer" else "optimizer"
                    self._comparison(json.loads(printed)["rows"], pairs, other)

    def _comparison(self, published: Sequence[Object], pairs: Pairs, other: str) -> None:
        """other: what rows are called by beside task, size and decay."""
        key = {"update": "trainable"}.get(other, other)
        shown_of = {(x["task"], x[key], x["data_size"], x["weight_decay"], x["score"]): x for x in published}
        judged = [(pair, name, verdict([pair], name, self._card)) for pair in pairs for name in self._better]
        for pair, name, of in judged:
            of.kind = "not comparable" if of.kind != "too few seeds" and unfair(pair, name, self._card) else of.kind
        adjusted = iter(holm([of.p for *_, of in judged if of.is_test]))
        for (row, _), name, of in judged:
            shown = shown_of[row.task, getattr(row, other), row.size, row.weight_decay, name]
            sides = [[*side[0].values()] for side in of.found.sides]
            means = [_center(side, name) if all(sides) else nan for side in sides]
            mine = _difference(of.found, name) | {"mean_a": means[0], "mean_b": means[1], "detectable": of.detectable}
            self._each("differences of two rows", (row.names, name), mine, shown, 4)
            p, p_holm = (of.p, next(adjusted)) if of.is_test else (None, None)
            self._each("p-values", (row.names, name), {"p": p, "p_holm": p_holm}, shown)
            mine = {"paired": of.found.paired, "margin": of.margin, "seeds_needed": of.seeds}
            self._each("pairing, margins, seeds needed", (row.names, name), mine, shown)

    def _claims(self, published: Sequence[Object]) -> None:
        found = answers(self._card, self._rows, self._seeds)
        for number, (shown, (answer, p, pooled, pairs)) in enumerate(zip(published, found, strict=False), 1):
            self.add("answers to claims", number, answer, shown["answer"])
            self.add("answers to claims", number, pairs.keys(), shown["tasks"].keys())
            self.add("p-values", ("claim", number), p, shown["p"])
            contrasts = [(pooled.found if pooled else None, shown)]
            for task in pairs.keys() & shown["tasks"].keys():
                of = verdict([pairs[task]], shown["score"], self._card)
                self.add("answers to claims", (number, task), of.kind, shown["tasks"][task]["verdict"])
                contrasts.append((of.found, shown["tasks"][task]))
            contrasts += [(self._again(name, pairs, shown["score"]), of) for name, of in shown["again"].items()]
            for contrast, numbers in contrasts:
                self._each("differences of claims", number, _difference(contrast, shown["score"]), numbers, 4)
                self.add("differences of claims", number, not contrast or contrast.paired, numbers["paired"])

    def _again(self, name: str, pairs: dict[str, tuple[Row, Row]], score: str) -> Contrast:
        """A/A: the named optimizer's rows of a claim less those of its variant with another salt."""
        optimizer, _, update = name.partition(" ")
        salted = next(other for other, v in self._card["variants"].items() if v["of"] == optimizer and v.get("salt"))
        rows = [row for pair in pairs.values() for row in pair if row.optimizer == optimizer]
        others = [row for row in self._rows if row.optimizer == salted and update in ("", row.update)]
        apart = ("base", "optimizer")
        return Contrast([(row, other) for row in rows for other in others if _is_like(row, other, apart)], score)


def _is_like(row: Row, other: Row, apart: Sequence[str]) -> bool:
    """Whether two rows are the same in all but this."""
    return all(a == b for name, a, b in zip(NAMES, row.names, other.names, strict=True) if name not in apart)


def _within(name: str, low: float, high: float, *, of_difference: bool) -> tuple[float, float]:
    """An interval within the range of a score, or of its differences."""
    score = name.partition("@")[0]
    most = SIGNED.get(score, inf if unit(name) != "share" or score == "retention" else 1)
    least = -most if score in SIGNED or score == "loss_forgetting" else 0
    ends = (least - most, most - least) if of_difference else (least, most)
    return (max(low, ends[0]), min(high, ends[1])) if low == low else (nan, nan)


def _center(values: Sequence[float], name: str) -> float:
    return (median(values) if name.endswith("@t") else fmean(values)) if values else nan


def _cell(row: Row, name: str) -> Object:
    """A cell of the table: mean with its interval, or the median of what may be bounds."""
    values, marks, half = row.values(name), row.marks(name), nan
    ordered = sorted(values, key=lambda seed: (marks.get(seed) == ">", values[seed]))
    ends = [values[ordered[at]] for at in ((len(ordered) - 1) // 2, len(ordered) // 2)] if values else []
    mean = _center(ends if name.endswith("@t") else [*values.values()], name)
    if len(values) > 1 and not name.endswith("@t"):
        half = float(stats.t.ppf(0.975, len(values) - 1)) * stdev(values.values()) / len(values) ** 0.5
    low, high = _within(name, mean - half, mean + half, of_difference=False)
    return {name: mean, f"{name}_low": low, f"{name}_high": high, f"{name}_n": len(values) - len(marks)}


def _difference(contrast: Contrast | None, name: str) -> Object:
    low, high = _within(name, *contrast.interval(), of_difference=True) if contrast else (nan, nan)
    mean, n = (contrast.mean, contrast.n) if contrast else (nan, 0)
    return {"difference": mean, "low": low, "high": high, "n": n}


def main() -> int:
    folder, runner = sys.argv[1:]
    card = tomllib.loads(Path(runner if runner.endswith(".toml") else f"runners/{runner}.toml").read_text())

    def call(arguments: Sequence[str]) -> str:
        command = [sys.executable, "-m", "synthbench", *arguments]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout

    audit = Audit(call, folder, runner, card)
    print("\n".join(audit.lines()))
    return 1 if audit.deviating else 0


if __name__ == "__main__":
    sys.exit(main())
