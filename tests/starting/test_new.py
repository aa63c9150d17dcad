"""Starting files work at once, are commented, and overwrite nothing."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from synthbench import plugins
from synthbench.generators import GENERATORS
from synthbench.plugins import generators
from synthbench.starting.new import KINDS, TEMPLATES
from synthbench.trainer.rules import OPTIMIZERS, RULES
from tests.calling import SHORT, Caller

REGISTRIES = (GENERATORS, generators.TAKEN, OPTIMIZERS, RULES, plugins.TAKEN)


def commands(out: str) -> list[str]:
    """What the program says to type next."""
    return [line.removeprefix("Next: synthbench ") for line in out.splitlines() if line.startswith("Next: ")]


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_says_to_type_next_works(kind: str, call: Caller, tmp_path: Path) -> None:
    code, out, err = call(f"new {kind} some_thing --out {shlex.quote(str(tmp_path / 'a folder'))}")
    assert code == 0, err
    assert "Written: " in out
    assert commands(out)
    for command in commands(out):
        short = f" {SHORT} --update full --quiet --out {tmp_path}/out".replace(
            " --set stages.pretrain.for.sgd.steps=4", ""
        )
        told = (
            command + short.replace("--update full", "--update full --lr 1e-3")
            if command.startswith("run")
            else command
        )
        code, out, err = call(told)
        assert code == 0, err
        if "--dry-run" in command:
            assert "in all: 4 runs" in out
    if kind != "generator":
        return
    assert "my" not in "".join(path.read_text() for path in (tmp_path / "a folder").iterdir()).replace("may", "")


def test_two_optimizers_of_the_starting_runner_are_those_in_its_table(call: Caller, tmp_path: Path) -> None:
    call(f"new runner question --out {tmp_path}")
    short = SHORT.replace(" --set stages.pretrain.for.sgd.steps=4", "")
    assert call(f"run {tmp_path}/question.toml {short} --update full --lr 1e-3 --quiet --out {tmp_path}/out").code == 0
    rows = [json.loads(line) for line in call(f"export --out {tmp_path}/out").out.splitlines()]
    assert {row["optimizer"] for row in rows} == {"adamw", "muon"}
    assert {row["runner"] for row in rows} == {"question"}


def test_nothing_is_overwritten_and_nothing_half_written(call: Caller, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("precious")
    for kind in ("task", "runner", "generator"):
        code, _, err = call(f"new {kind} mine --out {tmp_path}")
        assert code == 2
        assert "mine.toml is there already, and nothing is overwritten" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]
    assert (tmp_path / "mine.toml").read_text() == "precious"


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("task", "wugs", "there is one of this name already"),
        ("runner", "quick", "there is one of this name already"),
        ("task", "../evil", "lower-case letters, digits and hyphens"),
        ("task", "x" * 41, "at most 40"),
        ("rule", "class", "no word of Python's"),
        ("rule", "3d", "begins with a letter"),
        ("rule", "a.b", "lower-case letters, digits and underscores"),
        ("generator", "../evil", "lower-case letters, digits and underscores"),
        ("score", "x", "Unknown kind 'score'; allowed are task, runner, rule, generator"),
    ],
)
def test_a_name_that_will_not_do_is_one_sentence(kind: str, name: str, said: str, call: Caller, tmp_path: Path) -> None:
    code, _, err = call(f"new {kind} {name} --out {tmp_path}")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert said in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_hyphens_and_underscores_become_what_the_kind_has_and_it_says_so(
    kind: str, call: Caller, tmp_path: Path
) -> None:
    own, other = ("a-b", "a_b") if kind in ("task", "runner") else ("a_b", "a-b")
    assert f"The name is {own} here" in call(f"new {kind} {other} --out {tmp_path}").out
    shutil.rmtree(tmp_path)
    assert "The name is" not in call(f"new {kind} {own} --out {tmp_path}").out
    assert {path.stem for path in tmp_path.iterdir()} == {own}


def test_cards_name_the_installed_schema_relative_to_their_folder(call: Caller, tmp_path: Path) -> None:
    for kind in ("task", "runner", "generator"):
        call(f"new {kind} one-{kind} --out {tmp_path}")
    found = sorted(tmp_path.glob("*.toml"))
    assert len(found) == 3
    for card in found:
        first = card.read_text().split("\n")[0]
        assert (card.parent / first.removeprefix("#:schema ")).is_file(), first


@pytest.mark.parametrize("template", sorted(TEMPLATES.iterdir()), ids=lambda path: path.name)
def test_starting_files_are_commented(template: Path) -> None:
    assert len(re.findall(r'#|"""', template.read_text())) >= (2 if template.name == "generator.toml" else 4)
