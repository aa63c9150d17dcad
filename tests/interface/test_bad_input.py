"""Invalid input exits with 2, writes nothing and prints at most three lines that name the mistake and what is allowed."""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import synthbench
from synthbench.common.wording import inert
from synthbench.store.database import APPLICATION_ID, DATABASE, VERSION
from tests import tiny
from tests.calling import Caller
from tests.each import each

MISTAKES = {
    "unknown command": ("rnu", "run"),
    "no kind": ("ls", "kind"),
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
    "a rate twice": ("run --lr 1e-3,1e-3", "--lr"),
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
    "more items than names": ("run --set stages.finetune.examples.rule=100000", "100000"),
    "a target step that is not read": ("run --set reading.target_step=33", "target_steps"),
    "unknown update": ("run --update lora", "lora-R"),
    "rank above the width": ("run --update lora-65", "64"),
    "rank zero": ("run --update lora-0", "lora-R"),
    "an update twice": ("run --update full,full", "full"),
    "empty name": ("run --optimizer muon,", "--optimizer"),
    "a missing card": ("run nowhere/card.toml", "nowhere/card.toml"),
    "no file at all": ("run --task /dev/null", "/dev/null"),
    "unknown device": ("run --device tpu", "cuda"),
    "no jobs": ("run --jobs 0", "--jobs"),
    "no fleet": ("run --fleet-size 0", "--fleet-size"),
    "unknown choice of weights": ("run --keep-weights some", "chosen"),
    "unwritable folder": ("run --out /proc/nowhere", "/proc/nowhere"),
    "a file for a folder": ("run --out /dev/null", "/dev/null"),
    "a folder below a file": ("run --out /dev/null/results", "/dev/null"),
    "no results": ("report --out nowhere", "nowhere"),
    "a folder without results": ("report --out .", "results"),
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
    "an extra argument": ("run quick again", "again"),
}


