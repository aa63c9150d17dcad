"""Edited code and cards make new runs, an edited score is computed again from what was seen, and nothing else changes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from synthbench.experiment import identity
from synthbench.experiment.database import DATABASE
from synthbench.experiment.plan import forecast
from synthbench.experiment.store import Store
from tests.experiment import tiny
from tests.reliability import program
from tests.reliability.program import PATIENCE, ended, numbers, results, trained

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")
FRESH = ("stages.finetune.steps=200",)  # long enough to be interrupted
SCORE = ("learned.py", 'return exact_match(after, "new/fact/train")')
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from synthbench.cli import main; main()"


@dataclass(frozen=True)
class Copy:
    """A copy of the package that may be edited, a card, and results that it made of it."""

    root: Path
    card: Path
    out: Path

    @property
    def env(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.root)}

    def run(self, out: Path, *options: str, settings: tuple[str, ...] = ()) -> int:
        """Runs the card to its end; how many runs were trained."""
        with program.started(self.card, out, "--jobs", "1", *options, settings=settings, env=self.env) as process:
            return trained(ended(process)[1])

    def coming(self, out: Path, *options: str) -> dict[str, int]:
        """How many runs of each stage there are still to train."""
        said = self.say("run", str(self.card), "--dry-run", "--out", str(out), *options)
        return {stage: int(runs) for stage, runs in re.findall(r"^(\w+): (\d+) runs", said, re.MULTILINE)}

    def say(self, *words: str) -> str:
        """What the program says where it cannot train, for there is no torch."""
        found = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH, *words], capture_output=True, text=True, timeout=PATIENCE, check=False,
            env={**os.environ, **self.env}, cwd=self.out.parent,
        )  # fmt: skip
        assert found.returncode == 0, found.stderr
        return found.stdout

    def look(self, out: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What report and export say, for which the folder is opened for looking only."""
        report, export = (json.loads(self.say(word, "--format", "json", "--out", str(out))) for word in LOOKS)
        return report, export


LOOKS = ("report", "export")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    folder = tmp_path_factory.mktemp("stale")
    for name in ("synthbench", "tasks", "runners", "reports"):
        shutil.copytree(program.ROOT / name, folder / "root" / name, ignore=shutil.ignore_patterns("__pycache__"))
    made = Copy(folder / "root", tiny.write(folder), folder / "out")
    assert made.run(made.out) == 6
    return made


@pytest.fixture
def out(copy: Copy, tmp_path: Path) -> Path:
    """The results, copied."""
    return shutil.copytree(copy.out, tmp_path / "out")


@contextmanager
def edited(file: Path, old: str = "", new: str = "\n# edited\n") -> Iterator[None]:
    """A file with an edit, at its end where nothing is to be replaced."""
    before = file.read_text()
    assert old in before
    file.write_text(before.replace(old, new) if old else before + new)
    try:
        yield
    finally:
        file.write_text(before)


def rows(out: Path, attempt: int = 1) -> dict[str, list[tuple[object, ...]]]:
    """All that is kept of an attempt, byte for byte."""
    with closing(sqlite3.connect(out / DATABASE)) as db:
        return {
            table: sorted(db.execute(f"SELECT * FROM {table} WHERE attempt = ?", (attempt,)).fetchall(), key=repr)
            for table in ("runs", "scores", "curves", "observations", "weights")
        }


def test_files_that_are_touched_but_not_changed_change_nothing(copy: Copy, out: Path) -> None:
    before, kept = results(out), rows(out)
    for file in (*copy.root.rglob("*"), *copy.card.parent.glob("*.toml")):
        os.utime(file, (1, 1))
    copy.say("run", str(copy.card), "--out", str(out))
    assert results(out) == before
    assert rows(out) == kept


@pytest.mark.parametrize(
    "name", ["generators/facts.py", "trainer/rules/adamw.py", "trainer/loop.py", "experiment/observe.py"]
)
def test_edited_code_that_trains_or_looks_makes_every_run_new(copy: Copy, out: Path, name: str) -> None:
    with edited(copy.root / "synthbench" / name):
        assert copy.coming(out) == {"pretrain": 2, "finetune": 4}


def test_other_code_makes_no_new_runs(copy: Copy, out: Path) -> None:
    package = copy.root / "synthbench"
    with (
        edited(package / "cards" / "runner.py"),
        edited(package / "scores" / "learned.py"),
        edited(package / "commands.py"),
    ):
        assert copy.coming(out) == {"pretrain": 0, "finetune": 0}


def test_the_runs_that_edited_code_makes_stand_beside_the_old_ones(copy: Copy, out: Path) -> None:
    before, kept = results(out), rows(out)
    with edited(copy.root / "synthbench" / "trainer" / "loop.py"):
        assert copy.run(out) == 6
        assert len(copy.look(out)[1]) == 6
    after = results(out)
    assert len(after) == 12
    assert {run: after[run] for run in before} == before
    assert all(set(old) <= set(new) for old, new in zip(kept.values(), rows(out).values(), strict=True))
    news = [after[run] for run in after.keys() - before.keys()]
    assert sorted(sorted(new.scores.items()) for new in news) == sorted(
        sorted(x.scores.items()) for x in before.values()
    )
    copy.say("run", str(copy.card), "--out", str(out))  # the edit undone: the old ones are the experiment's again
    assert results(out) == after


