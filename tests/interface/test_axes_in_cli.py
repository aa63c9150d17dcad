"""An axis through the front door: run, resume, add a value, report, compare, export, figures."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests import tiny
from tests.calling import Caller

AXIS = "--axis stages.pretrain.weight_decay=0,0.5"


@pytest.fixture
def folder(tmp_path: Path, call: Caller) -> Path:
    card = tiny.write(tmp_path)
    out = tmp_path / "results"
    completed = call(f"run {shlex.quote(str(card))} {AXIS} --out {out} --quiet")
    assert completed.code == 0, completed.err
    assert "weight-decay" in completed.out
    return tmp_path


def test_an_axis_is_resumed_extended_reported_compared_and_exported(folder: Path, call: Caller) -> None:
    card, out = folder / "runner.toml", folder / "results"
    assert "all were done before" in call(f"run {card} {AXIS} --out {out} --dry-run").out
    assert call(f"run {card} {AXIS},1 --out {out} --dry-run").out.splitlines()[0] == "pretrain: 2 runs, 24 run-steps"
    rows = json.loads(call(f"report --out {out} --format json").out)["rows"]
    assert [row["weight-decay"] for row in rows] == [0, 0.5]
    assert all(row["base_facts"] is not None for row in rows)
    compared = call(f"compare weight-decay=0 weight-decay=0.5 --columns learning --out {out} --format json")
    assert [(row["a"], row["b"]) for row in json.loads(compared.out)["rows"]] == [
        ("weight-decay=0", "weight-decay=0.5")
    ]
    runs = [json.loads(line) for line in call(f"export --out {out}").out.splitlines()]
    assert {(run["stage"], run["axis_values"]["weight-decay"]) for run in runs} == {
        (stage, decay) for stage in ("pretrain", "finetune") for decay in (0, 0.5)
    }
    drawn = call(f"report --out {out} --figures {folder / 'figures'}")
    assert drawn.code == 0
    assert (folder / "figures" / "axis-weight-decay.svg").is_file()


def test_a_yes_or_no_stays_one(tmp_path: Path, call: Caller) -> None:
    card, out = tiny.write(tmp_path), tmp_path / "results"
    command = f"run {shlex.quote(str(card))} --axis model.tied=true,false --out {out}"
    assert "tied true" in call(f"{command} --dry-run").out
    assert call(f"{command} --quiet").code == 0
    rows = json.loads(call(f"report --out {out} --format json").out)["rows"]
    assert [row["tied"] for row in rows] == [True, False]
    compared = call(f"compare tied=true tied=false --columns learning --out {out} --format json")
    assert [(row["a"], row["b"]) for row in json.loads(compared.out)["rows"]] == [("tied=true", "tied=false")]
