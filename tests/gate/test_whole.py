"""Baselines that were edited, cut or merged: refused, never passed because less was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from synthbench.common.errors import BadInput
from synthbench.gate import stored
from synthbench.gate.baseline import Baseline
from tests.calling import Caller

NOTHING = object()  # in place of a value: it is deleted
FULL, TRACED = "behaviour.values.finetune/full", "trace.values.pretrain/full"
# What is put where, and what is named.
CHANGES: list[tuple[str, Any, str]] = [
    ("tasks", {}, "card"),
    ("card.tasks", ["a", "b"], "card"),
    ("rule.name", "muon", "rule"),
    ("card.stages.1.lr.adamw.full", NOTHING, "card.stages.finetune.lr"),
    ("card.stages.1.lr.adamw.full", [1e-3, 2e-3], "card.stages.finetune.lr"),
    ("card.stages.0.lr", [1e-3], "card.stages.pretrain.lr"),
    ("card.stages.1.weight_decay", [0.0, 0.1], "card.stages.finetune"),
    ("card.stages.1.sizes", [1, 0.5], "card.stages.finetune"),
    ("card.stages.1.for", {"adamw": {"weight_decay": [0.0, 0.1]}}, "card.stages.finetune"),
    *(("trace.seeds", seeds, "trace.seeds") for seeds in ([], [0, 99], [0, 0])),
    ("trace.values.finetune/full", NOTHING, "trace.values"),
    ("trace.digests.pretrain/full", NOTHING, "trace.digests"),
    ("trace.digests.pretrain/full", ["0"], "trace.digests.pretrain/full"),
    ("trace.floors.pretrain/full.loss", NOTHING, "trace.floors.pretrain/full"),
    ("trace.floors.pretrain/full.loss", 0.0, "trace.floors.pretrain/full"),
    ("trace.floors.pretrain/full.more", 1.0, "trace.floors.pretrain/full"),
    (f"{TRACED}.loss", NOTHING, TRACED),
    (f"{TRACED}.loss.0", NOTHING, TRACED),
    (f"{TRACED}.loss", [[1.0], [1.0]], TRACED),
    (TRACED, {"loss": [[1.0] * 3] * 2}, TRACED),
    (FULL, NOTHING, "behaviour.values"),
    (FULL, {}, FULL),
    (f"{FULL}.learning", NOTHING, "noise"),
    (f"{FULL}.learning.3", NOTHING, "diverged"),
    ("behaviour.noise.pretrain/full.early_loss", NOTHING, "noise"),
    ("behaviour.noise.finetune/full.learning", 1e9, "behaviour.noise.finetune/full"),
]


def changed(text: str, path: str, value: Any) -> str:
    """A baseline's text with a value at a path, whose parts dots separate."""
    whole = content = json.loads(text)
    *where, last = path.split(".")
    for part in where:
        content = content[int(part) if isinstance(content, list) else part]
    key: Any = int(last) if isinstance(content, list) else last
    if value is NOTHING:
        del content[key]
    else:
        content[key] = value
    return json.dumps(whole)


def test_what_is_missing_is_named_and_nothing_is_trained(recorded: Baseline, tmp_path: Path, call: Caller) -> None:
    whole, file = stored.text(recorded), tmp_path / "b.json"
    file.write_text(whole)
    stored.read(file)
    for path, value, said in CHANGES:
        file.write_text(changed(whole, path, value))
        with pytest.raises(BadInput) as raised:
            stored.read(file)
        assert said in str(raised.value).removeprefix(str(file)), (path, value)
    file.write_text(changed(whole, "trace.seeds", []))
    for level in ("exact", "trace", "behaviour"):
        assert call(f"check {file} --level {level}")[:2] == (2, "")
