"""Relearning: a copy of a run trains half of the lost facts again, and savings measure the other half.

Shapes: K runs, N facts, T steps, B examples.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from synthbench.execution import relearning
from synthbench.execution.fleet_job import Job, Trained, run_fleet
from synthbench.execution.relearning import FACTS
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Run
from synthbench.scores import RunObservations
from synthbench.store.observations import from_bytes
from synthbench.trainer.loop import Data
from tests import tiny
from tests.each import each

SETTINGS = (
    "seeds=3", "model={ width = 32, layers = 1, head_width = 8 }", "stages.finetune.relearn=6",
    "stages.pretrain.steps=60", "stages.pretrain.lr=[1e-2]", "stages.pretrain.batch=32", "stages.finetune.steps=12",
    "stages.finetune.lr=[2e-2]", "stages.finetune.update=['full', 'lora-4']",
)  # fmt: skip


class Fleets:
    """An experiment with finished pretraining. A test chooses the fleets of its finetuning."""

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        self._experiment, self._folder = experiment, folder
        self._card = experiment.tasks["tiny-task"].card
        starts = Plan(experiment, {}).ready()
        self.pretrained = run_fleet(Job(starts, self._card, [None] * len(starts), folder, [1] * len(starts)), "cpu")
        self._parents = {parent.result.run: parent for parent in self.pretrained}
        self._trained: dict[tuple[str, ...], list[Trained]] = {}
        children = Plan(experiment, {run: parent.result for run, parent in self._parents.items()}).ready()
        self.full, self.lora = ([run for run in children if run.update == update] for update in ("full", "lora-4"))

    def trained(self, *runs: Run) -> list[Trained]:
        """These runs as one fleet, trained once for all tests."""
        key = tuple(run.id for run in runs)
        if key not in self._trained:
            self._trained[key] = self.train(*runs)
        return self._trained[key]

    def train(self, *runs: Run) -> list[Trained]:
        parent_weights = [self._parents[run.parent].weights if run.parent else None for run in runs]
        job = Job(list(runs), self._card, parent_weights, self._folder, [1] * len(runs))
        return run_fleet(job, "cpu")


@pytest.fixture(scope="module")
def fleets(tmp_path_factory: pytest.TempPathFactory) -> Fleets:
    folder = tmp_path_factory.mktemp("relearning")
    return Fleets(tiny.experiment(folder, *SETTINGS), folder)


def observations_of(trained: Trained) -> RunObservations:
    return from_bytes(trained.observations)


def lost(observations: RunObservations) -> np.ndarray:
    start, end = (point.sets[FACTS].correct_N for point in (observations.start, observations.end))
    return np.flatnonzero(start & ~end)


def test_pretraining_teaches_facts_and_finetuning_forgets_some(fleets: Fleets) -> None:
    """Every other test of this file needs lost facts."""
    for trained in fleets.trained(*fleets.full):
        observations = observations_of(trained)
        assert 0.5 < observations.start.sets[FACTS].exact_match < 1  # only learned facts can be lost
        assert len(lost(observations)) >= 4
        assert trained.result.status == "ok"


def test_only_lost_facts_are_relearned_and_the_halves_are_disjoint(
    fleets: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_data: list[Data] = []
    observed_sets: list[dict[str, object]] = []
    train, observer = relearning.train, relearning.Observer

    def recording_train(optimizer: object, data: Data, *rest: object) -> object:
        trained_data.append(data)
        return train(optimizer, data, *rest)  # type: ignore[arg-type]

    def recording_observer(fleet: object, sets: dict[str, object]) -> object:
        observed_sets.append(sets)
        return observer(fleet, sets)  # type: ignore[arg-type]

    monkeypatch.setattr(relearning, "train", recording_train)
    monkeypatch.setattr(relearning, "Observer", recording_observer)
    results = fleets.train(*fleets.full)
    (data,), (sets,) = trained_data, observed_sets
    for k, trained in enumerate(results):
        observations = observations_of(trained)
        facts = fleets._experiment.tasks["tiny-task"].draw("pretrain", fleets.full[k].seed)["fact"]
        lost_items = set(facts.train.item_N[lost(observations)].tolist())
        relearned_items = set(facts.train.item_N[np.unique(data.order_KTB[k])].tolist())
        other_items_N = sets["other"].examples[k].item_N  # type: ignore[attr-defined]
        count = len(observations.relearned.sets["other/after"].correct_N)
        other_items = set(other_items_N[:count].tolist())
        assert relearned_items | other_items == lost_items
        assert not relearned_items & other_items
        assert len(relearned_items) == len(lost_items) // 2
        assert len(other_items) == len(lost_items) - len(relearned_items) == count
        assert np.array_equal(data.tokens_KNL[k], facts.train.tokens_NL)
        control = sets["control"].examples[k]  # type: ignore[attr-defined]
        assert not set(control.item_N.tolist()) & set(facts.train.item_N.tolist())
        assert len(control) == len(observations.relearned.sets["control/after"].correct_N)
        # every step trains a batch of the relearned half; how often items are repeated differs by at most one
        counts = np.unique(data.order_KTB[k], return_counts=True)[1]
        assert data.order_KTB[k].shape == (6, relearning.BATCH)
        assert counts.max() - counts.min() <= 1


def test_savings_are_the_gain_of_the_other_half_less_that_of_the_control(fleets: Fleets) -> None:
    for trained in fleets.trained(*fleets.full):
        relearned = observations_of(trained).relearned
        assert not relearned.sets["other/before"].correct_N.any()
        gained = {name: relearned.sets[f"{name}/after"].exact_match - relearned.sets[f"{name}/before"].exact_match
                  for name in ("other", "control")}  # fmt: skip
        assert trained.result.scores["relearning_savings"] == gained["other"] - gained["control"]
        assert not np.array_equal(relearned.sets["other/before"].nll_N, relearned.sets["other/after"].nll_N)


@each("update", ["full", "lora"])
def test_relearning_savings_do_not_depend_on_the_fleet(fleets: Fleets, update: str) -> None:
    runs = getattr(fleets, update)
    together = fleets.trained(*runs)
    assert {"relearning_savings"} <= together[0].result.scores.keys()
    for run, in_fleet in zip(runs, together, strict=True):
        (alone,) = fleets.trained(run)
        assert alone.result.scores == in_fleet.result.scores
        assert alone.observations == in_fleet.observations
    for reordered, in_fleet in zip(fleets.trained(*runs[::-1]), together[::-1], strict=True):
        assert reordered.observations == in_fleet.observations


@each("update", ["full", "lora"])
def test_relearning_changes_no_other_result_of_a_run(fleets: Fleets, update: str) -> None:
    runs = getattr(fleets, update)
    relearned = fleets.trained(*runs)
    plain = fleets.trained(*(replace(run, relearn=0) for run in runs))
    for with_relearning, without in zip(relearned, plain, strict=True):
        assert with_relearning.weights is not None
        assert without.weights is not None
        assert with_relearning.weights.sha256 == without.weights.sha256
        assert with_relearning.curve == without.curve
        assert with_relearning.result.path == without.result.path
        scores = dict(with_relearning.result.scores)
        del scores["relearning_savings"]
        assert scores == without.result.scores
        assert not observations_of(without).relearned.sets
        assert observations_of(with_relearning).end.sets.keys() == observations_of(without).end.sets.keys()


def test_more_relearning_steps_restore_the_relearned_half(fleets: Fleets, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 100 steps the relearned half is known. It is evaluated in place of the other half."""
    halves = relearning._halves
    monkeypatch.setattr(relearning, "_halves", lambda run, observations: (halves(run, observations)[0],) * 2)
    (run, *_) = fleets.full
    (trained,) = fleets.train(replace(run, relearn=100))
    relearned = observations_of(trained).relearned
    assert relearned.sets["other/before"].exact_match == 0
    assert relearned.sets["other/after"].exact_match > 0.9


