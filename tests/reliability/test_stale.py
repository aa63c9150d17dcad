"""Edited code and cards make new runs, an edited score is computed again from what was seen, and nothing else changes."""

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
from tests.reliability.program import numbers, results, say

ALL = {"pretrain": 1, "finetune": 2}
# Looks with a package of its own, without torch; what it says as JSON.
LOOKING = """
import json, sys
sys.modules["torch"] = None
from tests.reliability.program import say
print(json.dumps([say(f"{look} --format json --out", sys.argv[1]) for look in ("report", "export")]))
"""


@dataclass(frozen=True)
class Copy:
    """A copy of the package that may be edited, by which this process tells code from other code; a card, and results."""

    package: Path
    card: Path
    out: Path

    def run(self, out: Path, *options: str) -> int:
        """Runs the card to its end; how many runs were trained."""
        before = len(rows(out)["runs"]) if out.exists() else 0
        said = say("run --quiet --jobs 1", str(self.card), "--out", str(out), *options)
        assert said.code == 0, said.err
        return len(rows(out)["runs"]) - before

    def coming(self, out: Path) -> Counter[str]:
        """How many runs of each stage there are still to train."""
        with closing(Store.create(out)) as store:
            return Counter(run.stage for run in Plan(resolve(RunRequest(str(self.card))), store.results()).remaining())

    def read(self, out: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What report and export say, for which the folder is opened for looking only."""
        found = [say(f"{look} --format json --out", str(out)) for look in ("report", "export")]
        assert [said.code for said in found] == [0, 0], found
        report, export = (json.loads(said.out) for said in found)
        return report, export


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    folder = tmp_path_factory.mktemp("stale")
    for name in ("synthbench", "tasks", "runners", "reports"):
        shutil.copytree(program.ROOT / name, folder / "root" / name, ignore=shutil.ignore_patterns("__pycache__"))
    made = Copy(folder / "root" / "synthbench", program.quick_card(folder), folder / "out")
    with patch.object(identity, "PACKAGE", made.package):
        identity.source.cache_clear()
        assert made.run(made.out) == 3
        yield made
    identity.source.cache_clear()


@pytest.fixture
def out(copy: Copy, tmp_path: Path) -> Path:
    return shutil.copytree(copy.out, tmp_path / "out")


@contextmanager
def edited(file: Path, old: str = "", new: str = "\nEDITED = 1\n") -> Iterator[None]:
    """A file with an edit, at its end where nothing is to be replaced."""
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
    """With another formula of a score, in its file and in this process."""
    old, score = 'return exact_match(after, "new/fact/train")', SCORES["fact_recall"]
    compute = score.compute
    assert compute
    other = score._replace(compute=lambda before, after: 1 + 2 * compute(before, after))
    with (
        edited(copy.package / "scores" / "learning.py", old, old.replace("return ", "return 1 + 2 * ")),
        patch.dict(SCORES, {"fact_recall": other}),
    ):
        yield


def rows(out: Path, attempt: int = 1) -> dict[str, list[tuple[object, ...]]]:
    """All that is kept of an attempt, byte for byte."""
    with closing(sqlite3.connect(out / DATABASE)) as db:
        return {
            table: sorted(db.execute(f"SELECT * FROM {table} WHERE attempt = ?", (attempt,)).fetchall(), key=repr)
            for table in ("runs", "scores", "curves", "observations", "weights")
        }


def test_files_that_are_touched_but_not_changed_change_nothing(copy: Copy, out: Path) -> None:
    before, kept = results(out), rows(out)
    for file in (*copy.package.rglob("*"), *copy.card.parent.glob("*.toml")):
        os.utime(file, (1, 1))
    identity.source.cache_clear()
    assert copy.run(out) == 0
    assert results(out) == before
    assert rows(out) == kept


def test_edited_code_that_trains_or_looks_makes_every_run_new_and_other_code_none(copy: Copy, out: Path) -> None:
    for name in ("generators/facts.py", "trainer/optimizers/adamw.py", "trainer/loop.py", "execution/observe.py"):
        with edited(copy.package / name):
            assert copy.coming(out) == ALL, name
    for name in ("cards/runner.py", "scores/learning.py", "interface/commands.py"):
        with edited(copy.package / name):
            assert copy.coming(out) == {}, name


def test_the_runs_that_edited_code_makes_stand_beside_the_old_ones(copy: Copy, out: Path) -> None:
    before, kept = results(out), rows(out)
    with edited(copy.package / "trainer" / "loop.py"):
        assert copy.run(out) == 3
        assert len(copy.read(out)[1]) == 3
    after = results(out)
    assert {run: after[run] for run in before} == before
    assert all(set(old) <= set(new) for old, new in zip(kept.values(), rows(out).values(), strict=True))
    news = [after[run] for run in after.keys() - before.keys()]
    scores = [sorted(sorted(one.scores.items()) for one in found) for found in (news, before.values())]
    assert scores[0] == scores[1]
    assert copy.run(out) == 0  # the edit undone: the old ones are the experiment's again
    assert results(out) == after


def test_an_edited_task_makes_every_run_new_and_its_prose_none(copy: Copy, out: Path) -> None:
    """And an edited stage its own runs and those after it."""
    task = copy.card.parent / "task.toml"
    for file, old, new, coming in (
        (task, "items = 24", "items = 20", ALL), (task, "Does it work?", "Does it work at all?", {}),
        (copy.card, "[1e-3, 2e-3]", "[3e-3, 4e-3]", {"finetune": 2}), (copy.card, "[1e-3]\n", "[3e-3]\n", ALL),
    ):  # fmt: skip
        with edited(file, old, new):
            assert copy.coming(out) == coming, new


def test_another_torch_makes_every_run_new_and_a_patch_of_it_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(torch: str) -> set[str]:
        monkeypatch.setattr(identity, "installed", {"torch": torch}.__getitem__)
        return {run.id for run in Plan(tiny.experiment(tmp_path), {}).remaining()}

    assert planned("2.13.0+cpu") == planned("2.13.7")
    assert not planned("2.13.0") & planned("2.14.0")


def test_an_edited_score_is_computed_again_from_what_was_seen_and_nothing_is_trained(copy: Copy, out: Path) -> None:
    """At the end and along the path; for a look before the next run as well as after it."""
    before, shown, kept = results(out), copy.read(out), rows(out)
    with edited_score(copy):
        looked = copy.read(out)
        assert rows(out) == kept  # looking writes nothing
        path = f"{copy.package.parent}{os.pathsep}{program.ROOT}"
        words = [sys.executable, "-P", "-c", LOOKING, str(out)]  # by the edited package itself
        told = subprocess.run(words, env=os.environ | {"PYTHONPATH": path}, capture_output=True, check=True).stdout
        assert [(code, json.loads(text)) for code, text, _ in json.loads(told)] == [(0, one) for one in looked]
        assert copy.run(out) == 0
        assert copy.read(out) == looked
    assert looked[1] == [changed(run) for run in shown[1]]
    (row,) = looked[0]["rows"]
    ends = [run["scores"]["fact_recall"] for run in looked[1] if run["stage"] == "finetune" and run["chosen"]]
    assert row["fact_recall"] == round(fmean(ends), 4)
    assert row["fact_recall"] > shown[0]["rows"][0]["fact_recall"]
    assert copy.read(out) == shown  # the edit undone
    assert copy.run(out) == 0
    assert results(out) == before
    assert rows(out) == kept


def changed(run: Mapping[str, Any]) -> dict[str, Any]:
    """An exported run as the edited score makes it."""

    def edit(scores: dict[str, float | None]) -> dict[str, float | None]:
        return {name: 1 + 2 * value if name == "fact_recall" and value is not None else value
                for name, value in scores.items()}  # fmt: skip

    path = [point | {"scores": edit(point["scores"])} for point in run["path"]]
    return {**run, "scores": edit(run["scores"]), "path": path}


def test_where_what_was_seen_is_lost_an_edited_score_has_the_run_trained_again(copy: Copy, out: Path) -> None:
    before = results(out)
    lost, damaged, other = sorted(before)
    with closing(sqlite3.connect(out / DATABASE)) as db, db:
        db.execute("DELETE FROM observations WHERE run = ?", (lost,))
        of_another = "(SELECT content FROM observations WHERE run = ?)"
        db.execute(f"UPDATE observations SET content = {of_another} WHERE run = ?", (other, damaged))
    assert copy.run(out) == 0  # not needed yet
    assert results(out) == before
    shown = copy.read(out)[1]
    with edited_score(copy):
        assert say("report --out", str(out)).code == 2
        assert copy.coming(out).total() == 2
        copy.run(out)
        found = {run["run"]: run for run in copy.read(out)[1]}
    for run in map(changed, shown):
        assert [found[run["run"]][key] for key in ("scores", "path")] == [run[key] for key in ("scores", "path")]
    with closing(Store.read(out)) as store:
        assert store.results()[other].started == before[other].started
    assert numbers(results(out)) == numbers(before)  # the edit undone


def test_fresh_adds_attempts_and_keeps_the_old_ones_as_they_were(copy: Copy, out: Path) -> None:
    first, kept = results(out), rows(out)
    assert {result.attempt for result in first.values()} == {1}
    with program.interrupted(signal.SIGINT, at=2):
        words = ("--out", str(out), "--fresh", "--fleet-size", "1", "--jobs", "1")
        assert say("run", str(copy.card), *words).code == 130
    assert rows(out) == kept
    interrupted = rows(out, 2)
    assert len(interrupted["runs"]) == 2
    assert numbers(results(out)) == numbers(first)
    assert copy.run(out, "--fresh") == 0  # of attempt 1
    assert rows(out) == kept
    assert rows(out, 2) == interrupted
    third = results(out)
    assert {result.attempt for result in third.values()} == {3}
    assert numbers(third) == numbers(first)
    assert copy.coming(out) == {}
