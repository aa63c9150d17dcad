"""Folders of results without training, of cards with axes and claims: scores are random, with effects of the optimizers and
of the axes, and follow from each other as those of trained models do."""

from __future__ import annotations

import zlib
from math import log2
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from synthbench.cards.base import fingerprint
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Result, Run
from tests import tiny
from tests.reporting import synthetic_results

STEPS = (0, 4, 8, 12, 16, 20, 24)
BEST, BEST_BEFORE = 1e-3, 1e-2  # the rates that learn most, of pretraining nearly always
ALONG = ("fact_recall", "rule_fit", "rule_accuracy", "fit", "learning")  # the path of pretraining
TRAINED: dict[str, Any] = {"fleet_size": 1, "seconds": 1.0, "started": "2026-01-01T00:00:00+00:00",
                           "versions": {"torch": "2"}}  # fmt: skip
DEVICES = ("a device", "another device")


class RandomScores:
    """Scores of runs by a number; equal runs have equal ones, whatever code and device would train them.

    lost: the share of runs of the last stage that diverge. devices: how many there are. coarse: whether scores have few
    values, so that some are equal.
    """

    def __init__(self, number: int, lost: float = 0.0, devices: int = 1, *, coarse: bool = False) -> None:
        self._number, self._lost, self._devices, self._coarse = number, lost, devices, coarse
        self._bases: dict[str, Run] = {}
        self._known: dict[str, dict[str, float]] = {}
        self._keys: dict[str | None, str] = {}

    def result(self, run: Run) -> Result:
        self._keys[run.id] = self._key(run)
        device = DEVICES[int(self._draw("device", run.optimizer.name, run.task).integers(self._devices))]
        if run.parent is None:
            self._bases[run.id], self._known[run.id] = run, self._of_base(run)
            path = {0: dict.fromkeys(ALONG, 0.0), run.steps: {name: self._known[run.id][name] for name in ALONG}}
            return Result(run.id, "ok", self._known[run.id], path, device=device, **TRAINED)
        if self._draw("lost", self._keys[run.id]).random() < self._lost:
            return Result(run.id, "diverged", {}, {0: {"fit": 0.0}, 4: {"fit": 0.0}}, device=device, **TRAINED)
        path = self._path(run)
        at_end = dict(path[STEPS[-1]])
        lost = [scores["forgetting"] for scores in path.values()]
        rate = abs(log2(run.lr / BEST))
        known = fmean(self._known[run.parent][name] for name in ("fact_recall", "rule_accuracy"))
        at_end |= {
            "forgetting_from_peak": lost[-1] - min(lost), "retention": 1 - at_end["forgetting"] / known,
            "validation_learning": 0.6 - 0.1 * rate, "validation_loss": 1 + rate,
        }  # fmt: skip
        return Result(run.id, "ok", at_end, path, device=device, **TRAINED)

    def _key(self, run: Run) -> str:
        """What a run is, but for its environment."""
        own = run.identity | {"optimizer": run.optimizer.name, "environment": None}
        return fingerprint(own | {"parent": self._keys.get(run.parent)})

    def _draw(self, *parts: object) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(repr((self._number, *parts)).encode()))

    def _effect(self, *parts: object) -> float:
        """The same for equal parts: what all seeds have in common."""
        return float(self._draw(*parts).normal())

    def _share(self, value: float) -> float:
        value = min(1.0, max(0.0, value))
        return round(value * 8) / 8 if self._coarse else value

    def _of_base(self, run: Run) -> dict[str, float]:
        draw, effect = self._draw(self._keys[run.id]), self._effect(run.optimizer.name, run.weight_decay)
        facts, rule = (self._share(middle + 0.05 * effect + 0.05 * draw.normal()) for middle in (0.8, 0.7))
        scores = {"fact_recall": facts, "rule_fit": rule, "rule_accuracy": rule, "fit": (facts + rule) / 2}
        loss = round(1 + 0.2 * effect + 0.1 * draw.normal(), 1 if self._coarse else 6)
        of_rate = self._effect("rate", run.weight_decay, run.salt, run.lr)
        tuned = 0.5 - 0.1 * abs(log2(run.lr / BEST_BEFORE)) + 0.04 * of_rate
        return scores | {"learning": scores["fit"], "validation_learning": tuned, "validation_loss": loss}

    def _path(self, run: Run) -> dict[int, dict[str, float]]:
        base, draw = self._bases[str(run.parent)], self._draw(self._keys[run.id])
        of_cell = "cell", run.task, run.optimizer.name, base.optimizer.name, run.update
        of_place = "place", base.weight_decay, run.optimizer.name
        common, noise = self._draw("seed", run.seed, base.optimizer.name).normal(size=3), draw.normal(size=4)
        levels = [
            float(
                middle + 0.04 * self._effect(index, *of_cell) + 0.06 * self._effect(index, *of_place)
                + 0.03 * common[index] + 0.03 * noise[index]
            ) for index, middle in enumerate((0.6, 0.3, 0.2))
        ]  # fmt: skip
        speed = float(
            np.clip(4 * run.lr / BEST * np.exp(0.1 * noise[3]), 1, 20)
        )  # at half of it a fit of .5 at step 12
        return {step: self._point(min(1.0, step * speed / 50), step / STEPS[-1], levels) for step in STEPS}

    def _point(self, fit: float, progress: float, levels: list[float]) -> dict[str, float]:
        rule, facts_lost, rule_lost = levels[0] * progress, levels[1] * progress, levels[2] * progress
        recall, accuracy, facts_lost, rule_lost = map(self._share, (fit, rule, facts_lost, rule_lost))
        return {
            "fact_recall": recall, "rule_fit": recall, "fit": recall, "rule_accuracy": accuracy,
            "learning": (recall + accuracy) / 2, "rote_gap": recall - accuracy, "fact_forgetting": facts_lost,
            "skill_forgetting": rule_lost, "forgetting": (facts_lost + rule_lost) / 2, "kl_new": 5 * sum(levels) * progress,
        }  # fmt: skip


def write(folder: Path, card: str, scores: RandomScores) -> Path:
    """Writes cards and results; returns the path of the runner's card. card: with TASK and OTHER for two tasks."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "other.toml").write_text(tiny.TASK.replace("tiny-task", "other-task"))
    path = tiny.write(folder, card.replace("OTHER", repr(str(folder / "other.toml"))))
    experiment = resolve(RunRequest(str(path), device="cpu"))
    synthetic_results.fill(folder / "results", experiment, scores.result, f"synthbench run {path}")
    return path