def test_an_edited_task_makes_every_run_new_and_its_prose_none(copy: Copy, out: Path) -> None:
    task = copy.card.parent / "task.toml"
    with edited(task, "items = 24", "items = 20"):
        assert copy.coming(out) == {"pretrain": 2, "finetune": 4}
    with edited(task, "Does it work?", "Does it work at all?"):
        assert copy.coming(out) == {"pretrain": 0, "finetune": 0}


def test_an_edited_stage_makes_its_own_runs_new_and_shares_those_before_it(copy: Copy, out: Path) -> None:
    with edited(copy.card, "steps = 10", "steps = 11"):
        assert copy.coming(out) == {"pretrain": 0, "finetune": 4}
    with edited(copy.card, "steps = 12", "steps = 11"):
        assert copy.coming(out) == {"pretrain": 2, "finetune": 4}


def test_another_torch_makes_every_run_new_and_a_patch_of_it_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def planned(torch: str) -> set[str]:
        monkeypatch.setattr(identity, "installed", {"torch": torch}.__getitem__)
        return {run.id for run in forecast(tiny.experiment(tmp_path), {})}

    assert planned("2.13.0+cpu") == planned("2.13.7")
    assert not planned("2.13.0") & planned("2.14.0")


def test_an_edited_score_is_computed_again_from_what_was_seen_and_nothing_is_trained(copy: Copy, out: Path) -> None:
    """At the end and along the path; for a look before the next run as well as after it."""
    before, shown, kept = results(out), copy.look(out), rows(out)
    with edited(
        copy.root / "synthbench" / "scores" / SCORE[0], SCORE[1], SCORE[1].replace("return ", "return 1 + 2 * ")
    ):
        looked = copy.look(out)
        assert rows(out) == kept  # looking writes nothing
        copy.say("run", str(copy.card), "--out", str(out))
        assert copy.look(out) == looked
    assert looked[1] == [changed(run) for run in shown[1]]
    (row,) = looked[0]["rows"]
    ends = [run["scores"]["fact_recall"] for run in looked[1] if run["stage"] == "finetune" and run["chosen"]]
    assert row["fact_recall"] == round(fmean(ends), 4)
    assert row["fact_recall"] > shown[0]["rows"][0]["fact_recall"]
    assert copy.look(out) == shown  # the edit undone
    copy.say("run", str(copy.card), "--out", str(out))
    assert results(out) == before
    assert rows(out) == kept


def changed(run: Mapping[str, Any]) -> dict[str, Any]:
    """An exported run as the edited score makes it."""

    def edit(scores: dict[str, float | None]) -> dict[str, float | None]:
        return {name: 1 + 2 * value if name == "fact_recall" and value is not None else value
                for name, value in scores.items()}  # fmt: skip

    path = [point | {"scores": edit(point["scores"])} for point in run["path"]]
    return {**run, "scores": edit(run["scores"]), "path": path}


def test_where_what_was_seen_is_lost_or_damaged_an_edited_score_has_the_run_trained_again(
    copy: Copy, out: Path
) -> None:
    before = results(out)
    lost, damaged, *others = sorted(before)
    with closing(sqlite3.connect(out / DATABASE)) as db, db:
        db.execute("DELETE FROM observations WHERE run = ?", (lost,))
        of_another = "(SELECT content FROM observations WHERE run = ?)"
        db.execute(f"UPDATE observations SET content = {of_another} WHERE run = ?", (others[0], damaged))
    copy.say("run", str(copy.card), "--out", str(out))  # not needed yet
    assert results(out) == before
    shown = copy.look(out)[1]
    with edited(
        copy.root / "synthbench" / "scores" / SCORE[0], SCORE[1], SCORE[1].replace("return ", "return 1 + 2 * ")
    ):
        with pytest.raises(AssertionError, match="synthbench run"):
            copy.look(out)
        assert copy.run(out) == 2
        found = {run["run"]: run for run in copy.look(out)[1]}
    for run in map(changed, shown):
        assert {key: found[run["run"]][key] for key in ("scores", "path")} == {
            key: run[key] for key in ("scores", "path")
        }
    with closing(Store.read(out)) as store:
        assert [store.results()[run].started for run in others] == [before[run].started for run in others]
    assert numbers(results(out)) == numbers(before)  # the edit undone


def test_fresh_adds_attempts_and_keeps_the_old_ones_as_they_were(copy: Copy, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert copy.run(out, "--fleet-size", "1", settings=FRESH) == 6
    first, kept = results(out), rows(out)
    assert {result.attempt for result in first.values()} == {1}
    options = (copy.card, out, "--fresh", "--fleet-size", "1", "--jobs", "1")
    with program.started(*options, settings=FRESH, env=copy.env) as process:
        program.until(lambda: bool(rows(out, 2)["runs"]))
        os.killpg(process.pid, signal.SIGINT)
        ended(process, 130)
    assert rows(out) == kept
    interrupted = rows(out, 2)
    assert 1 <= len(interrupted["runs"]) < 6
    assert numbers(results(out)) == numbers(first)
    assert copy.run(out, "--fresh", settings=FRESH) == 6
    assert rows(out) == kept
    assert rows(out, 2) == interrupted
    third = results(out)
    assert {result.attempt for result in third.values()} == {3}
    assert numbers(third) == numbers(first)
    assert copy.coming(out, "--set", *FRESH) == {"pretrain": 0, "finetune": 0}
