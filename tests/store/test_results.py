"""Results, members and weights round-trip through the store."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from synthbench.cards import fingerprint
from synthbench.common.errors import BadInput
from synthbench.execution import fleet_setup
from synthbench.experiment.plan import Plan
from synthbench.experiment.runs import Cell, Result
from synthbench.store.database import APPLICATION_ID, DATABASE, VERSION
from synthbench.store.results import Store
from synthbench.store.weights import WeightFile, write_weights
from synthbench.trainer import layout as layouts
from synthbench.trainer import low_rank
from tests import tiny
from tests.each import each
from tests.experiment.test_run_identity import RUN

OTHER = replace(RUN, seed=7)
RESULT = Result(
    RUN.id, "ok", {"fit": 1 / 3, "kl_new": 1e-17, "least": -5e-324, "most": 1.7976931348623157e308, "whole": 2.0**60},
    {0: {"fit": 0.0}, 10: {"fit": 0.1, "forgetting": -0.125}}, 1, "weights-1.safetensors", 4, 1.5,
    "2026-01-02T03:04:05+00:00", "a device", {"torch": "2.13", "python": "3.11"},
)  # fmt: skip
WEIGHTS = WeightFile("weights-1.safetensors", 123, "abc")
CELL = Cell("t", "finetune", ("adamw",), "muon", "lora-4", 0.1)


def reopened(store: Store) -> dict[str, Result]:
    """The results as another process reads them."""
    with closing(Store.read(store.folder)) as reader:
        return reader.results()


def test_results_and_identities_round_trip(store: Store) -> None:
    diverged = Result(OTHER.id, "diverged", path={0: {"fit": 0.0}})
    store.keep(RUN, RESULT, [1.0, 0.5], WEIGHTS)
    store.keep(OTHER, diverged, [1.0], None)
    assert reopened(store) == {RUN.id: RESULT, OTHER.id: diverged}
    assert store.results([OTHER.id]).keys() == {OTHER.id}
    assert store.results(["no such run"]) == {}
    run_ids = {run: fingerprint(identity) for run, identity in store.identities().items()}
    assert run_ids == {RUN.id: RUN.id, OTHER.id: OTHER.id}


def test_a_negative_zero_is_stored_as_zero(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite stores -0.0 as 0.0. Recomputed scores must read the same before and after they are stored."""

    zeros = replace(RESULT, scores={"fit": -0.0}, path={0: {"fit": -0.0}})
    store.keep(RUN, zeros, [], WEIGHTS, observations=b"")
    stored = repr(reopened(store))
    assert "-0.0" not in stored
    monkeypatch.setattr("synthbench.experiment.identity.source", lambda *paths: "edited")
    monkeypatch.setattr("synthbench.store.results.from_bytes", lambda content: None)
    monkeypatch.setattr("synthbench.store.results.run_scores", lambda observations: (zeros.path, zeros.scores))
    assert repr(reopened(store)) == stored


def test_a_later_attempt_replaces_the_first_and_is_not_mixed_with_it(store: Store) -> None:
    retried = Result(RUN.id, "ok", {"fit": 0.75}, {5: {"fit": 0.5}}, 2, versions={"torch": "2.13"})
    store.keep(RUN, retried, [], None)
    store.keep(RUN, RESULT, [], WEIGHTS)
    assert reopened(store) == {RUN.id: retried}
    assert store.attempts() == {RUN.id: 2}


def test_an_interrupted_run_is_no_result_and_the_finished_one_replaces_it(store: Store) -> None:
    store.keep(RUN, Result(RUN.id, "interrupted"), [], None, member=("experiment", [CELL]))
    assert reopened(store) == {}
    assert [(run, attempt) for run, attempt, _ in store.interrupted("experiment")] == [(RUN.id, 1)]
    assert store.interrupted("another") == []
    store.keep(RUN, RESULT, [], WEIGHTS)
    assert reopened(store) == {RUN.id: RESULT}
    assert store.interrupted("experiment") == []
    store.keep(RUN, Result(RUN.id, "interrupted", attempt=2), [], None)
    assert reopened(store) == {RUN.id: RESULT}


def test_members_come_back_with_their_cells(store: Store) -> None:
    members = [(RUN.id, 1, CELL), (OTHER.id, 2, CELL._replace(base=())), (OTHER.id, 2, CELL)]
    for run in (RUN, OTHER):
        store.keep(run, replace(RESULT, run=run.id), [], None)
    store.enlist("experiment", members)
    assert store.members("experiment") == {RUN.id: [CELL], OTHER.id: [CELL._replace(base=()), CELL]}
    assert store.members("another") == {}
    store.keep(RUN, RESULT, [], None, member=("another", [CELL]))
    assert store.members("another") == {RUN.id: [CELL]}


