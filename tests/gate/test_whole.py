"""Baselines that were edited, cut or merged: refused in a sentence, never passed because less was measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthbench.gate import stored
from tests.calling import Caller
from tests.gate import small

Content = dict[str, Any]


def put(path: str, value: Any) -> Callable[[Content], None]:
    """A change: a value at a path, its parts separated by dots with slashes left as they are."""

    def change(content: Content) -> None:
        *where, last = path.split(".")
        for part in where:
            content = content[int(part) if isinstance(content, list) else part]
        content[last] = value

    return change


def cut(path: str) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        *where, last = path.split(".")
        for part in where:
            content = content[int(part) if isinstance(content, list) else part]
        del content[int(last) if isinstance(content, list) else last]

    return change


def shorter(content: Content) -> None:
    """Every trace of a cell cut in the same way."""
    cell = content["trace"]["values"]["pretrain/full"]
    content["trace"]["values"]["pretrain/full"] = {name: [row[:3] for row in rows] for name, rows in cell.items()}


CHANGES: dict[str, tuple[Callable[[Content], None], str]] = {
    "no tasks": (put("tasks", {}), "card must be of one task"),
    "two tasks": (put("card.tasks", ["a", "b"]), "card must be of one task"),
    "another optimizer": (put("rule.name", "muon"), "the optimizer that rule names"),
    "no rate": (cut("card.stages.1.lr.adamw.full"), "card.stages.finetune.lr must have one rate for each update"),
    "two rates": (put("card.stages.1.lr.adamw.full", [1e-3, 2e-3]), "must have one rate for each update"),
    "a list of rates": (put("card.stages.0.lr", [1e-3]), "card.stages.pretrain.lr"),
    "two decays": (put("card.stages.1.weight_decay", [0.0, 0.1]), "must have one weight decay and one size"),
    "two sizes": (put("card.stages.1.sizes", [1, 0.5]), "must have one weight decay and one size"),
    "decays of its own": (put("card.stages.1.for", {"adamw": {"weight_decay": [0.0, 0.1]}}), "and nothing under for"),
    "no traced seeds": (put("trace.seeds", []), "trace.seeds must be the first"),
    "other traced seeds": (put("trace.seeds", [0, 99]), "trace.seeds must be the first"),
    "a cell less": (cut("trace.values.finetune/full"), "trace.values must have finetune/full, finetune/lora-4, pretrain"),
    "a cell of digests less": (cut("trace.digests.pretrain/full"), "trace.digests must have"),
    "a digest less": (put("trace.digests.pretrain/full", ["0"]), "trace.digests.pretrain/full must have one for each"),
    "a quantity less": (lambda content: content["trace"]["values"]["pretrain/full"].pop("update.hidden"),
                        "trace.floors.pretrain/full must have a floor"),
    "a seed's row less": (cut("trace.values.pretrain/full.loss.0"), "trace.values.pretrain/full must have a row"),
    "a shorter row": (put("trace.values.pretrain/full.loss", [[1.0], [1.0]]), "a row of"),
    "a floor of 0": (put("trace.floors.pretrain/full.loss", 0.0), "a floor above 0"),
    "an update less": (cut("behaviour.values.finetune/full"), "behaviour.values must have finetune/full, finetune/lora-4"),
    "no scores": (put("behaviour.values.finetune/full", {}), "behaviour.values.finetune/full must have scores"),
    "a score less": (cut("behaviour.values.finetune/full.learning"), "each with its noise"),
    "another noise": (put("behaviour.noise.finetune/full.learning", 1e9), "behaviour.noise.finetune/full must be that of"),
    "a seed traced twice": (put("trace.seeds", [0, 0]), "trace.seeds must be the first"),
    "shorter rows": (shorter, "a row of"),
    "a noise less": (cut("behaviour.noise.pretrain/full.early_loss"), "each with its noise"),
    "a seed less": (cut("behaviour.values.finetune/full.learning.3"), "every seed that is not among the diverged"),
}  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole")
    return stored.text(small.baseline(folder))


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_missing_is_named_and_nothing_is_trained(name: str, written: str, call: Caller, tmp_path: Path) -> None:
    change, said = CHANGES[name]
    content = json.loads(written)
    change(content)
    (tmp_path / "b.json").write_text(json.dumps(content))
    for level in ("trace", "behaviour"):
        code, out, err = call(f"check {tmp_path}/b.json --level {level}")
        assert (code, out) == (2, "")
        assert said in err


def test_as_it_was_written_it_is_whole(written: str, call: Caller, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text(written)
    assert call(f"check {tmp_path}/b.json").code == 0
