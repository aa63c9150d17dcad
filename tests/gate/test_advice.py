"""What is said to do next after a check, and that it can be done: a baseline is recorded again as its file has it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from synthbench.gate import advice, stored
from synthbench.gate.compared import Level, Line
from tests.calling import Caller
from tests.gate import small

CHANGED = Line("finetune/full", "learning", "changed", 0.4, 0.1, 6)
OPEN = Line("finetune/full", "learning", "could not tell", 0.1, 0.1, 6, seeds=39.2)


@pytest.fixture
def file(tmp_path: Path, call: Caller) -> Path:
    """A baseline at the better one of two rates."""
    file = tmp_path / "sgd.json"
    command = f"baseline {small.card(tmp_path)} --optimizer sgd --lr 8e-3,1e-5 -o {file} --jobs 1 --quiet"
    assert call(command).code == 0
    return file


def test_update_alone_records_what_the_file_recorded(file: Path, call: Caller) -> None:
    before = stored.read(file)
    assert before.card.stages[-1].lr == {"sgd": {"full": [8e-3], "lora-4": [8e-3]}}
    code, out, err = call(f"baseline -o {file} --update --jobs 1 --quiet")
    assert (code, err) == (0, "")
    assert "What else differs: nothing." in " ".join(out.split())
    assert stored.read(file) == before
    assert call(f"baseline -o {file} --update --seeds 5 --jobs 1 --quiet").code == 0
    fewer = stored.read(file)
    assert (fewer.card.seed_list, fewer.card.stages) == ([0, 1, 2, 3, 4], before.card.stages)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the device that is named is there")
def test_update_alone_does_not_move_a_baseline_to_another_device(file: Path, call: Caller) -> None:
    elsewhere = file.read_text().replace('"device": "cpu"', '"device": "cuda"')
    file.write_text(elsewhere)
    code, _, err = call(f"baseline -o {file} --update --quiet")
    assert code == 2
    assert "is of cuda, which is not here; --device cpu records it for that." in err
    assert file.read_text() == elsewhere


def test_update_alone_needs_a_baseline(tmp_path: Path, call: Caller) -> None:
    """Else AdamW on the default runner would be recorded in the name of another optimizer."""
    file = tmp_path / "b.json"
    for content in (None, '{"format": 2}'):
        if content is not None:
            file.write_text(content)
        code, _, err = call(f"baseline -o {file} --update --quiet")
        assert code == 2
        assert "holds no baseline that --update could record again; say what is recorded with --optimizer" in err


def test_a_change_says_what_to_do(file: Path, call: Caller) -> None:
    """Of the recorded optimizer: how it is accepted; of another one nothing is to be accepted."""
    found = stored.read(file)
    stored.write(
        found.model_copy(update={"card": found.card.model_copy(update={"arguments": {"sgd": {"momentum": 0.5}}})}), file
    )
    code, out, _ = call(f"check {file} --quiet")
    assert code == 1
    said = " ".join(out.split())
    assert "--level behaviour tells whether what is learned and forgotten changed, too. Is the change meant: " in said
    assert f"synthbench baseline -o {file} --update, and commit" in said
    for form in ("json", "markdown", "github"):
        assert "Is the change meant" in call(f"check {file} --quiet --format {form}").out
    assert "Is the change meant" not in call(f"check {file} --optimizer adamw --quiet").out


def test_an_optimizer_that_is_gone_may_be_named(file: Path, tmp_path: Path, call: Caller) -> None:
    (tmp_path / "mine.py").write_text("import torch\n\n\nclass New(torch.optim.SGD):\n    pass\n")
    stored.write(stored.read(file).model_copy(update={"optimizer": f"{tmp_path}/mine.py:Old"}), file)
    code, _, err = call(f"check {file}")
    assert code == 2
    assert f"{file}: optimizer {tmp_path}/mine.py has no 'Old'; allowed are New. If it was renamed or moved" in err


@pytest.mark.parametrize(
    ("level", "line", "is_short", "said"),
    [
        ("exact", CHANGED, False, "--level trace tells whether by more than rounding. Is the change meant: "),
        ("behaviour", CHANGED, True, "Is the change meant: synthbench baseline -o 'my file.json' --update"),
        ("trace", OPEN._replace(seeds=float("nan")), False, "--level behaviour compares scores instead."),
        ("behaviour", OPEN, True, "Without --budget all recorded seeds are compared."),
        ("behaviour", OPEN, False, "--update --seeds 40."),
    ],
)
def test_sentences(level: Level, line: Line, is_short: bool, said: str) -> None:
    assert said in (advice.after(level, [line], "my file.json", False, is_short) or "")


@pytest.mark.parametrize("line", [CHANGED._replace(verdict="unchanged"), OPEN._replace(seeds=float("inf"))])
def test_nothing_is_said_where_nothing_helps(line: Line) -> None:
    assert advice.after("behaviour", [line], "b.json", False, False) is None
