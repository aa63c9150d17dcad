"""Relearning: half of the lost facts is trained again on a copy, and what comes back of the other half is a run's own.

Shapes: K runs, N facts, T steps, B examples, P floats in a run's row.
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
    """An experiment whose pretraining is done, and its finetuning in whatever fleets a test wants."""

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        self._experiment, self._folder = experiment, folder
        self._card = experiment.tasks["tiny-task"].card
        starts = Plan(experiment, {}).ready()
        found = run_fleet(Job(starts, self._card, [None] * len(starts), folder, [1] * len(starts)), "cpu")
        self._parents = {one.result.run: one for one in found}
        self.starts = found
        self._known: dict[tuple[str, ...], list[Trained]] = {}
        children = Plan(experiment, {run: one.result for run, one in self._parents.items()}).ready()
        self.full, self.lora = ([run for run in children if run.update == update] for update in ("full", "lora-4"))

    def trained(self, *runs: Run) -> list[Trained]:
        """These runs as one fleet, which is trained once for all tests."""
        key = tuple(run.id for run in runs)
        if key not in self._known:
            self._known[key] = self.anew(*runs)
        return self._known[key]

    def anew(self, *runs: Run) -> list[Trained]:
        kept = [self._parents[run.parent].weights if run.parent else None for run in runs]
        job = Job(list(runs), self._card, kept, self._folder, [1] * len(runs))
        return run_fleet(job, "cpu")


@pytest.fixture(scope="module")
def fleets(tmp_path_factory: pytest.TempPathFactory) -> Fleets:
    folder = tmp_path_factory.mktemp("relearning")
    return Fleets(tiny.experiment(folder, *SETTINGS), folder)


def seen(trained: Trained) -> RunObservations:
    return from_bytes(trained.observations)


def lost(found: RunObservations) -> np.ndarray:
    start, end = (look.sets[FACTS].correct_N for look in (found.start, found.end))
    return np.flatnonzero(start & ~end)


def test_pretraining_teaches_facts_and_finetuning_destroys_some(fleets: Fleets) -> None:
    """Or the rest of this file would test nothing."""
    for trained in fleets.trained(*fleets.full):
        found = seen(trained)
        assert 0.5 < found.start.sets[FACTS].exact_match < 1  # what was never known cannot be lost
        assert len(lost(found)) >= 4
        assert trained.result.status == "ok"


def test_only_lost_facts_are_relearned_and_the_halves_share_none(
    fleets: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Data] = []
    asked: list[dict[str, object]] = []
    train, observer = relearning.train, relearning.Observer

    def noted_train(optimizer: object, data: Data, *rest: object) -> object:
        given.append(data)
        return train(optimizer, data, *rest)  # type: ignore[arg-type]

    def noted_observer(fleet: object, sets: dict[str, object]) -> object:
        asked.append(sets)
        return observer(fleet, sets)  # type: ignore[arg-type]

    monkeypatch.setattr(relearning, "train", noted_train)
    monkeypatch.setattr(relearning, "Observer", noted_observer)
    every = fleets.anew(*fleets.full)
    (data,), (sets,) = given, asked
    for k, trained in enumerate(every):
        found = seen(trained)
        facts = fleets._experiment.tasks["tiny-task"].draw("pretrain", fleets.full[k].seed)["fact"]
        missing = set(facts.train.item_N[lost(found)].tolist())
        shown = set(facts.train.item_N[np.unique(data.order_KTB[k])].tolist())
        others_N = sets["other"].examples[k].item_N  # type: ignore[attr-defined]
        count = len(found.relearned.sets["other/after"].correct_N)
        others = set(others_N[:count].tolist())
        assert shown | others == missing
        assert not shown & others
        assert (len(shown), len(others)) == (len(missing) // 2, len(missing) - len(missing) // 2)
        assert len(others) == count
        assert np.array_equal(data.tokens_KNL[k], facts.train.tokens_NL)
        control = sets["control"].examples[k]  # type: ignore[attr-defined]
        assert not set(control.item_N.tolist()) & set(facts.train.item_N.tolist())
        assert len(control) == len(found.relearned.sets["control/after"].correct_N)
        # every step shows a batch of the relearned half, each as often as the others give or take one
        counts = np.unique(data.order_KTB[k], return_counts=True)[1]
        assert data.order_KTB[k].shape == (6, relearning.BATCH)
        assert counts.max() - counts.min() <= 1


def test_the_other_half_was_wrong_before_relearning_and_some_of_it_may_return(fleets: Fleets) -> None:
    for trained in fleets.trained(*fleets.full):
        relearned = seen(trained).relearned
        assert not relearned.sets["other/before"].correct_N.any()
        gained = {name: relearned.sets[f"{name}/after"].exact_match - relearned.sets[f"{name}/before"].exact_match
                  for name in ("other", "control")}  # fmt: skip
        assert trained.result.scores["relearning_savings"] == gained["other"] - gained["control"]
        assert not np.array_equal(relearned.sets["other/before"].nll_N, relearned.sets["other/after"].nll_N)


@each("update", ["full", "lora"])
def test_the_numbers_of_a_relearned_run_do_not_depend_on_its_fleet(fleets: Fleets, update: str) -> None:
    runs = getattr(fleets, update)
    together = fleets.trained(*runs)
    assert {"relearning_savings"} <= together[0].result.scores.keys()
    for run, other in zip(runs, together, strict=True):
        (alone,) = fleets.trained(run)
        assert alone.result.scores == other.result.scores
        assert alone.observations == other.observations
    for one, other in zip(fleets.trained(*runs[::-1]), together[::-1], strict=True):  # another place
        assert one.observations == other.observations


@each("update", ["full", "lora"])
def test_relearning_changes_nothing_else_of_a_run(fleets: Fleets, update: str) -> None:
    runs = getattr(fleets, update)
    on = fleets.trained(*runs)
    off = fleets.trained(*(replace(run, relearn=0) for run in runs))
    for one, other in zip(on, off, strict=True):
        assert one.weights is not None
        assert other.weights is not None
        assert one.weights.sha256 == other.weights.sha256
        assert one.curve == other.curve
        assert one.result.path == other.result.path
        scores = dict(one.result.scores)
        del scores["relearning_savings"]
        assert scores == other.result.scores
        assert not seen(other).relearned.sets
        assert seen(one)._replace(relearned=seen(other).relearned).end.sets.keys() == seen(other).end.sets.keys()


def test_more_steps_of_relearning_bring_the_relearned_half_back(
    fleets: Fleets, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is trained is what it says: in 100 steps the relearned half is known, asked in place of the other half."""
    halves = relearning._halves
    monkeypatch.setattr(relearning, "_halves", lambda run, found: (halves(run, found)[0],) * 2)
    (run, *_) = fleets.full
    (trained,) = fleets.anew(replace(run, relearn=100))
    relearned = seen(trained).relearned
    assert relearned.sets["other/before"].exact_match == 0
    assert relearned.sets["other/after"].exact_match > 0.9


