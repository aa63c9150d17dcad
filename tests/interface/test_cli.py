"""The console script: imports, output, exit codes and exports."""

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
from synthbench.store.results import DATABASE, Store
from tests import tiny
from tests.calling import Caller, Completed

CHECKOUT = Path(__file__).resolve().parents[2]
LISTED = [f"ls {kind}" for kind in ("task", "runner", "optimizer", "score", "generator", "model")]


def run_python(*words: str, folder: Path = CHECKOUT) -> float:
    """Runs Python in a new process in a folder; returns its processor time in seconds."""
    start, environment = os.times(), {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    process = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, check=False)
    assert process.returncode == 0, process.stderr
    return sum(os.times()[2:4]) - sum(start[2:4])


def test_every_command_has_help(call: Caller) -> None:
    for command in ["", *get_command(app).commands]:
        code, out, _ = call(f"{command} --help")
        assert code == 0, command
        assert "Usage" in out, command


def test_only_training_imports_torch_or_scipy() -> None:
    """One process runs all commands, so its imports are those of all commands before."""
    code = (
        "import sys\n"
        "from synthbench.interface.outcome import outcome\n"
        "for command in sys.argv[1:]:\n"
        "    sys.argv = ['synthbench', *command.split()]\n"
        "    assert outcome() == 0, command\n"
        "    assert not {'torch', 'scipy'} & set(sys.modules), command"
    )
    run_python("-c", code, "--help", *LISTED, "show task rote-vs-rule", "show optimizer muon", "run --dry-run")


def test_the_module_does_not_import_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise SystemExit('imported from the working directory')")
    run_python("-m", "synthbench", "ls", "model", folder=tmp_path)


def test_show_task_draws_examples_with_counts_entropy_chance_and_fingerprint(call: Caller) -> None:
    code, out, _ = call("show task rote-vs-rule")
    assert code == 0
    # three syllables of 32: chance 32^-3, entropy 15 bits
    for expected in ("owns", "past", Task(load(TaskCard, "rote-vs-rule")).fingerprint, "3.1e-05", " 15 "):
        assert expected in out


def test_show_generator_explains_every_option(call: Caller) -> None:
    for name, generator in GENERATORS.items():
        code, out, _ = call(f"show generator {name}")
        assert code == 0, name
        assert [option for option in generator.options.model_fields if f"\n{option} " not in out] == [], name


def test_strips_are_coloured_by_slice() -> None:
    task = Task(load(TaskCard, "rote-vs-rule"))
    for slice_ in slices(task):
        for strip in coloured(task, slice_):
            styled = [span for span in strip.spans if span.style == COLOURS[slice_.name]]
            assert strip.plain[styled[-1].start : styled[-1].end].strip() == "."
            assert len(styled) == task.language.name_length + 1