def test_the_first_stage_is_not_relearned(fleets: Fleets) -> None:
    for trained in fleets.pretrained:
        assert not observations_of(trained).relearned.sets
        assert "relearning_savings" not in trained.result.scores
    (start,) = Plan(fleets._experiment, {}).ready()[:1]
    (trained,) = fleets.trained(replace(start, relearn=6))
    assert "relearning_savings" not in trained.result.scores


@each("has_company", [False, True])
def test_a_run_that_lost_nothing_has_no_savings_in_any_fleet(fleets: Fleets, has_company: bool) -> None:
    """Its rate is too small to change an answer, also in a fleet with a run that loses many facts."""
    first, second, _ = fleets.full
    unchanged = replace(first, lr=1e-9)
    fleet = fleets.trained(*([second, unchanged] if has_company else [unchanged]))
    assert len(lost(observations_of(fleet[-1]))) == 0
    assert "relearning_savings" not in fleet[-1].result.scores
    assert not observations_of(fleet[-1]).relearned.sets
    assert ("relearning_savings" in fleet[0].result.scores) == has_company


def test_the_halves_depend_on_the_runs_seed_only(fleets: Fleets) -> None:
    (trained, *_) = fleets.trained(*fleets.full)
    observations, (run, *_) = observations_of(trained), fleets.full
    relearned_half, other_half = relearning._halves(run, observations)
    same_seed = [relearning._halves(replace(run, lr=0.5, update="lora-4"), observations)[0] for _ in range(2)]
    assert all(np.array_equal(relearned_half, half) for half in same_seed)
    halves = [sorted(relearning._halves(replace(run, seed=seed), observations)[0].tolist()) for seed in range(20)]
    assert len(set(map(tuple, halves))) > 10
    lost_facts = set(lost(observations).tolist())
    assert {fact for half in halves for fact in half} == lost_facts
    assert {*relearned_half.tolist(), *other_half.tolist()} == lost_facts
