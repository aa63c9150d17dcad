"""Baselines that were edited, cut or merged are refused by their seal, whatever the edit: no check passes on less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synthbench.common.errors import BadInput
from synthbench.gate import baseline as baselines
from synthbench.gate.baseline import Baseline
from tests.calling import Caller
from tests.gate import small

NOTHING = object()  # in place of a value: it is deleted
CHANGES: list[tuple[str, Any]] = [
    ("tasks", {}),
    ("card.stages.1.lr.adamw.full", [1e-3, 2e-3]),
    ("trace.seeds", []),
    ("trace.floors.pretrain/full.loss", 1.0),
    ("trace.values.pretrain/full.loss.0", NOTHING),
    ("behaviour.values.finetune/full", {}),
    ("behaviour.values.finetune/full.learning.3", NOTHING),
    ("behaviour.noise.finetune/full.learning", 1e9),
    ("seal", NOTHING),
]


def changed(text: str, path: str, value: Any) -> str:
    """A baseline's text with a value at a path, whose parts dots separate."""
    root = content = json.loads(text)
    *above, last = path.split(".")
    for part in above:
        content = content[int(part) if isinstance(content, list) else part]
    key: Any = int(last) if isinstance(content, list) else last
    if value is NOTHING:
        del content[key]
    else:
        content[key] = value
    return json.dumps(root)


def test_every_edit_is_refused_and_nothing_is_trained(recorded: Baseline, tmp_path: Path, call: Caller) -> None:
    text, file = baselines.text(recorded), tmp_path / "b.json"
    for path, value in CHANGES:
        file.write_text(changed(text, path, value))
        with pytest.raises(BadInput, match=r"b\.json was edited or merged by hand.*--overwrite"):
            baselines.read(file)
    for level in ("exact", "trace", "behaviour"):
        assert call(f"check {file} --level {level}")[:2] == (2, "")


def test_formatting_is_no_edit(recorded: Baseline, tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    file.write_text(json.dumps(json.loads(baselines.text(recorded)), indent=4, sort_keys=True))
    assert baselines.read(file) == recorded


def test_a_number_that_is_none_is_no_json(recorded: Baseline, tmp_path: Path) -> None:
    """Where the card's schema takes any value, too."""
    (tmp_path / "b.json").write_text(changed(baselines.text(recorded), "card.arguments.adamw", {"eps": float("nan")}))
    with pytest.raises(BadInput, match=r"b\.json is no baseline: it is not JSON"):
        baselines.read(tmp_path / "b.json")


def test_an_edited_baseline_is_overwritten_by_a_new_record_and_by_no_other(
    recorded: Baseline, tmp_path: Path, call: Caller
) -> None:
    """Its experiment is not to be trusted, so it is named anew."""
    file = tmp_path / "b.json"
    file.write_text(edited := changed(baselines.text(recorded), "card.stages.1.steps", 3))
    code, _, err = call(f"baseline -o {file} --overwrite --quiet")
    assert (code, "--optimizer" in err, file.read_text()) == (2, True, edited)
    again = f"baseline {small.card(tmp_path)} --optimizer adamw --seeds 5 {small.FULL} -o {file} --overwrite"
    assert call(f"{again} --jobs 1 --quiet").code == 0
    assert baselines.read(file).card.stages[1].steps != 3