def test_a_dry_run_counts_runs_and_run_steps_and_writes_nothing(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    steps = "--set stages.pretrain.steps=10 --set stages.finetune.steps=30"
    code, out, _ = call(f"run --optimizer muon --seeds 2 {steps} --dry-run")
    assert code == 0
    assert re.search(r"pretrain: 2 runs, 20 .*finetune: 8 runs, 240 ", out, re.S)
    lines = out.splitlines()
    assert [line for line in lines if line.startswith("  muon, ")] == lines[1:2] + lines[3:5]
    assert not list(tmp_path.iterdir())


class Folder:
    """A folder of results and a runner that trains one optimizer for a few steps, with one rate and one seed."""

    def __init__(self, folder: Path, call: Caller) -> None:
        self.path, self._call = folder / "results", call
        self._runner = tiny.write(folder)

    def command(self, options: str = "") -> str:
        return f"run {self._runner} --seeds 1 --lr 1e-3 --jobs 1 --quiet --out {self.path} {options}"

    def run(self, options: str = "") -> Completed:
        return self._call(self.command(options))

    def export(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._call(f"export --out {self.path}").out.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, call: Caller) -> Folder:
    return Folder(tmp_path, call)


def test_a_run_in_which_everything_diverged_exits_3_with_advice(folder: Folder) -> None:
    code, out, err = folder.run("--optimizer sgd --lr 1e30")
    assert code == 3
    assert "diverged" in out
    assert "1/1" in out
    assert "--lr" in err
    exported = folder.export()
    assert [run["status"] for run in exported] == ["ok", "diverged"]
    assert set(exported[1]["scores"].values()) == {None}


def test_the_same_command_again_trains_nothing(folder: Folder) -> None:
    first, exported = folder.run("--lr 1e-3,2e-3"), folder.export()
    second = folder.run("--lr 1e-3,2e-3")
    assert (second.code, second.out) == (0, first.out)
    assert folder.export() == exported  # including the start time of every run


def test_a_run_prints_its_table_beside_damaged_runs_of_another_experiment(folder: Folder) -> None:
    assert folder.run("--optimizer sgd").code == 0
    with closing(sqlite3.connect(folder.path / DATABASE)) as db, db:
        db.execute("UPDATE runs SET seconds = seconds + 1")
    code, out, err = folder.run("--optimizer adamw")
    assert code == 0
    assert "adamw" in out
    assert "2 stored runs are damaged" in err


@pytest.mark.timed
def test_commands_answer_in_time(folder: Folder, measured: Callable[[str, float, float], None]) -> None:
    """Promised: help in 0.5 s, lists in 1 s, a run without anything to train in 3 s. Bounds allow for slow machines."""
    assert folder.run().code == 0
    for command, bound in {"--help": 1.5, **dict.fromkeys(LISTED, 3.0), folder.command(): 6.0}.items():
        seconds = min(run_python("-m", "synthbench", *shlex.split(command)) for _ in range(3))
        measured(f"synthbench {command.partition(' /')[0]}", seconds, bound)


def test_fresh_adds_an_attempt_and_keeps_the_earlier_one(folder: Folder) -> None:
    assert folder.run().code == 0
    assert folder.run("--fresh").code == 0
    with closing(sqlite3.connect(folder.path / "results.db")) as database:
        attempts = database.execute("SELECT attempt, count(*) FROM runs GROUP BY attempt").fetchall()
    assert attempts == [(1, 2), (2, 2)]
    assert {run["attempt"] for run in folder.export()} == {2}


def test_more_seeds_train_only_missing_runs_even_without_stored_weights(folder: Folder) -> None:
    assert folder.run("--keep-weights none").code == 0
    assert not list((folder.path / "weights").iterdir())
    before = folder.export()
    assert folder.run("--keep-weights none --seeds 2").code == 0
    after = folder.export()
    assert sorted((run["stage"], run["seed"]) for run in after) == [
        ("finetune", 0), ("finetune", 1), ("pretrain", 0), ("pretrain", 1),
    ]  # fmt: skip
    assert all(run in after for run in before)


def test_every_exported_run_has_every_key(folder: Folder, call: Caller) -> None:
    folder.run("--optimizer sgd --update lora-4")
    keys = (
        "run attempt parent status runner task task_version task_fingerprint model stage pretrain_optimizer optimizer "
        "fingerprint routing trainable lr weight_decay examples steps seed rows axis_values chosen chosen_by edge "
        "fleet_size split scores path weights versions device started seconds"
    )
    runs = folder.export()
    assert all(run.keys() == set(keys.split()) for run in runs)
    as_json = json.loads(call(f"export --out {folder.path} --format json").out)
    assert as_json == runs
    assert [run["stage"] for run in as_json] == ["pretrain", "finetune"]
    assert as_json[1]["parent"] == as_json[0]["run"]
    assert [point["step"] for point in as_json[1]["path"]] == [0, 5, 10]
    header = call(f"export --out {folder.path} --format csv").out.splitlines()[0].split(",")
    assert {"run", "lr", "rule_accuracy", "forgetting"} <= set(header)


def test_an_interrupted_run_is_exported_with_the_same_keys_and_no_scores(folder: Folder) -> None:
    assert folder.run().code == 0
    interrupted = Plan(resolve(RunRequest(optimizers=["sgd"], seeds=[5])), {}).ready()[0]
    with closing(Store.create(folder.path)) as store:
        name = store.experiments()[0].id
        cells = next(iter(store.members(name).values()))
        store.keep(interrupted, Result(interrupted.id, "interrupted"), [], None, member=(name, cells))
    exported = folder.export()
    assert [run["status"] for run in exported] == ["ok", "ok", "interrupted"]
    assert exported[2].keys() == exported[0].keys()
    assert set(exported[2]["scores"].values()) == {None}
