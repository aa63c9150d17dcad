"""What to do next after a check, and that it can be done: a baseline is recorded again as its file has it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from synthbench.gate import baseline as baselines
from synthbench.gate import explain
from synthbench.gate.baseline import Baseline
from synthbench.gate.comparison import Level, Line
from tests.calling import Caller
from tests.each import each
from tests.gate import small

CHANGED = Line("finetune/full", "learning", "changed", 0.4, 0.1, 6)
OPEN = Line("finetune/full", "learning", "inconclusive", 0.1, 0.1, 6, seeds=39.2)


@pytest.fixture
def file(recorded: Baseline, tmp_path: Path) -> Path:
    baselines.write(recorded, tmp_path / "adamw.json")
    return tmp_path / "adamw.json"


def test_update_alone_records_what_the_file_recorded(tmp_path: Path, call: Caller) -> None:
    """At the better one of two rates."""
    file = tmp_path / "sgd.json"
    made = f"baseline {small.card(tmp_path)} --optimizer sgd --lr 8e-3,1e-5 {small.FULL}"
    assert call(f"{made} -o {file} --jobs 1 --quiet").code == 0
    before = baselines.read(file)
    assert before.card.stages[-1].lr == {"sgd": {"full": [8e-3]}}
    again = f"baseline -o {file} --overwrite --jobs 1 --quiet"
    assert call(again)[::2] == (0, "")
    assert baselines.read(file) == before
    assert call(f"{again} --seeds 5").code == 0
    fewer = baselines.read(file)
    assert (fewer.card.seed_list, fewer.card.stages) == ([0, 1, 2, 3, 4], before.card.stages)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device that is named is there")
def test_update_alone_does_not_move_a_baseline_to_another_device(file: Path, call: Caller) -> None:
    baselines.write(baselines.read(file).model_copy(update={"device": "cuda"}), file)
    elsewhere = file.read_text()
    code, _, err = call(f"baseline -o {file} --overwrite --quiet")
    assert code == 2
    assert "cuda" in err
    assert "--device cpu" in err
    assert file.read_text() == elsewhere


def test_update_alone_needs_a_baseline(tmp_path: Path, call: Caller) -> None:
    """Else AdamW on the default runner would be recorded in the name of another optimizer."""
    (tmp_path / "old.json").write_text('{"format": 3}')
    for name in ("none.json", "old.json"):
        code, _, err = call(f"baseline -o {tmp_path}/{name} --overwrite --quiet")
        assert (code, "--optimizer" in err) == (2, True)


def test_a_change_says_what_to_do(file: Path, call: Caller) -> None:
    """Of the recorded optimizer: how it is accepted; of another one nothing is to be accepted."""
    found = baselines.read(file)
    baselines.write(small.with_card(found, arguments={"adamw": {"eps": 1e-3}}), file)
    code, out, _ = call(f"check {file} --quiet")
    assert code == 1
    said = " ".join(out.split())
    assert "--level behaviour" in said
    assert f"synthbench baseline -o {file} --overwrite" in said
    for form in ("json", "markdown", "github"):
        assert "--overwrite" in call(f"check {file} --quiet --format {form}").out
    assert "--overwrite" not in call(f"check {file} --optimizer sgd --quiet").out


def test_an_optimizer_that_is_gone_may_be_named(file: Path, tmp_path: Path, call: Caller) -> None:
    (tmp_path / "mine.py").write_text("import torch\n\n\nclass New(torch.optim.SGD):\n    pass\n")
    baselines.write(baselines.read(file).model_copy(update={"optimizer": f"{tmp_path}/mine.py:Old"}), file)
    code, _, err = call(f"check {file}")
    assert code == 2
    assert all(word in err for word in (str(file), "Old", "New", "--optimizer"))


@each(
    ("level", "line", "is_short", "said"),
    [
        ("exact", CHANGED, False, ("--level trace", "-o 'my file.json' --overwrite")),
        ("behaviour", CHANGED, True, ("-o 'my file.json' --overwrite",)),
        ("trace", OPEN._replace(seeds=float("nan")), False, ("--level behaviour",)),
        ("behaviour", OPEN, True, ("--budget",)),
        ("behaviour", OPEN, False, ("--overwrite --seeds 40",)),
        ("behaviour", OPEN._replace(seeds=float("inf")), False, ()),
        ("behaviour", CHANGED._replace(verdict="unchanged"), False, ()),
    ],
)
def test_what_is_said_of_a_line(level: Level, line: Line, is_short: bool, said: tuple[str, ...]) -> None:
    found = explain.advice(level, [line], "my file.json", is_other=False, is_short=is_short)
    assert all(word in str(found) for word in said)
    assert (found is None) == (not said)
