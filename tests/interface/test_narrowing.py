"""`--seeds`, `--update` and `--lr` narrow what is shown, also in a folder that has more."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

import synthbench
from tests import tiny
from tests.calling import Caller

UPDATES = "stages.finetune.update=['full', 'lora-4']"


@pytest.fixture
def filled(call: Caller, tmp_path: Path) -> str:
    """A command on a folder that has two seeds and two updates."""
    command = f"run {tiny.write(tmp_path)} --optimizer adamw --quiet --out {tmp_path}/out"
    assert call(f'{command} --seeds 2 --set "{UPDATES}"').code == 0
    return command


def shown(call: Caller, command: str) -> list[list[str]]:
    """The rows of the table that a command prints: optimizer, update, rate, seeds."""
    code, out, err = call(command)
    assert code == 0, err
    return [line.split()[:4] for line in out.splitlines() if line.startswith("adamw  ")]


def test_options_narrow_the_rows_and_seeds_that_are_shown(call: Caller, filled: str) -> None:
    assert [row[1::2] for row in shown(call, filled)] == [["full", "2"], ["lora-4/16", "2"]]
    assert [row[1::2] for row in shown(call, f"{filled} --update full")] == [["full", "2"]]
    assert [row[1::2] for row in shown(call, f"{filled} --update lora-4 --seeds 1")] == [["lora-4/16", "1"]]
    ((_, _, rate, _),) = shown(call, f"{filled} --update full --lr 5e-3")
    assert rate == "0.005"


def test_a_report_on_the_folder_shows_everything(call: Caller, filled: str, tmp_path: Path) -> None:
    shown(call, f"{filled} --update full --seeds 1")
    rows = [*csv.DictReader(io.StringIO(call(f"report --format csv --out {tmp_path}/out").out))]
    assert [(row["trainable"], row["n"]) for row in rows] == [("full", "2"), ("lora-4", "2")]


def test_python_narrows_alike_and_has_the_sentences_of_the_command_line(
    call: Caller, filled: str, tmp_path: Path
) -> None:
    printed = call(f"{filled} --update full").out
    results = synthbench.run(
        str(tmp_path / "runner.toml"), optimizer="adamw", update="full", out=tmp_path / "out", quiet=True
    )
    assert [(row["trainable"], row["n"]) for row in results.rows()] == [("full", 2)]
    for line in filter(None, results.report.lines):
        assert " ".join(line.split()) in " ".join(printed.split())
        assert " ".join(line.split()) in " ".join(str(results).split())