@each(("command", "expected"), MISTAKES.values())
def test_a_mistake_exits_2_with_a_short_message_and_writes_nothing(
    command: str, expected: str, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(command)
    assert (code, out) == (2, "")
    assert expected in err
    assert 1 <= len(err.strip().splitlines()) <= 3
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_a_mistake_on_a_card_is_reported_with_file_and_key(call: Caller, tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    for old, new, expected in (
        ('name = "tiny-task"', 'name = "Tiny"', "name = 'Tiny'"),
        ('version = "1.0"', 'version = "1"', "version = '1'"),
        ('version = "1.0"', "version = 1.0", "version = 1.0"),
        ("items = 12, share", "items = 12, shares", "finetune.fact.share"),
        ("held_out = { validation", "held_out = { vallidation", "'held_out.vallidation'"),
        ("version =", "version = =", "line 3"),
    ):
        assert old in tiny.TASK
        card.write_text(tiny.TASK.replace(old, new, 1))
        code, out, err = call(f"show task {card}")
        assert (code, out) == (2, "")
        assert str(card) in err
        assert expected in err


def test_a_byte_order_mark_before_a_card_is_no_mistake(call: Caller, tmp_path: Path) -> None:
    runner = tiny.write(tmp_path)
    for path in (runner, tmp_path / "task.toml"):
        path.write_text(path.read_text(), encoding="utf-8-sig")
    assert call(f"run {runner} --dry-run").code == 0
    assert "\ufeff" not in inert(call(f"show runner {runner}").out)


LISTS = [  # that are not written as lists, and how they are
    ("optimizers=adamw,sgd", 'optimizers=["adamw", "sgd"]'),
    ("tasks=wugs", 'tasks=["wugs"]'),
    ("seeds=3,5", "seeds=[3, 5]"),
    ("columns=[fit, rote_gap]", 'columns=["fit", "rote_gap"]'),
    ("stages.finetune.lr=4e-3,8e-3", "stages.finetune.lr=[4e-3, 8e-3]"),
    ("stages.finetune.lr.muon=0.01", "stages.finetune.lr.muon=[0.01]"),
    ("stages.finetune.update=full-hidden,lora-8", 'stages.finetune.update=["full-hidden", "lora-8"]'),
    ("stages.finetune.optimizer=sgd,muon", 'stages.finetune.optimizer=["sgd", "muon"]'),
    ("optimizer.coefficients=1,2,3", "arguments.muon.coefficients=[1, 2, 3]"),
]


def test_what_should_be_a_list_is_shown_as_a_setting_that_works(call: Caller) -> None:
    for mistake, setting in LISTS:
        code, _, err = call(f"run --dry-run --set {shlex.quote(mistake)}")
        assert code == 2
        (hint,) = re.findall(r"must be a list: (--set '.*')\.$", err.strip())
        assert shlex.split(hint) == ["--set", setting]
        assert call(f"run --dry-run {hint}").code == 0, hint
    assert "must be a list of tables" in call("run --dry-run --set claims=a,b").err


def test_cuda_is_refused_without_a_cuda_device(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthbench.experiment.identity.cuda_devices", lambda: 0)
    code, _, err = call("run --device cuda --dry-run")
    assert code == 2
    assert "CUDA" in err


@each("kind", ["text", "empty", "another program's", "newer", "older"])
def test_a_foreign_database_is_refused_and_left_unchanged(kind: str, call: Caller, tmp_path: Path) -> None:
    folder = tmp_path / kind
    folder.mkdir()
    path = folder / DATABASE
    if kind in ("text", "empty"):
        path.write_text("not a database\n" * (100 if kind == "text" else 0))
    else:
        with closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE runs (x)")
            if kind != "another program's":
                database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                database.execute(f"PRAGMA user_version = {VERSION + (1 if kind == 'newer' else -2)}")
            database.commit()
    before = path.read_bytes()
    for command in ("run", "report", "export"):
        code, out, err = call(f"{command} --out {shlex.quote(str(folder))}")
        assert (code, out) == (2, "")
        assert str(folder) in err.replace("\n", " ")
        assert DATABASE in err
        if kind in ("newer", "older"):
            assert re.search(rf"\b{VERSION + (1 if kind == 'newer' else -2)}\b.*\b{VERSION}\b", err)
    assert path.read_bytes() == before
    assert [entry.name for entry in folder.iterdir()] == [DATABASE]


def test_control_characters_in_names_are_escaped(call: Caller) -> None:
    _, _, err = call("run --optimizer '\x1b[31m[/red]\u202e'")
    assert "\x1b" not in err
    assert "\u202e" not in err
    assert "[/red]" in err


def test_a_folder_of_any_name_is_written_and_its_name_is_escaped(call: Caller, tmp_path: Path) -> None:
    run = f"run {tiny.write(tmp_path)} --seeds 1 --lr 1e-3 --jobs 1"
    for folder in ("a\x1b[31m\n|b", "\u202egnp", "n\no\nw\nh\ne\nr\ne", "a\udcff", "x" * 200):
        out = shlex.quote(str(tmp_path / folder))
        results = [call(f"{command} --out {out}") for command in (run, f"{run} --dry-run", "report", "export", "gc")]
        results += [call(f"report --format markdown --out {out}"), call(f"report --out {out}.absent")]
        assert [result.code for result in results] == [0] * 6 + [2]
        assert (tmp_path / folder / "results.db").is_file()
        for output in (text for result in results for text in (result.out, result.err)):
            assert inert(output.replace("\n", "")) == output.replace("\n", "")


@each("locale", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}])
def test_what_a_stream_cannot_encode_is_shown_in_words_or_escaped(locale: dict[str, str], tmp_path: Path) -> None:
    """A process with ASCII streams, and a task of a person who writes Greek."""
    (tmp_path / "task.toml").write_text(tiny.TASK.replace('question = "', 'question = "α → β ± γ '), encoding="utf-8")
    checkout = str(Path(synthbench.__file__).parents[1])
    process = subprocess.run(
        [sys.executable, "-m", "synthbench", "show", "task", "./task.toml"], capture_output=True, check=False, cwd=tmp_path,
        env={**os.environ, **locale, "PYTHONPATH": checkout},
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, b"")
    assert r"\u03b1 -> \u03b2 +- \u03b3" in process.stdout.decode("ascii")
