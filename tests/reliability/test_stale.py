"""Edited code and cards make new runs; an edited score is recomputed from observations; nothing else changes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any
from unittest.mock import patch

import pytest

from synthbench.experiment import identity
from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.scores.registry import SCORES
from synthbench.store.database import DATABASE
from synthbench.store.results import Store
from tests import tiny
from tests.reliability import program
from tests.reliability.program import invoke, numbers, results

ALL_RUNS = {"pretrain": 1, "finetune": 2}
# Reads a folder without torch and prints what the commands returned as JSON.
READ = """
import json, sys
sys.modules["torch"] = None
from tests.reliability.program import invoke
print(json.dumps([invoke(f"{name} --format json --out", sys.argv[1]) for name in ("report", "export")]))
"""


@dataclass(frozen=True)
class Copy:
    """A copy of the package that tests edit, and that this process fingerprints; a card, and its results."""

    package: Path
    card: Path
    out: Path

    def run(self, out: Path, *options: str) -> int:
        """Runs the card; returns the number of runs that were trained."""
        before = len(rows(out)["runs"]) if out.exists() else 0
        completed = invoke("run --quiet --jobs 1", str(self.card), "--out", str(out), *options)
        assert completed.code == 0, completed.err
        return len(rows(out)["runs"]) - before

    def remaining(self, out: Path) -> Counter[str]:
        """The number of runs of each stage that remain to be trained."""
        with closing(Store.create(out)) as store:
            return Counter(run.stage for run in Plan(resolve(RunRequest(str(self.card))), store.results()).remaining())

    def read(self, out: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The report and the export of a folder, which is opened for reading."""
        completed = [invoke(f"{name} --format json --out", str(out)) for name in ("report", "export")]
        assert [command.code for command in completed] == [0, 0], completed
        report, export = (json.loads(command.out) for command in completed)
        return report, export


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    folder = tmp_path_factory.mktemp("stale")
    for name in ("synthbench", "tasks", "runners", "reports"):
        shutil.copytree(program.ROOT / name, folder / "root" / name, ignore=shutil.ignore_patterns("__pycache__"))
    copied = Copy(folder / "root" / "synthbench", program.quick_card(folder), folder / "out")
    with patch.object(identity, "PACKAGE", copied.package):
        identity.source.cache_clear()
        assert copied.run(copied.out) == 3
        yield copied
    identity.source.cache_clear()


@pytest.fixture
def out(copy: Copy, tmp_path: Path) -> Path:
    return shutil.copytree(copy.out, tmp_path / "out")


@contextmanager
def edited(file: Path, old: str = "", new: str = "\nEDITED = 1\n") -> Iterator[None]:
    """Edits a file: replaces `old`, or appends `new` if `old` is empty."""
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new) if old else before + new)
    identity.source.cache_clear()
    try:
        yield
    finally:
        file.write_text(before)
        identity.source.cache_clear()


@contextmanager
def edited_score(copy: Copy) -> Iterator[None]:
    """Changes the formula of a score, in its file and in this process."""
    old = 'partial(recall, name="new/fact/train")'
    new = 'lambda before, after: 1 + 2 * recall(before, after, name="new/fact/train")'
    score = SCORES["fact_recall"]
    compute = score.compute
    assert compute
    changed_score = score._replace(compute=lambda before, after: 1 + 2 * compute(before, after))
    with (
        edited(copy.package / "scores" / "learning.py", old, new),
        patch.dict(SCORES, {"fact_recall": changed_score}),
    ):
        yield


def rows(out: Path, attempt: int = 1) -> dict[str, list[tuple[object, ...]]]:
    """All stored rows of an attempt."""
    with closing(sqlite3.connect(out / DATABASE)) as db:
        return {
            table: sorted(db.execute(f"SELECT * FROM {table} WHERE attempt = ?", (attempt,)).fetchall(), key=repr)
            for table in ("runs", "paths", "observations", "weights")
        }


def test_files_that_are_touched_but_not_changed_change_nothing(copy: Copy, out: Path) -> None:
    before, stored = results(out), rows(out)
    for file in (*copy.package.rglob("*"), *copy.card.parent.glob("*.toml")):
        os.utime(file, (1, 1))
    identity.source.cache_clear()
    assert copy.run(out) == 0
    assert results(out) == before
    assert rows(out) == stored


def test_edited_code_that_trains_or_observes_makes_every_run_new_and_other_code_none(copy: Copy, out: Path) -> None:
    for name in ("generators/facts.py", "trainer/optimizers/adamw.py", "trainer/loop.py", "execution/observe.py"):
        with edited(copy.package / name):
            assert copy.remaining(out) == ALL_RUNS, name
    for name in ("cards/runner.py", "scores/learning.py", "interface/commands.py"):
        with edited(copy.package / name):
            assert copy.remaining(out) == {}, name


def test_runs_of_edited_code_are_stored_beside_the_old_ones(copy: Copy, out: Path) -> None:
    before, stored = results(out), rows(out)
    with edited(copy.package / "trainer" / "loop.py"):
        assert copy.run(out) == 3
        assert len(copy.read(out)[1]) == 3
    after = results(out)
    assert {run: after[run] for run in before} == before
    assert all(set(old) <= set(new) for old, new in zip(stored.values(), rows(out).values(), strict=True))
    new_results = [after[run] for run in after.keys() - before.keys()]
    scores = [sorted(sorted(result.scores.items()) for result in group) for group in (new_results, before.values())]
    assert scores[0] == scores[1]
    assert copy.run(out) == 0  # the edit is undone: the experiment uses the old runs again
    assert results(out) == after


