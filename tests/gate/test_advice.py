"""The advice after a check, and that it works: a baseline is recorded again with the settings in its file."""

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
INCONCLUSIVE = Line("finetune/full", "learning", "inconclusive", 0.1, 0.1, 6, seeds=39.2)


@pytest.fixture
def file(recorded: Baseline, tmp_path: Path) -> Path:
    baselines.write(recorded, tmp_path / "adamw.json")
    return tmp_path / "adamw.json"


def test_overwrite_alone_records_the_same_experiment_again(tmp_path: Path, call: Caller) -> None:
    """At the better of two learning rates."""
    file = tmp_path / "sgd.json"
    command = f"baseline {small.card(tmp_path)} --optimizer sgd --lr 8e-3,1e-5 {small.FULL}"
    assert call(f"{command} -o {file} --jobs 1 --quiet").code == 0
    before = baselines.read(file)
    assert before.card.stages[-1].lr == {"sgd": {"full": [8e-3]}}
    overwrite = f"baseline -o {file} --overwrite --jobs 1 --quiet"
    assert call(overwrite)[::2] == (0, "")
    assert baselines.read(file) == before
    assert call(f"{overwrite} --seeds 5").code == 0
    fewer = baselines.read(file)
    assert (fewer.card.seed_list, fewer.card.stages) == ([0, 1, 2, 3, 4], before.card.stages)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the recorded device is available")
def test_overwrite_alone_keeps_the_device(file: Path, call: Caller) -> None:
    baselines.write(baselines.read(file).model_copy(update={"device": "cuda"}), file)
    before = file.read_text()
    code, _, err = call(f"baseline -o {file} --overwrite --quiet")
    assert code == 2
    assert "cuda" in err
    assert "--device cpu" in err
    assert file.read_text() == before


def test_overwrite_alone_needs_a_baseline(tmp_path: Path, call: Caller) -> None:
    """Otherwise AdamW on the default runner would replace the baseline of another optimizer."""
    (tmp_path / "old.json").write_text('{"format": 3}')
    for name in ("none.json", "old.json"):
        code, _, err = call(f"baseline -o {tmp_path}/{name} --overwrite --quiet")
        assert (code, "--optimizer" in err) == (2, True)


def test_a_change_comes_with_the_command_that_accepts_it(file: Path, call: Caller) -> None:
    """Only for the recorded optimizer: a change by another one is not to be accepted."""
    baseline = baselines.read(file)
    baselines.write(small.with_card(baseline, arguments={"adamw": {"eps": 1e-3}}), file)
    code, out, _ = call(f"check {file} --quiet")
    assert code == 1
    printed = " ".join(out.split())
    assert "--level behaviour" in printed
    assert f"synthbench baseline -o {file} --overwrite" in printed
    for name in ("json", "markdown", "github"):
        assert "--overwrite" in call(f"check {file} --quiet --format {name}").out
    assert "--overwrite" not in call(f"check {file} --optimizer sgd --quiet").out


def test_an_optimizer_that_no_longer_exists_can_be_replaced(file: Path, tmp_path: Path, call: Caller) -> None:
    (tmp_path / "mine.py").write_text("import torch\n\n\nclass New(torch.optim.SGD):\n    pass\n")
    baselines.write(baselines.read(file).model_copy(update={"optimizer": f"{tmp_path}/mine.py:Old"}), file)
    code, _, err = call(f"check {file}")
    assert code == 2
    assert all(word in err for word in (str(file), "Old", "New", "--optimizer"))


@each(
    ("level", "line", "is_short", "words"),
    [
        ("exact", CHANGED, False, ("--level trace", "-o 'my file.json' --overwrite")),
        ("behaviour", CHANGED, True, ("-o 'my file.json' --overwrite",)),
        ("trace", INCONCLUSIVE._replace(seeds=float("nan")), False, ("--level behaviour",)),
        ("behaviour", INCONCLUSIVE, True, ("--budget",)),
        ("behaviour", INCONCLUSIVE, False, ("--overwrite --seeds 40",)),
        ("behaviour", INCONCLUSIVE._replace(seeds=float("inf")), False, ()),
        ("behaviour", CHANGED._replace(verdict="unchanged"), False, ()),
    ],
)
def test_advice_by_level_and_line(level: Level, line: Line, is_short: bool, words: tuple[str, ...]) -> None:
    advice = explain.advice(level, [line], "my file.json", is_other=False, is_short=is_short)
    assert all(word in str(advice) for word in words)
    assert (advice is None) == (not words)
