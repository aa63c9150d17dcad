"""A person's mistake: exit 2, at most three plain lines that name what is wrong and what is allowed, nothing written."""

from __future__ import annotations

import os
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import synthbench
from synthbench.experiment.database import APPLICATION_ID, VERSION
from synthbench.wording import inert
from tests.calling import SHORT, Caller
from tests.experiment import tiny

MISTAKES = {
    "unknown command": ("rnu", "run"),
    "no command's kind": ("ls", "kind"),
    "unknown kind": ("ls optimiser", "optimizer"),
    "unknown runner": ("run quik", "'quick'"),
    "unknown task": ("run --task rote-vs-rul", "'rote-vs-rule'"),
    "unknown optimizer": ("run --optimizer moun", "'muon'"),
    "unknown optimizer's argument": ("run --set optimizer.momentun=0.9", "'momentum'"),
    "optimizer's argument out of range": ("run --set optimizer.momentum=1.5", "momentum"),
    "unknown generator": ("show generator wugz", "'wugs'"),
    "unknown score": ("show score forgeting", "'forgetting'"),
    "unknown score in columns": ("run --set 'columns=[\"learnin\"]'", "'learning'"),
    "unknown key": ("run --set stages.finetune.stepz=3", "'steps'"),
    "unknown stage": ("run --set stages.finetun.steps=3", "'finetune'"),
    "unknown slice": ("run --set stages.finetune.examples.rules=3", "'rule'"),
    "unknown scale": ("run --set scale=gpu", "scale"),
    "a value for the table of arguments": ("run --set optimizer=3", "optimizer"),
    "a key of a scale": ("run --set scale.x=3", "scale"),
    "unknown model": ("run --set model=tini", "'tiny'"),
    "unknown option": ("run --optimiser muon", "--optimi"),
    "unknown format": ("report --format xml", "markdown"),
    "no value": ("run --set stages", "path=value"),
    "a path through a value": ("run --set seeds.x=1", "seeds"),
    "text for a number": ("run --set stages.finetune.steps=many", "stages.finetune.steps"),
    "text for a rate": ("run --lr fast", "1e-3,3e-3"),
    "negative rate": ("run --lr=-1e-3", "--lr"),
    "zero rate": ("run --lr 0", "--lr"),
    "infinite rate": ("run --lr inf", "--lr"),
    "a rate twice": ("run --lr 1e-3,1e-3", "twice"),
    "empty grid": ("run --set stages.finetune.lr=[]", "stages.finetune.lr"),
    "malformed grid": ("run --set 'stages.finetune.lr={muon=3}'", "stages.finetune.lr"),
    "no grid for an optimizer": ("run --set 'stages.finetune.lr={sgd=[0.1]}'", "muon"),
    "negative decay": ("run --weight-decay=-1", "--weight-decay"),
    "no seeds": ("run --seeds 0", "--seeds"),
    "negative seeds": ("run --seeds=-3", "--seeds"),
    "no steps": ("run --set stages.finetune.steps=0", "stages.finetune.steps"),
    "negative batch": ("run --set stages.finetune.batch=-64", "stages.finetune.batch"),
    "a batch that cannot be shared": ("run --set stages.finetune.batch=63", "batch"),
    "more points than steps": ("run --set stages.finetune.points=1000", "points"),
    "no items": ("run --set stages.finetune.examples.rule=0", "examples"),
    "more items than names": ("run --set stages.finetune.examples.rule=100000", "names"),
    "a speed that is not read": ("run --set reading.speed=33", "speeds"),
    "unknown update": ("run --update lora", "lora-R"),
    "rank above the width": ("run --update lora-65", "64"),
    "rank zero": ("run --update lora-0", "lora-R"),
    "an update twice": ("run --update full,full", "twice"),
    "empty name": ("run --optimizer muon,", "--optimizer"),
    "a missing card": ("run nowhere/card.toml", "nowhere/card.toml"),
    "no file at all": ("run --task /dev/null", "not a file"),
    "unknown device": ("run --device tpu", "cuda"),
    "no jobs": ("run --jobs 0", "--jobs"),
    "no fleet": ("run --fleet-size 0", "--fleet-size"),
    "unknown keeping": ("run --keep-weights some", "chosen"),
    "unwritable folder": ("run --out /proc/nowhere", "/proc/nowhere"),
    "no results": ("report --out nowhere", "nowhere"),
    "nothing to export": ("export --out nowhere", "nowhere"),
    "unknown task to write": ("export-data rote-vs-rul", "'rote-vs-rule'"),
    "unknown variant to write": ("export-data wugs:20-5x", "'20-4x'"),
    "unknown stage to write": ("export-data wugs --stage finetun", "'finetune'"),
    "unknown format of data": ("export-data wugs --format csv", "jsonl, parquet"),
    "negative seed of data": ("export-data wugs --seed=-1", "--seed"),
    "no seed of data": ("export-data wugs --seed one", "--seed"),
    "no task to write": ("export-data", "task"),
    "unwritable data": ("export-data wugs --out /proc/nowhere/data", "/proc/nowhere"),
    "nothing to compare": ("compare muon adamw --out nowhere", "nowhere"),
    "one thing to compare": ("compare muon", "B"),
    "a superfluous word": ("run quick again", "again"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_plain_lines_and_writes_nothing(
    mistake: str, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command, named = MISTAKES[mistake]
    code, out, err = call(command)
    assert code == 2
    assert out == ""
    assert named in err
    assert 1 <= len(err.strip().splitlines()) <= 3
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("written", "instead", "said"),
    [
        ('name = "tiny-task"', 'name = "Tiny"', "name = 'Tiny': must be 1 to 40 small letters, digits and hyphens"),
        ('version = "1.0"', 'version = "1"', "version = '1': must be two numbers with a dot between them"),
        ('version = "1.0"', "version = 1.0", "version = 1.0: must be text, in quotes"),
        ("items = 12, share", "items = 12, shares", "finetune.fact.share is missing; 'shares' may stand for it"),
        ("held_out = { validation", "held_out = { vallidation", "unknown key 'held_out.vallidation'"),
    ],
)
def test_a_mistake_on_a_card_is_told_with_its_place(
    written: str, instead: str, said: str, call: Caller, tmp_path: Path
) -> None:
    card = tmp_path / "own.toml"
    card.write_text(tiny.TASK.replace(written, instead, 1))
    code, out, err = call(f"show task {card}")
    assert (code, out) == (2, "")
    assert f"{card}: " in err
    assert said in err


def test_cuda_is_refused_where_it_is_absent(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthbench.experiment.identity.cuda_devices", lambda: 0)
    code, _, err = call("run --device cuda --dry-run")
    assert code == 2
    assert "CUDA" in err


def test_broken_toml_names_the_file_and_the_line(call: Caller, tmp_path: Path) -> None:
    card = tmp_path / "broken.toml"
    card.write_text('name = "broken"\nseeds = = 3\n')
    code, _, err = call(f"run {card}")
    assert code == 2
    assert str(card) in err
    assert "line 2" in err


@pytest.mark.parametrize("command", ["run", "report", "export"])
def test_a_file_that_is_not_ours_is_refused_and_left_as_it_is(command: str, call: Caller, tmp_path: Path) -> None:
    (tmp_path / "results.db").write_text(
        "not a database, and longer than the hundred bytes of a database's header " * 3
    )
    before = (tmp_path / "results.db").read_bytes()
    code, _, err = call(f"{command} --out {tmp_path}")
    assert code == 2
    assert "not a results file" in err
    assert (tmp_path / "results.db").read_bytes() == before


def test_another_program_s_database_is_refused(call: Caller, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "results.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    code, _, err = call(f"run --out {tmp_path}")
    assert code == 2
    assert "not a results file" in err


def test_results_of_a_newer_version_are_refused(call: Caller, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "results.db") as newer:
        newer.execute("CREATE TABLE runs (x)")
        newer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    newer.close()
    code, _, err = call(f"report --out {tmp_path}")
    assert code == 2
    assert "update synthbench" in err


def test_names_are_shown_inert(call: Caller) -> None:
    _, _, err = call("run --optimizer '\x1b[31m[/red]\u202e'")
    assert "\x1b" not in err
    assert "\u202e" not in err
    assert "[/red]" in err


@pytest.mark.parametrize("folder", ["a\x1b[31m\n|b", "\u202egnp", "n\no\nw\nh\ne\nr\ne", "a\udcff", "x" * 200])
def test_a_folder_of_any_name_is_written_and_named_inert(call: Caller, tmp_path: Path, folder: str) -> None:
    out = shlex.quote(str(tmp_path / folder))
    run = f"run --optimizer sgd {SHORT} --update full --lr 1e-3"
    said = [call(f"{command} --out {out}") for command in (run, f"{run} --dry-run", "report", "export", "gc")]
    said += [call(f"report --format markdown --out {out}"), call(f"report --out {out}.absent")]
    assert [one.code for one in said] == [0] * 6 + [2]
    for told in (text for one in said for text in (one.out, one.err)):
        assert inert(told.replace("\n", "")) == told.replace("\n", "")
    assert "there are no results" in said[-1].err


def test_output_that_a_stream_cannot_encode_is_shown_escaped(tmp_path: Path) -> None:
    for command in ("ls score", "show task rote-vs-rule"):
        found = subprocess.run(
            [sys.executable, "-m", "synthbench", *command.split()], capture_output=True, check=False,
            env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(synthbench.__file__).parents[1])},
            cwd=tmp_path,
        )  # fmt: skip
        assert (found.returncode, found.stderr) == (0, b"")
        assert found.stdout.isascii()
