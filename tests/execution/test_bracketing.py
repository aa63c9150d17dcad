"""The points between which fit first reaches a level have the larger sample, those of a run whatever its fleet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthbench.execution.fleet_job import Recorder
from synthbench.experiment.plan import Plan
from synthbench.scores import RunObservations
from synthbench.scores.learning import fit
from synthbench.store.observations import from_bytes
from tests import tiny
from tests.each import each
from tests.execution.test_fleet_job import train
from tests.experiment.test_run_identity import RUN
from tests.scores.example_observations import observed, point

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)
ASKED = "new/rule/test"
SMALL, LARGE = "+" * 2, "+" * 5
PATH = ("stages.finetune.steps=60", "stages.finetune.points=12", "stages.pretrain.steps=4", "optimizers=['adamw']")


class Steps:
    """In place of an observer: a fleet of which fit is given at steps 0, 10, 20, ... The buffer holds the step."""

    def __init__(self, fits_K: Sequence[Sequence[float]]) -> None:
        self.fleet = self
        self.flat_KP = torch.zeros(len(fits_K), 1)
        self.fits_TK = [*zip(*fits_K, strict=True)]

    def __len__(self) -> int:
        return len(self.flat_KP)

    def _points(self, text: str) -> list[Any]:
        fits_K = self.fits_TK[int(self.flat_KP[0, 0]) // 10]
        return [point({ASKED: observed(text)})._replace(moved={"fit": fit}) for fit in fits_K]

    def start(self, sample: int) -> list[Any]:
        return self._points(LARGE)

    def path(self, sample: int, bracket_sample: int) -> list[Any]:
        return self._points(SMALL)

    def end(self) -> list[Any]:
        return self._points("+" * 9)

    def rest(self, sample: int, bracket_sample: int, rows: Sequence[int], flat_KP: torch.Tensor) -> list[Any]:
        """Their losses are the step that the buffer is of."""
        more = observed("-" * 3)
        return [{ASKED: replace(more, nll_N=np.full(3, float(flat_KP[k, 0])))} for k in rows]

    def fit(self, point: Any, limit: int) -> float:
        return float(point.moved["fit"])


def recorded(*fits_K: Sequence[float], levels: tuple[float, ...] = LEVELS) -> list[RunObservations]:
    observer, run = Steps(fits_K), replace(RUN, steps=10 * (len(fits_K[0]) - 1), levels=levels)
    recorder = Recorder(observer, run)  # type: ignore[arg-type]
    for step in range(0, run.steps + 1, 10):
        observer.flat_KP.fill_(step)  # in place, as training does
        recorder(step)
    return [recorder.observations(k) for k in range(len(fits_K))]


@each(
    ("fits", "larger"),
    [
        ([0.0, 0.1, 0.4, 0.55, 0.58, 0.59, 0.2, 0.0], [20, 30]),  # one level, between steps 20 and 30
        ([0.0, 0.1, 0.4, 0.95, 0.95, 0.95, 0.95, 0.95], [20, 30]),  # all levels at once
        ([0.0, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6], [10]),  # the start has the larger sample anyway
        ([0.0, 0.55, 0.2, 0.55, 0.56, 0.57, 0.2, 0.9], [10, 60]),  # that .5 is reached again reads nothing
        ([0.0, 0.5, 0.52, 0.6, 0.6, 0.6, 0.6, 0.6], [10, 20, 30]),  # reached exactly
        ([0.0, 0.1, 0.1, 0.1, 0.2, 0.3, 0.3, 0.4], []),
        ([1.0] * 8, []),
    ],
)
def test_points_around_the_first_reach_of_a_level_have_the_larger_sample(fits: list[float], larger: list[int]) -> None:
    for run in recorded(fits, [0.0] * 8)[:1] + recorded([0.0] * 8, [1.0] * 8, fits)[2:]:
        assert [step for step, at in run.path.items() if len(at.sets[ASKED].nll_N) == len(LARGE)] == larger
        assert all(len(at.sets[ASKED].nll_N) in (len(SMALL), len(LARGE)) for at in run.path.values())
        for step in larger:  # of the weights of that step, the earlier one's too
            assert run.path[step].sets[ASKED].nll_N[2:].tolist() == [step] * 3


def test_without_levels_every_point_between_has_the_smaller_sample() -> None:
    (run,) = recorded([0.0, 0.5, 1.0, 1.0], levels=())
    assert [len(at.sets[ASKED].nll_N) for at in (run.start, *run.path.values(), run.end)] == [5, 2, 2, 9]


@each("update", ["full", "full-hidden", "lora-4"])
def test_the_larger_sample_is_what_an_evaluation_of_all_points_would_show(tmp_path: Path, update: str) -> None:
    """Alone, in a fleet, and with the larger sample at every point."""
    rates = f"stages.finetune.lr={[3e-3, 1e-2, 3e-2]}"
    experiment = tiny.experiment(tmp_path, *PATH, rates, f"stages.finetune.update=['{update}']", "seeds=1")
    starts = Plan(experiment, {}).ready()
    parents = {parent.result.run: parent for parent in train(experiment, starts, {}, tmp_path)}
    children = Plan(experiment, {run: parent.result for run, parent in parents.items()}).ready()
    runs = [replace(run, levels=(0.03, 0.06, 0.12, 0.5, 0.9)) for run in children]  # low ones: low ranks fit little
    fleet = train(experiment, runs, parents, tmp_path)
    everywhere = train(experiment, [replace(run, sample=16) for run in runs], parents, tmp_path)
    larger = 0
    for run, together, full in zip(runs, fleet, everywhere, strict=True):
        (alone,) = train(experiment, [run], parents, tmp_path)
        assert alone.observations == together.observations
        observations, of_all = from_bytes(together.observations), from_bytes(full.observations)
        assert together.result.path[60] == full.result.path[60]
        for step, at in observations.path.items():
            items, expected = at.sets[ASKED], of_all.path[step].sets[ASKED]
            assert len(expected.nll_N) == 16
            assert len(items.nll_N) in (8, 16)
            larger += len(items.nll_N) == 16
            assert len(at.sets["new/rule/train"].nll_N) == 16  # fit is always of as many
            assert len(at.sets["old/fact/train"].nll_N) == len(items.nll_N) == len(items.kl_N)
            assert items.nll_N == pytest.approx(expected.nll_N[: len(items.nll_N)], rel=1e-5)
            assert items.kl_N == pytest.approx(expected.kl_N[: len(items.kl_N)], rel=1e-3, abs=1e-6)
            assert together.result.path[step]["fit"] == full.result.path[step]["fit"] == fit(at, at)
    assert 0 < larger < 3 * len(from_bytes(fleet[0].observations).path)
