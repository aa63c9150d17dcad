"""What is published of a folder of results, each number beside the one that is recomputed from the export."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from math import nan
from typing import Any

from tests.recompute import scores
from tests.recompute.claims import NOT_MEASURED, answers
from tests.recompute.contrasts import Pairs, is_unfair, verdict
from tests.recompute.ledger import Ledger
from tests.recompute.published import compared
from tests.recompute.ranks import places
from tests.recompute.readings import marks, values
from tests.recompute.rows import Row, axis_label, is_like, rows_of
from tests.recompute.runs import Object, derived
from tests.recompute.statistics import holm

COLUMNS = {"size": "data_size"}  # what prints call a column whose name a data frame keeps for itself
BASE = {"base_facts": "fact_recall", "base_rule": "rule_accuracy", "base_loss": "validation_loss"}
Call = Callable[[Sequence[str]], str]  # arguments of the program -> its standard output


class Audit:
    """Of one runner in one folder. compares: whether every two optimizers, updates and values are compared, each two by a
    call of their own. answers: to the claims."""

    def __init__(self, call: Call, folder: str, runner: str, card: Object, *, compares: bool = True) -> None:
        self.ledger, self.answers = Ledger(), list[str]()
        self._call, self._folder, self._card = call, folder, card
        self._labels = [axis_label(axis) for axis in card.get("axes", [])]
        self._name = card["name"] if runner.endswith(".toml") else runner
        exported = [json.loads(line) for line in self._print("export", self._name, "--format", "jsonl").splitlines()]
        runs = {run["run"]: run for run in exported if run["status"] != "interrupted"}
        (self._rows, earlier), seeds = rows_of([*runs.values()], card), card["seeds"]
        self._seeds = [*range(seeds)] if isinstance(seeds, int) else seeds
        report = json.loads(self._print("report", self._name, "--format", "json"))
        reference = json.loads(self._print("report", self._name, "--format", "reference"))
        self._better = report["better"]
        self._of_runs(runs, earlier, reference["spent"])
        self._of_rows(reference["rows"])
        self._of_table([row for row in report["rows"] if not row["reference"]])
        if compares:
            self._of_comparisons()
        self._of_claims(report.get("claims", []))

    def _print(self, *arguments: str) -> str:
        return self._call([*arguments, "--out", self._folder])

    def _find(self, shown: Object) -> Row:
        update, axes = shown.get("update", shown.get("trainable")), shown.get("axes")
        if axes is None:
            shown_on = {label: shown[COLUMNS.get(label, label)] for label in self._labels}
            axes = {label: value for label, value in shown_on.items() if value is not None}
        base = shown["base"] if isinstance(shown["base"], str) else "/".join(shown["base"])
        names = shown["task"], base, shown["optimizer"], update, tuple(sorted(axes.items()))
        return next(row for row in self._rows if row.names == names)

    def _of_runs(self, runs: dict[str, Object], earlier: Sequence[Row], spent: Object) -> None:
        """Scores that follow from others; which runs are chosen; how many there are."""
        chosen_by = defaultdict[str, set[str]](set)
        for row in (*earlier, *self._rows):
            for run in row.chosen:
                chosen_by[run["run"]].add(row.label)
        for run in runs.values():
            for name, mine, theirs in derived(run, runs.get(run["parent"])) if run["status"] == "ok" else ():
                self.ledger.add("scores that follow from others", (run["run"], name), mine, theirs)
            if run["status"] == "ok":
                self.ledger.add("chosen runs", run["run"], chosen_by[run["run"]], {*run["chosen_by"]})
        steps = sum(run["path"][-1]["step"] for run in runs.values())
        self.ledger.each("runs and steps", "spent", {"runs": len(runs), "steps": steps}, spent)

    def _of_rows(self, published: Sequence[Object]) -> None:
        """Seed by seed: choices, scores at the end, readings."""
        by_seed = self.ledger.by_seed
        self.ledger.add("choices and counts", "rows", len(self._rows), len(published))
        for shown, row in [(shown, self._find(shown)) for shown in published]:
            before = row.before.chosen if row.before else []
            mine = {"lr": row.lr, "edge": row.edge, "edge_before": row.edge_before, "trials": row.trials,
                    "seeds": row.seeds, "runs": len(row.runs), "diverged": len(row.runs) - len(row.converged),
                    "device": row.device, "start_lr": row.before.lr if row.before else None, "size": row.size,
                    "weight_decay": min(row.weight_decay)}  # fmt: skip
            self.ledger.each("choices and counts", row.names, mine, shown)
            self.ledger.add(
                "decay times summed rate before", row.names, row.exposure(self._card), shown["start_exposure"]
            )
            for name, of_seed in shown["values"].items():
                kind = f"scores x@{name.partition('@')[2]}" if "@" in name else "scores at the end"
                by_seed(kind, (row.names, name), values(row, name), of_seed)
            for name, of_seed in shown["censored"].items():
                self.ledger.add(
                    "bounds", (row.names, name), {str(s): of for s, of in marks(row, name).items()}, of_seed
                )
            for name, of_step in shown["target_steps"].items():
                for step, of_seed in of_step.items():
                    by_seed("readings at target steps", (row.names, name, step), values(row, name, int(step)), of_seed)
            for name, of_seed in shown["start"].items():
                starts = {run["seed"]: run["scores"][name] for run in before if run["seed"] in row.seeds}
                by_seed("scores at the start", (row.names, name), starts, of_seed)
            for lr, of_name in shown["rates"].items():
                for name, of_seed in of_name.items():
                    runs = [run for run in row.converged if run["lr"] == float(lr) and run["scores"][name] is not None]
                    ends = {run["seed"]: run["scores"][name] for run in runs}
                    by_seed("scores at every rate", (row.names, lr, name), ends, of_seed)

    def _of_table(self, published: Sequence[Object]) -> None:
        """Means with intervals; ranks."""
        groups: dict[tuple[str, float], list[tuple[Object, Row]]] = defaultdict(list)
        for shown, row in [(shown, self._find(shown)) for shown in published]:
            groups[row.task, row.size].append((shown, row))
            for column, name in BASE.items():
                self.ledger.add("scores of the base", (row.names, column), row.base_mean(name), shown[column], 4)
            for name in self._better:
                self.ledger.each("means and intervals", row.names, scores.cell(row, name), shown, 4)
        name, is_ranked = self._card.get("rank", ""), any("rank_first" in shown for shown in published)
        for group in groups.values() if is_ranked else ():
            sign = 1 if self._better.get(name, "up") == "up" else -1
            found = places([row for _, row in group], name, sign, self._card, self._seeds)
            for (shown, row), place in zip(group, found, strict=True):
                mine = scores.difference(place.behind, name)
                self.ledger.each("ranks", row.names, {"rank_first": place.first, "rank_last": place.last}, shown)
                ends = {"behind": mine["difference"], "behind_low": mine["low"], "behind_high": mine["high"]}
                self.ledger.each("differences to the best row", row.names, ends, shown, 4)

    def _of_comparisons(self) -> None:
        """Every pair of optimizers, of updates, and of values of each axis."""
        known = ",".join(dict.fromkeys(row.name for row in self._rows))
        axes: list[tuple[str, list[str], Callable[[Row], Any]]] = [
            ("optimizer", [], lambda row: row.name),
            ("update", ["--optimizer", known], lambda row: row.update),
            *((label, ["--optimizer", known], partial(_on, label)) for label in self._labels),
        ]
        for axis, options, of in axes:
            apart = (axis, "base") if axis == "optimizer" else (axis,)
            for a, b in combinations(dict.fromkeys(value for row in self._rows if (value := of(row)) is not None), 2):
                sides = [[row for row in self._rows if of(row) == side] for side in (a, b)]
                pairs = [(row, other) for row in sides[0] if (other := _counterpart(row, sides[1], apart))]
                if pairs:
                    names = [f"{axis}={side}" if axis in self._labels else side for side in (a, b)]
                    printed = self._print("compare", *names, "--runner", self._name, "--format", "json", *options)
                    self._of_comparison(json.loads(printed)["rows"], pairs, axis)

    def _of_comparison(self, published: Sequence[Object], pairs: Pairs, axis: str) -> None:
        named = ["task", *({"optimizer", "trainable"} - {"trainable" if axis == "update" else axis})]
        named += [COLUMNS.get(label, label) for label in self._labels if label != axis]

        def key(of: Object, score: str) -> tuple[object, ...]:
            return *(of.get(column) for column in named), score

        shown_of = {key(x, x["score"]): x for x in published}
        judged = [(pair, name, verdict([pair], name, self._card)) for pair in pairs for name in self._better]
        for pair, name, of in judged:
            if of.kind != "too few seeds" and is_unfair(pair, name, self._card):
                of.kind = "not comparable"
        adjusted = iter(holm([of.p for *_, of in judged if of.is_test]))
        for (row, _), name, of in judged:
            axes = {COLUMNS.get(label, label): value for label, value in row.axes.items()}
            shown = shown_of[key({"task": row.task, "optimizer": row.name, "trainable": row.update} | axes, name)]
            sides = [[*side[0].values()] for side in of.found.sides]
            means = [scores.center(side, name) if all(sides) else nan for side in sides]
            mine = scores.difference(of.found, name)
            mine |= {"mean_a": means[0], "mean_b": means[1], "detectable": of.detectable}
            self.ledger.each("differences of two rows", (row.names, name), mine, shown, 4)
            p, p_holm = (of.p, next(adjusted)) if of.is_test else (None, None)
            self.ledger.each("p-values", (row.names, name), {"p": p, "p_holm": p_holm}, shown)
            mine = {"paired": of.found.paired, "margin": of.margin, "seeds_needed": of.seeds}
            self.ledger.each("pairing, margins, seeds needed", (row.names, name), mine, shown)

    def _of_claims(self, published: Sequence[Object]) -> None:
        found = answers(self._card, self._rows, self._seeds)
        self.answers = [answer.kind for answer in found]
        if not published:  # a report has no claims where none of them is measured
            self.ledger.add(
                "claims without an answer", "all", {answer.kind for answer in found} - {NOT_MEASURED}, set()
            )
            return
        for number, (shown, answer) in enumerate(zip(published, found, strict=True), 1):
            self.ledger.add("answers to claims", number, answer.kind, shown["answer"])
            for reading, of in zip(answer.readings, shown["readings"], strict=True):
                where = f"claim {number}", answer.claim.get("kind"), reading.name
                for kind, mine, theirs, digits in compared(reading, of):
                    self.ledger.add(kind, where, mine, theirs, digits)


def _on(label: str, row: Row) -> Any:
    return row.axes.get(label)


def _counterpart(row: Row, others: Sequence[Row], apart: Sequence[str]) -> Row | None:
    """The row like this one in all but this: that at the same place, or the only one."""
    alike = [other for other in others if is_like(row, other, apart)]
    exact = [other for other in alike if other.axes == row.axes]
    return exact[0] if exact else alike[0] if len(alike) == 1 else None