def test_a_stage_without_stages_before_it_is_not_relearned(fleets: Fleets) -> None:
    for trained in fleets.starts:
        assert not seen(trained).relearned.sets
        assert "relearning_savings" not in trained.result.scores
    (start,) = Plan(fleets._experiment, {}).ready()[:1]
    (trained,) = fleets.trained(replace(start, relearn=6))
    assert "relearning_savings" not in trained.result.scores


@each("company", [False, True])
def test_a_run_that_lost_nothing_has_no_savings_whatever_its_fleet_lost(fleets: Fleets, company: bool) -> None:
    """A rate too small to change an answer; in a fleet with a run that loses much."""
    first, second, _ = fleets.full
    still = replace(first, lr=1e-9)
    found = fleets.trained(*([second, still] if company else [still]))
    assert len(lost(seen(found[-1]))) == 0
    assert "relearning_savings" not in found[-1].result.scores
    assert not seen(found[-1]).relearned.sets
    assert ("relearning_savings" in found[0].result.scores) == company


def test_the_halves_are_random_but_the_runs_seeds_alone(fleets: Fleets) -> None:
    (trained, *_) = fleets.trained(*fleets.full)
    found, (run, *_) = seen(trained), fleets.full
    again, other = relearning._halves(run, found)
    same = [relearning._halves(replace(run, lr=0.5, update="lora-4"), found)[0] for _ in range(2)]
    assert all(np.array_equal(again, half) for half in same)
    many = [sorted(relearning._halves(replace(run, seed=seed), found)[0].tolist()) for seed in range(20)]
    assert len(set(map(tuple, many))) > 10
    assert {item for half in many for item in half} == set(lost(found).tolist()) == {*again.tolist(), *other.tolist()}
