"""New files work at once, are commented and overwrite nothing."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from synthbench.interface.scaffold import NEXT as KINDS
from tests.calling import TINY, Caller
from tests.each import each

# The shortest run that works: one seed, a few steps and a small model.
SMALL = {**TINY, "seeds": 1, "model": "{width=16,layers=1,head_width=8}"}
del SMALL["stages.pretrain.for.sgd.steps"]
SETTINGS = " ".join(f"--set {path}={value}" for path, value in SMALL.items())


@pytest.mark.parametrize("kind", KINDS)
def test_the_suggested_next_commands_work(
    kind: str, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "task":  # drawing again in another process is tested for generators from a file
        monkeypatch.setattr("synthbench.verification.tasks.elsewhere", lambda task: None)
    code, out, err = call(f"new {kind} some_thing --out {shlex.quote(str(tmp_path / 'a folder'))}")
    assert code == 0, err
    commands = [line.removeprefix("Next: synthbench ") for line in out.splitlines() if line.startswith("Next: ")]
    assert commands
    for command in commands:
        if command.startswith("run"):
            command += f" --update full --jobs 1 {SETTINGS} --quiet --out {tmp_path}/out"
            command += "" if "--dry-run" in command else " --lr 1e-3"
        code, out, err = call(command)
        assert code == 0, err
    for path in (tmp_path / "a folder").iterdir():
        text = path.read_text()
        assert kind != "generator" or "my" not in text.replace("may", "")
        assert len(re.findall(r'#|"""', text)) >= 2  # commented
        assert path.suffix == ".py" or (path.parent / text.split("\n")[0].removeprefix("#:schema ")).is_file()
    rows = [json.loads(line) for line in call(f"export --out {tmp_path}/out").out.splitlines()]
    assert {row["stage"] for row in rows} == {"pretrain", "finetune"}
    if kind == "runner":
        assert {(row["runner"], row["optimizer"]) for row in rows} == {("some-thing", "adamw"), ("some-thing", "muon")}


def test_no_file_is_overwritten_and_none_is_left_incomplete(call: Caller, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("precious")
    for kind in ("task", "runner", "generator"):
        code, _, err = call(f"new {kind} mine --out {tmp_path}")
        assert code == 2
        assert "mine.toml" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]
    assert (tmp_path / "mine.toml").read_text() == "precious"


@each(
    ("kind", "name", "expected"),
    [
        ("task", "wugs", "'wugs'"), ("runner", "quick", "'quick'"), ("task", "../evil", "hyphens"),
        ("task", "x" * 41, "40"), ("optimizer", "class", "Python"), ("optimizer", "3d", "letter"),
        ("optimizer", "a.b", "underscores"), ("generator", "../evil", "underscores"),
        ("score", "x", "task, runner, optimizer, generator"),
    ],
)  # fmt: skip
def test_an_invalid_name_is_refused_in_one_sentence(
    kind: str, name: str, expected: str, call: Caller, tmp_path: Path
) -> None:
    code, _, err = call(f"new {kind} {name} --out {tmp_path}")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert expected in err
    assert not list(tmp_path.iterdir())


@each("kind", KINDS)
def test_hyphens_and_underscores_are_converted_to_those_of_the_kind(kind: str, call: Caller, tmp_path: Path) -> None:
    valid, invalid = ("a-b", "a_b") if kind in ("task", "runner") else ("a_b", "a-b")
    changed_out, unchanged_out = (call(f"new {kind} {name} --out {tmp_path}/{name}").out for name in (invalid, valid))
    assert f"'{invalid}'" in changed_out
    assert f"'{valid}'" not in unchanged_out
    for name in (valid, invalid):
        assert {path.stem for path in (tmp_path / name).iterdir()} == {valid}
        shutil.rmtree(tmp_path / name)


def test_the_old_kind_is_read_with_a_notice_that_names_the_new_one(call: Caller, tmp_path: Path) -> None:
    code, _, err = call(f"new rule mine --out {tmp_path}")
    assert code == 0
    assert err.splitlines() == ["synthbench: new rule is now new optimizer; the old name is read until version 0.2."]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]