def test_experiments_are_listed_with_the_last_used_first(store: Store) -> None:
    for name in ("c", "a", "b", "a"):
        store.record(name, "card", "tasks", f"command {name}")
    store.record("c", "card", "tasks", "command c", finished=True)
    assert store.experiments() == [(name, "card", "tasks", f"command {name}", name == "c") for name in ("c", "a", "b")]


def test_drop_weights_removes_the_file_and_the_reference_and_nothing_else(store: Store) -> None:
    store.weights.mkdir()
    for name in ("weights-1.safetensors", "weights-2.safetensors"):
        (store.weights / name).write_bytes(b"weights")
    store.keep(RUN, RESULT, [], WEIGHTS)
    other_file = WeightFile("weights-2.safetensors", 7, "")
    store.keep(OTHER, replace(RESULT, run=OTHER.id, weights=other_file.name), [], other_file)
    store.drop_weights([(RUN.id, 1)])
    assert [path.name for path in store.weights.iterdir()] == ["weights-2.safetensors"]
    assert reopened(store)[RUN.id] == replace(RESULT, weights=None)
    assert reopened(store)[OTHER.id].weights == "weights-2.safetensors"
    store.drop_weights([(RUN.id, 1)])  # again: nothing left to drop
    with closing(sqlite3.connect(store.folder / DATABASE)) as db:
        assert db.execute("SELECT run FROM weights").fetchall() == [(OTHER.id,)]


def test_weights_are_valid_if_row_and_file_exist_and_the_file_is_unchanged(store: Store) -> None:
    record = WeightFile(WEIGHTS.name, 7, sha256(b"weights").hexdigest())
    store.keep(RUN, RESULT, [], record)
    assert store.valid_weights(RESULT) is None
    store.weights.mkdir()
    path = store.weights / WEIGHTS.name
    path.write_bytes(b"weights")
    assert store.valid_weights(RESULT) == record
    assert store.valid_weights(replace(RESULT, run=OTHER.id)) is None
    for damaged in (b"weightz", b"weight", b"weights ", b""):
        path.write_bytes(damaged)
        assert store.valid_weights(RESULT) is None


def test_a_folder_is_created_with_its_parents_and_reopened(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b c#?%"
    for _ in range(2):
        with closing(Store.create(folder)) as opened:
            opened.keep(RUN, RESULT, [], WEIGHTS)
    with closing(Store.read(folder)) as opened:
        assert opened.results() == {RUN.id: RESULT}
    with closing(sqlite3.connect(folder / DATABASE)) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BadInput, match=re.escape(str(tmp_path))):
            Store.create(tmp_path)
    finally:
        tmp_path.chmod(0o700)


@each("update", ["full", "full-hidden", "lora-4"])
def test_weights_are_saved_under_the_models_names_and_low_rank_updates_save_adapters_only(
    tmp_path: Path, update: str
) -> None:
    experiment = tiny.experiment(tmp_path)
    task = experiment.tasks["tiny-task"]
    run = replace(Plan(experiment, {}).remaining()[0], update=update)
    layout = layouts.transformer(experiment.card.shape, task.language.vocabulary, task.language.length - 1)
    expected = low_rank.adapters(layout, 4) if update == "lora-4" else layout
    fleet = fleet_setup.build(task, [run, replace(run, seed=1)], [None, None], tmp_path, torch.device("cpu"))
    record = write_weights(tmp_path / update, run, 1, fleet.saved(1))
    path = tmp_path / update / record.name
    assert [entry.name for entry in path.parent.iterdir()] == [record.name]  # no temporary file is left
    assert (record.size, record.sha256) == (path.stat().st_size, sha256(path.read_bytes()).hexdigest())
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(expected.parameters)
        for name, value in fleet.saved(1).items():
            assert torch.equal(file.get_tensor(name), value)
            assert tuple(value.shape) == expected.parameters[name].shape


def test_every_attempt_of_a_run_has_its_own_weight_file(tmp_path: Path) -> None:
    weights = {"w": torch.zeros(2)}
    names = {write_weights(tmp_path, run, attempt, weights).name for run in (RUN, OTHER) for attempt in (1, 2)}
    assert len(names) == 4