def test_an_edited_task_makes_every_run_new_and_its_prose_none(copy: Copy, out: Path) -> None:
    """An edited stage makes its own runs and those after it new."""
    task = copy.card.parent / "task.toml"
    for file, old, new, remaining in (
        (task, "items = 24", "items = 20", ALL_RUNS), (task, "Does it work?", "Does it work at all?", {}),
        (copy.card, "[1e-3, 2e-3]", "[3e-3, 4e-3]", {"finetune": 2}), (copy.card, "[1e-3]\n", "[3e-3]\n", ALL_RUNS),
    ):  # fmt: skip
        with edited(file, old, new):
            assert copy.remaining(out) == remaining, new


def test_another_torch_makes_every_run_new_and_a_patch_of_it_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(torch: str) -> set[str]:
        monkeypatch.setattr(identity, "installed", {"torch": torch}.__getitem__)
        return {run.id for run in Plan(tiny.experiment(tmp_path), {}).remaining()}

    assert planned("2.13.0+cpu") == planned("2.13.7")
    assert not planned("2.13.0") & planned("2.14.0")


def test_an_edited_score_is_recomputed_from_observations_and_nothing_is_trained(copy: Copy, out: Path) -> None:
    """It is recomputed at the end and along the path, before and after the next run."""
    before, shown, stored = results(out), copy.read(out), rows(out)
    with edited_score(copy):
        reread = copy.read(out)
        assert rows(out) == stored  # reading writes nothing
        path = f"{copy.package.parent}{os.pathsep}{program.ROOT}"
        arguments = [sys.executable, "-P", "-c", READ, str(out)]  # with the edited package
        output = subprocess.run(
            arguments, env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=True
        ).stdout
        assert [(code, json.loads(text)) for code, text, _ in json.loads(output)] == [(0, part) for part in reread]
        assert copy.run(out) == 0
        assert copy.read(out) == reread
    assert reread[1] == [changed(run) for run in shown[1]]
    (row,) = reread[0]["rows"]
    final_scores = [run["scores"]["fact_recall"] for run in reread[1] if run["stage"] == "finetune" and run["chosen"]]
    assert row["fact_recall"] == round(fmean(final_scores), 4)
    assert row["fact_recall"] > shown[0]["rows"][0]["fact_recall"]
    assert copy.read(out) == shown  # the edit is undone
    assert copy.run(out) == 0
    assert results(out) == before
    assert rows(out) == stored


def changed(run: Mapping[str, Any]) -> dict[str, Any]:
    """An exported run with the edited score."""

    def edit(scores: dict[str, float | None]) -> dict[str, float | None]:
        return {name: 1 + 2 * value if name == "fact_recall" and value is not None else value
                for name, value in scores.items()}  # fmt: skip

    path = [point | {"scores": edit(point["scores"])} for point in run["path"]]
    return {**run, "scores": edit(run["scores"]), "path": path}


def test_runs_without_observations_are_retrained_for_an_edited_score(copy: Copy, out: Path) -> None:
    before = results(out)
    missing, damaged, other = sorted(before)
    with closing(sqlite3.connect(out / DATABASE)) as db, db:
        db.execute("DELETE FROM observations WHERE run = ?", (missing,))
        other_content = "(SELECT content FROM observations WHERE run = ?)"
        db.execute(f"UPDATE observations SET content = {other_content} WHERE run = ?", (other, damaged))
    assert copy.run(out) == 0  # observations are not needed yet
    assert results(out) == before
    shown = copy.read(out)[1]
    with edited_score(copy):
        assert invoke("report --out", str(out)).code == 2
        assert copy.remaining(out).total() == 2
        copy.run(out)
        exported = {run["run"]: run for run in copy.read(out)[1]}
    for run in map(changed, shown):
        assert [exported[run["run"]][key] for key in ("scores", "path")] == [run[key] for key in ("scores", "path")]
    with closing(Store.read(out)) as store:
        assert store.results()[other].started == before[other].started
    assert numbers(results(out)) == numbers(before)  # the edit is undone


def test_fresh_adds_attempts_and_does_not_change_old_ones(copy: Copy, out: Path) -> None:
    first, stored = results(out), rows(out)
    assert {result.attempt for result in first.values()} == {1}
    with program.interrupted(signal.SIGINT, fleet_number=2):
        options = ("--out", str(out), "--fresh", "--fleet-size", "1", "--jobs", "1")
        assert invoke("run", str(copy.card), *options).code == 130
    assert rows(out) == stored
    interrupted = rows(out, 2)
    assert len(interrupted["runs"]) == 2
    assert numbers(results(out)) == numbers(first)
    assert copy.run(out, "--fresh") == 0  # no new run of attempt 1
    assert rows(out) == stored
    assert rows(out, 2) == interrupted
    third = results(out)
    assert {result.attempt for result in third.values()} == {3}
    assert numbers(third) == numbers(first)
    assert copy.remaining(out) == {}
