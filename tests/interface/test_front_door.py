"""The console script: it answers, importing only what it needs; a run's outcomes as exit codes."""

from __future__ import annotations

import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from synthbench.cards import TaskCard, load
from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Result
from synthbench.generators import GENERATORS, Task
from synthbench.interface.cli import app
from synthbench.reporting.gallery import COLOURS, coloured, slices
from synthbench.store.results import Store
from tests import tiny
from tests.calling import Called, Caller

CHECKOUT = Path(__file__).resolve().parents[2]
LISTED = [f"ls {kind}" for kind in ("task", "runner", "optimizer", "score", "generator", "model")]


def python(*words: str, folder: Path = CHECKOUT) -> float:
    """Runs Python in a process of its own, in some folder; returns the processor time that it took."""
    start, environment = os.times(), {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return sum(os.times()[2:4]) - sum(start[2:4])


def test_every_command_has_help(call: Caller) -> None:
    for command in ["", *get_command(app).commands]:
        code, out, _ = call(f"{command} --help")
        assert code == 0, command
        assert "Usage" in out, command


def test_nothing_but_training_imports_torch_or_scipy() -> None:
    """One process: what one command imports, it has imported for those after it."""
    code = (
        "import sys\n"
        "from synthbench.interface.outcome import outcome\n"
        "for command in sys.argv[1:]:\n"
        "    sys.argv = ['synthbench', *command.split()]\n"
        "    assert outcome() == 0, command\n"
        "    assert not {'torch', 'scipy'} & set(sys.modules), command"
    )
    python("-c", code, "--help", *LISTED, "show task rote-vs-rule", "show optimizer muon", "run --dry-run")


def test_the_module_does_not_import_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise SystemExit('imported from the working directory')")
    python("-m", "synthbench", "ls", "model", folder=tmp_path)


def test_show_task_draws_examples_with_counts_entropy_chance_and_fingerprint(call: Caller) -> None:
    code, out, _ = call("show task rote-vs-rule")
    assert code == 0
    # of three syllables of 32: the chance, and the bits
    for said in ("owns", "past", Task(load(TaskCard, "rote-vs-rule")).fingerprint, "3.1e-05", " 15 "):
        assert said in out


def test_show_generator_explains_every_option(call: Caller) -> None:
    for name, generator in GENERATORS.items():
        code, out, _ = call(f"show generator {name}")
        assert code == 0, name
        assert [option for option in generator.options.model_fields if f"\n{option} " not in out] == [], name


def test_strips_are_coloured_by_slice() -> None:
    task = Task(load(TaskCard, "rote-vs-rule"))
    for part in slices(task):
        for strip in coloured(task, part):
            styled = [span for span in strip.spans if span.style == COLOURS[part.name]]
            assert strip.plain[styled[-1].start : styled[-1].end].strip() == "."
            assert len(styled) == task.language.name_length + 1


def test_a_dry_run_counts_runs_and_run_steps_and_writes_nothing(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps = "--set stages.pretrain.steps=10 --set stages.finetune.steps=30"
    code, out, _ = call(f"run --optimizer muon --seeds 2 {steps} --dry-run")
    assert code == 0
    assert re.search(r"pretrain: 2 runs, 20 .*finetune: 12 runs, 360 ", out, re.S)
    lines = out.splitlines()
    assert [line for line in lines if line.startswith("  muon, ")] == lines[1:2] + lines[3:5]
    assert not list(tmp_path.iterdir())


class Folder:
    """A folder of results, and a runner that trains a few steps of one optimizer at one rate for one seed."""

    def __init__(self, folder: Path, call: Caller) -> None:
        self.path, self._call = folder / "results", call
        self._runner = tiny.write(folder)

    def command(self, more: str = "") -> str:
        return f"run {self._runner} --seeds 1 --lr 1e-3 --jobs 1 --quiet --out {self.path} {more}"

    def run(self, more: str = "") -> Called:
        return self._call(self.command(more))

    def export(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._call(f"export --out {self.path}").out.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, call: Caller) -> Folder:
    return Folder(tmp_path, call)


def test_a_run_in_which_all_diverged_says_so_and_exits_3(folder: Folder) -> None:
    code, out, err = folder.run("--optimizer sgd --lr 1e30")
    assert code == 3
    assert "diverged" in out
    assert "1/1" in out
    assert "--lr" in err
    exported = folder.export()
    assert [one["status"] for one in exported] == ["ok", "diverged"]
    assert set(exported[1]["scores"].values()) == {None}


def test_the_same_command_again_trains_nothing(folder: Folder) -> None:
    first, before = folder.run("--lr 1e-3,2e-3"), folder.export()
    again = folder.run("--lr 1e-3,2e-3")
    assert (again.code, again.out) == (0, first.out)
    assert folder.export() == before  # which has when each run started


@pytest.mark.timed
def test_it_answers_soon(folder: Folder, measured: Callable[[str, float, float], None]) -> None:
    """Promised: help in half a second, lists in one, a run in which there is nothing to train in three."""
    assert folder.run().code == 0
    for command, bound in {"--help": 1.5, **dict.fromkeys(LISTED, 3.0), folder.command(): 6.0}.items():
        seconds = min(python("-m", "synthbench", *shlex.split(command)) for _ in range(3))
        measured(f"synthbench {command.partition(' /')[0]}", seconds, bound)


def test_fresh_adds_an_attempt_and_keeps_the_old_one(folder: Folder) -> None:
    assert folder.run().code == 0
    assert folder.run("--fresh").code == 0
    with closing(sqlite3.connect(folder.path / "results.db")) as rows:
        found = rows.execute("SELECT attempt, count(*) FROM runs GROUP BY attempt").fetchall()
    assert found == [(1, 2), (2, 2)]
    assert {one["attempt"] for one in folder.export()} == {2}


def test_more_seeds_train_only_what_is_missing_even_where_weights_were_not_kept(folder: Folder) -> None:
    assert folder.run("--keep-weights none").code == 0
    assert not list((folder.path / "weights").iterdir())
    before = folder.export()
    assert folder.run("--keep-weights none --seeds 2").code == 0
    after = folder.export()
    assert sorted((one["stage"], one["seed"]) for one in after) == [
        ("finetune", 0), ("finetune", 1), ("pretrain", 0), ("pretrain", 1),
    ]  # fmt: skip
    assert all(one in after for one in before)


def test_every_exported_run_has_every_key(folder: Folder, call: Caller) -> None:
    folder.run("--optimizer sgd --update lora-4")
    keys = (
        "run attempt parent status runner task task_version task_fingerprint model stage pretrain_optimizer optimizer "
        "fingerprint routing update lr weight_decay examples steps seed chosen edge fleet_size split scores path weights "
        "versions device started seconds"
    )
    lines = folder.export()
    assert all(one.keys() == set(keys.split()) for one in lines)
    as_json = json.loads(call(f"export --out {folder.path} --format json").out)
    assert as_json == lines
    assert [one["stage"] for one in as_json] == ["pretrain", "finetune"]
    assert as_json[1]["parent"] == as_json[0]["run"]
    assert [point["step"] for point in as_json[1]["path"]] == [0, 5, 10]
    heads = call(f"export --out {folder.path} --format csv").out.splitlines()[0].split(",")
    assert {"run", "lr", "rule_accuracy", "forgetting"} <= set(heads)


def test_an_interrupted_run_is_exported_with_the_same_keys_and_no_scores(folder: Folder) -> None:
    assert folder.run().code == 0
    other = Plan(resolve(RunRequest(optimizers=["sgd"], seeds=[5])), {}).ready()[0]
    with closing(Store.create(folder.path)) as store:
        name = store.experiments()[0].id
        cells = next(iter(store.members(name).values()))
        store.keep(other, Result(other.id, "interrupted"), [], None, member=(name, cells))
    exported = folder.export()
    assert [one["status"] for one in exported] == ["ok", "ok", "interrupted"]
    assert exported[2].keys() == exported[0].keys()
    assert set(exported[2]["scores"].values()) == {None}
