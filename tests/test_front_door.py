"""The console script: quick to answer, importing only what it needs; a run's outcomes as exit codes."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from synthbench.generators import GENERATORS
from tests.calling import SHORT, Caller

COMMANDS = ["", "run", "ls", "show", "report", "compare", "export", "export-data", "verify", "new", "schema"]


def seconds(arguments: list[str], tries: int = 3) -> float:
    """The best of some tries, in processor time: what the command costs, not what else the machine does."""
    found = []
    for _ in range(tries):
        start = spent()
        subprocess.run([sys.executable, "-m", "synthbench", *arguments], check=True, capture_output=True)
        found.append(spent() - start)
    return min(found)


def spent() -> float:
    """Processor time of child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_help_takes_less_than_half_a_second() -> None:
    assert seconds(["--help"]) < 0.5


@pytest.mark.parametrize("kind", ["task", "runner", "optimizer", "score", "generator", "model"])
def test_ls_takes_less_than_a_second(kind: str) -> None:
    assert seconds(["ls", kind]) < 1.0


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, call: Caller) -> None:
    code, out, _ = call(f"{command} --help")
    assert code == 0
    assert "Usage" in out


@pytest.mark.parametrize(
    "command", ["ls task", "ls score", "ls optimizer", "show task rote-vs-rule", "show optimizer muon", "run --dry-run"]
)
def test_nothing_but_training_imports_torch_or_scipy(command: str) -> None:
    code = (
        f"import sys; sys.argv = ['synthbench', *{command.split()!r}]\n"
        "from synthbench.cli import outcome\n"
        "assert outcome() == 0\n"
        "assert not {'torch', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_module_does_not_import_from_the_working_directory(tmp_path: Path) -> None:
    (tmp_path / "rich.py").write_text("raise SystemExit('imported from the working directory')")
    checkout = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "synthbench", "ls", "model"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": checkout},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_show_task_draws_examples_with_counts_entropy_chance_and_fingerprint(call: Caller) -> None:
    from synthbench.cards import TaskCard, load
    from synthbench.generators import Task

    code, out, _ = call("show task rote-vs-rule")
    assert code == 0
    assert "owns" in out
    assert "past" in out
    assert Task(load(TaskCard, "rote-vs-rule")).fingerprint in out
    assert "3.1e-05" in out  # chance: one name in 32^3
    assert " 15 " in out  # bits: three syllables of 32


@pytest.mark.parametrize("name", GENERATORS)
def test_show_generator_explains_every_option(name: str, call: Caller) -> None:
    code, out, _ = call(f"show generator {name}")
    assert code == 0
    for option in GENERATORS[name].options.model_fields:
        assert f"\n{option} " in out


def test_strips_are_coloured_by_slice() -> None:
    from synthbench.cards import TaskCard, load
    from synthbench.generators import Task
    from synthbench.reporting.gallery import COLOURS, coloured, slices

    task = Task(load(TaskCard, "rote-vs-rule"))
    for part in slices(task):
        for strip in coloured(task, part):
            styled = [
                strip.plain[span.start : span.end].strip() for span in strip.spans if span.style == COLOURS[part.name]
            ]
            assert styled[-1] == "."
            assert len(styled) == task.language.name_length + 1


def test_a_dry_run_counts_runs_and_run_steps_and_writes_nothing(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(
        "run --optimizer muon --seeds 2 --set stages.pretrain.steps=10 --set stages.finetune.steps=30 --dry-run"
    )
    assert code == 0
    assert "pretrain: 2 runs, 20 run-steps" in out
    assert "finetune: 12 runs, 360 run-steps" in out
    lines = out.splitlines()
    assert [line for line in lines if line.startswith("  muon, ")] == lines[1:2] + lines[3:5]
    assert not list(tmp_path.iterdir())


def test_a_run_in_which_all_diverged_says_so_and_exits_3(call: Caller, tmp_path: Path) -> None:
    code, out, err = call(f"run --optimizer sgd {SHORT} --update full --lr 1e30 --out {tmp_path} --quiet")
    assert code == 3
    assert "diverged" in out
    assert "1/1" in out
    assert "--lr" in err
    exported = [json.loads(line) for line in call(f"export --out {tmp_path}").out.splitlines()]
    assert [one["status"] for one in exported] == ["ok", "diverged"]
    assert set(exported[1]["scores"].values()) == {None}


def test_the_same_command_again_trains_nothing_in_under_three_seconds(call: Caller, tmp_path: Path) -> None:
    command = f"run --optimizer sgd {SHORT} --update full --lr 1e-3,2e-3 --out {tmp_path} --quiet"
    first = call(command)
    before = call(f"export --out {tmp_path}").out
    start = time.process_time()
    again = call(command)
    assert time.process_time() - start < 3
    assert again.out == first.out
    assert call(f"export --out {tmp_path}").out == before


def test_fresh_adds_an_attempt_and_keeps_the_old_one(call: Caller, tmp_path: Path) -> None:
    import sqlite3

    command = f"run --optimizer sgd {SHORT} --update full --lr 1e-3 --out {tmp_path} --quiet"
    assert call(command).code == 0
    assert call(f"{command} --fresh").code == 0
    rows = sqlite3.connect(tmp_path / "results.db")
    assert rows.execute("SELECT attempt, count(*) FROM runs GROUP BY attempt").fetchall() == [(1, 2), (2, 2)]
    rows.close()
    exported = [json.loads(line) for line in call(f"export --out {tmp_path}").out.splitlines()]
    assert {one["attempt"] for one in exported} == {2}


def test_more_seeds_train_only_what_is_missing_even_where_weights_were_not_kept(call: Caller, tmp_path: Path) -> None:
    shorter = SHORT.replace("--seeds 1", "--seeds {}")
    command = f"run --optimizer sgd {shorter} --update full --lr 1e-3 --out {tmp_path} --quiet --keep-weights none"
    assert call(command.format(1)).code == 0
    assert not list((tmp_path / "weights").iterdir())
    assert call(command.format(2)).code == 0
    exported = [json.loads(line) for line in call(f"export --out {tmp_path}").out.splitlines()]
    assert sorted((one["stage"], one["seed"]) for one in exported) == [
        ("finetune", 0), ("finetune", 1), ("pretrain", 0), ("pretrain", 1),
    ]  # fmt: skip


def test_every_exported_run_has_every_key(call: Caller, tmp_path: Path) -> None:
    call(f"run --optimizer sgd {SHORT} --update lora-4 --lr 1e-3 --out {tmp_path} --quiet")
    keys = (
        "run attempt parent status runner task task_version task_fingerprint model stage pretrain_optimizer optimizer "
        "fingerprint routing update lr weight_decay examples steps seed chosen edge fleet_size split scores path weights "
        "versions device started seconds"
    )
    for line in call(f"export --out {tmp_path} --format jsonl").out.splitlines():
        assert set(json.loads(line)) == set(keys.split())
    as_json = json.loads(call(f"export --out {tmp_path} --format json").out)
    assert [one["stage"] for one in as_json] == ["pretrain", "finetune"]
    assert as_json[1]["parent"] == as_json[0]["run"]
    assert [point["step"] for point in as_json[1]["path"]] == [0, 2, 4]
    heads = call(f"export --out {tmp_path} --format csv").out.splitlines()[0].split(",")
    assert {"run", "lr", "rule_accuracy", "forgetting"} <= set(heads)


def test_an_interrupted_run_is_exported_with_the_same_keys_and_no_scores(call: Caller, tmp_path: Path) -> None:
    from synthbench.experiment.plan import next_runs
    from synthbench.experiment.resolve import Asked, resolve
    from synthbench.experiment.runs import Result
    from synthbench.experiment.store import Store

    assert call(f"run --optimizer sgd {SHORT} --update full --lr 1e-3 --out {tmp_path} --quiet").code == 0
    other = next_runs(resolve(Asked(optimizers=["sgd"], seeds=[5])), {})[0]
    with closing(Store.create(tmp_path)) as store:
        name = store.experiments()[0].id
        cells = next(iter(store.members(name).values()))
        store.keep(other, Result(other.id, "interrupted"), [], None, member=(name, cells))
    exported = [json.loads(line) for line in call(f"export --out {tmp_path}").out.splitlines()]
    assert [one["status"] for one in exported] == ["ok", "ok", "interrupted"]
    assert exported[2].keys() == exported[0].keys()
    assert set(exported[2]["scores"].values()) == {None}
