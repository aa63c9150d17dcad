"""The store gives back what it was given, tells its own files from others, and never touches those."""

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
KEPT = WeightFile("weights-1.safetensors", 123, "abc")
CELL = Cell("t", "finetune", ("adamw",), "muon", "lora-4", 0.1)


def reopened(store: Store) -> dict[str, Result]:
    """The results as another process reads them."""
    with closing(Store.read(store.folder)) as found:
        return found.results()


def test_a_result_comes_back_as_it_was_kept_and_an_identity_as_the_hash_was_taken_of_it(store: Store) -> None:
    other = Result(OTHER.id, "diverged", path={0: {"fit": 0.0}})
    store.keep(RUN, RESULT, [1.0, 0.5], KEPT)
    store.keep(OTHER, other, [1.0], None)
    assert reopened(store) == {RUN.id: RESULT, OTHER.id: other}
    assert store.results([OTHER.id]).keys() == {OTHER.id}
    assert store.results(["no such run"]) == {}
    found = {run: fingerprint(identity) for run, identity in store.identities().items()}
    assert found == {RUN.id: RUN.id, OTHER.id: OTHER.id}


def test_a_negative_zero_is_kept_as_the_zero_that_sqlite_makes_of_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where scores are computed again: a look before they are stored must say the same as one after."""
    zeros = replace(RESULT, scores={"fit": -0.0}, path={0: {"fit": -0.0}})
    store.keep(RUN, zeros, [], KEPT, observations=b"")
    shown = repr(reopened(store))
    assert "-0.0" not in shown
    monkeypatch.setattr("synthbench.experiment.identity.source", lambda *places: "edited")
    monkeypatch.setattr("synthbench.store.results.from_bytes", lambda content: None)
    monkeypatch.setattr("synthbench.store.results.run_scores", lambda observations: (zeros.path, zeros.scores))
    assert repr(reopened(store)) == shown


def test_a_later_attempt_shadows_the_first_and_is_not_mixed_with_it(store: Store) -> None:
    second = Result(RUN.id, "ok", {"fit": 0.75}, {5: {"fit": 0.5}}, 2, versions={"torch": "2.13"})
    store.keep(RUN, second, [], None)
    store.keep(RUN, RESULT, [], KEPT)
    assert reopened(store) == {RUN.id: second}
    assert store.attempts() == {RUN.id: 2}


def test_an_interrupted_run_is_no_result_and_the_finished_one_replaces_it(store: Store) -> None:
    store.keep(RUN, Result(RUN.id, "interrupted"), [], None, member=("experiment", [CELL]))
    assert reopened(store) == {}
    assert [(run, attempt) for run, attempt, _ in store.interrupted("experiment")] == [(RUN.id, 1)]
    assert store.interrupted("another") == []
    store.keep(RUN, RESULT, [], KEPT)
    assert reopened(store) == {RUN.id: RESULT}
    assert store.interrupted("experiment") == []
    store.keep(RUN, Result(RUN.id, "interrupted", attempt=2), [], None)
    assert reopened(store) == {RUN.id: RESULT}


def test_an_experiments_runs_come_back_with_their_cells(store: Store) -> None:
    members = [(RUN.id, 1, CELL), (OTHER.id, 2, CELL._replace(base=())), (OTHER.id, 2, CELL)]
    for run in (RUN, OTHER):
        store.keep(run, replace(RESULT, run=run.id), [], None)
    store.enlist("experiment", members)
    assert store.members("experiment") == {RUN.id: [CELL], OTHER.id: [CELL._replace(base=()), CELL]}
    assert store.members("another") == {}
    store.keep(RUN, RESULT, [], None, member=("another", [CELL]))
    assert store.members("another") == {RUN.id: [CELL]}


def test_experiments_come_back_the_last_used_one_first(store: Store) -> None:
    for name in ("c", "a", "b", "a"):
        store.record(name, "card", "tasks", f"command {name}")
    store.record("c", "card", "tasks", "command c", finished=True)
    assert store.experiments() == [(name, "card", "tasks", f"command {name}", name == "c") for name in ("c", "a", "b")]


def test_dropping_weights_removes_the_file_and_the_rows_reference_and_nothing_else(store: Store) -> None:
    store.weights.mkdir()
    for name in ("weights-1.safetensors", "weights-2.safetensors"):
        (store.weights / name).write_bytes(b"weights")
    store.keep(RUN, RESULT, [], KEPT)
    other = WeightFile("weights-2.safetensors", 7, "")
    store.keep(OTHER, replace(RESULT, run=OTHER.id, weights=other.name), [], other)
    store.drop_weights([(RUN.id, 1)])
    assert [path.name for path in store.weights.iterdir()] == ["weights-2.safetensors"]
    assert reopened(store)[RUN.id] == replace(RESULT, weights=None)
    assert reopened(store)[OTHER.id].weights == "weights-2.safetensors"
    store.drop_weights([(RUN.id, 1)])  # again: nothing left to drop
    with closing(sqlite3.connect(store.folder / DATABASE)) as db:
        assert db.execute("SELECT run FROM weights").fetchall() == [(OTHER.id,)]


def test_weights_are_there_if_row_and_file_are_and_the_file_is_as_it_was_written(store: Store) -> None:
    kept = WeightFile(KEPT.name, 7, sha256(b"weights").hexdigest())
    store.keep(RUN, RESULT, [], kept)
    assert store.valid_weights(RESULT) is None
    store.weights.mkdir()
    file = store.weights / KEPT.name
    file.write_bytes(b"weights")
    assert store.valid_weights(RESULT) == kept
    assert store.valid_weights(replace(RESULT, run=OTHER.id)) is None
    for other in (b"weightz", b"weight", b"weights ", b""):
        file.write_bytes(other)
        assert store.valid_weights(RESULT) is None


def test_a_folder_is_made_with_its_parents_and_opened_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b c#?%"
    for _ in range(2):
        with closing(Store.create(folder)) as found:
            found.keep(RUN, RESULT, [], KEPT)
    with closing(Store.read(folder)) as found:
        assert found.results() == {RUN.id: RESULT}
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
def test_weights_are_kept_under_the_models_names_and_of_low_rank_updates_the_adapters_alone(
    tmp_path: Path, update: str
) -> None:
    experiment = tiny.experiment(tmp_path)
    task = experiment.tasks["tiny-task"]
    run = replace(Plan(experiment, {}).remaining()[0], update=update)
    layout = layouts.transformer(experiment.card.shape, task.language.vocabulary, task.language.length - 1)
    wanted = low_rank.adapters(layout, 4) if update == "lora-4" else layout
    fleet = fleet_setup.build(task, [run, replace(run, seed=1)], [None, None], tmp_path, torch.device("cpu"))
    kept = write_weights(tmp_path / update, run, 1, fleet.saved(1))
    path = tmp_path / update / kept.name
    assert [found.name for found in path.parent.iterdir()] == [kept.name]  # no temporary file is left
    assert (kept.size, kept.sha256) == (path.stat().st_size, sha256(path.read_bytes()).hexdigest())
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(wanted.parameters)
        for name, value in fleet.saved(1).items():
            assert torch.equal(file.get_tensor(name), value)
            assert tuple(value.shape) == wanted.parameters[name].shape


def test_attempts_of_a_run_are_kept_in_files_of_their_own(tmp_path: Path) -> None:
    weights = {"w": torch.zeros(2)}
    names = {write_weights(tmp_path, run, attempt, weights).name for run in (RUN, OTHER) for attempt in (1, 2)}
    assert len(names) == 4
