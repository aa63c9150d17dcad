"""The seal of a baseline: a file that was edited, truncated or merged is rejected, whatever the edit."""

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

DELETED = object()  # in place of a value: the key is deleted
CHANGES: list[tuple[str, Any]] = [
    ("tasks", {}),
    ("card.stages.1.lr.adamw.full", [1e-3, 2e-3]),
    ("trace.seeds", []),
    ("trace.floors.pretrain/full.loss", 1.0),
    ("trace.values.pretrain/full.loss.0", DELETED),
    ("behaviour.values.finetune/full", {}),
    ("behaviour.values.finetune/full.learning.3", DELETED),
    ("behaviour.noise.finetune/full.learning", 1e9),
    ("seal", DELETED),
]


def edited(text: str, path: str, value: Any) -> str:
    """The text of a baseline with another value at a dotted path."""
    root = content = json.loads(text)
    *keys, last = path.split(".")
    for key in keys:
        content = content[int(key) if isinstance(content, list) else key]
    last_key: Any = int(last) if isinstance(content, list) else last
    if value is DELETED:
        del content[last_key]
    else:
        content[last_key] = value
    return json.dumps(root)


def test_every_edit_is_rejected_before_training(recorded: Baseline, tmp_path: Path, call: Caller) -> None:
    text, file = baselines.text(recorded), tmp_path / "b.json"
    for path, value in CHANGES:
        file.write_text(edited(text, path, value))
        with pytest.raises(BadInput, match=r"b\.json was edited or merged by hand.*--overwrite"):
            baselines.read(file)
    for level in ("exact", "trace", "behaviour"):
        assert call(f"check {file} --level {level}")[:2] == (2, "")


def test_reformatting_is_not_an_edit(recorded: Baseline, tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    file.write_text(json.dumps(json.loads(baselines.text(recorded)), indent=4, sort_keys=True))
    assert baselines.read(file) == recorded
    file.write_text(baselines.text(recorded), encoding="utf-8-sig")  # an editor of Windows
    assert baselines.read(file) == recorded


def test_nan_is_rejected_as_invalid_json(recorded: Baseline, tmp_path: Path) -> None:
    """Also where the schema of the card accepts any value."""
    (tmp_path / "b.json").write_text(edited(baselines.text(recorded), "card.arguments.adamw", {"eps": float("nan")}))
    with pytest.raises(BadInput, match=r"b\.json is no baseline: it is not JSON"):
        baselines.read(tmp_path / "b.json")


def test_overwriting_an_edited_baseline_needs_its_experiment_on_the_command_line(
    recorded: Baseline, tmp_path: Path, call: Caller
) -> None:
    """The experiment in the file cannot be trusted."""
    file = tmp_path / "b.json"
    file.write_text(tampered := edited(baselines.text(recorded), "card.stages.1.steps", 3))
    code, _, err = call(f"baseline -o {file} --overwrite --quiet")
    assert (code, "--optimizer" in err, file.read_text()) == (2, True, tampered)
    command = f"baseline {small.card(tmp_path)} --optimizer adamw --seeds 5 {small.FULL} -o {file} --overwrite"
    assert call(f"{command} --jobs 1 --quiet").code == 0
    assert baselines.read(file).card.stages[1].steps != 3
