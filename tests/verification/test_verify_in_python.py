"""`synthbench.verify(...)` returns as an object what the command prints."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from synthbench.common.errors import BadInput
from synthbench.store.results import Store
from synthbench.verification import conformance
from synthbench.verification.api import verify
from synthbench.verification.conformance import CHECKS
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.reliability.program import invoke


class Fixed(torch.optim.SGD):
    """Ignores its learning rate."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["lr"] = 1e-2
        super().step()


class Idle(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        pass


def test_an_optimizer_that_passes(call: Caller) -> None:
    result = verify("sgd", settings={"optimizer.momentum": 0.5})
    assert result.passed
    assert result.failure is None
    assert [(check.name, check.passed, check.message) for check in result.checks] == [
        (name, True, "") for name in CHECKS
    ]
    assert (result.curves, result.diverges_at) == (None, None)
    command = "verify --optimizer sgd --set optimizer.momentum=0.5"
    assert call(command).out == f"{result!r}\n"


@each(("broken", "count"), [(Fixed, len(CHECKS)), (Idle, 1)])
def test_a_class_that_fails(broken: type, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "UPDATES", ("full",))
    result = verify(broken)
    (failed,) = [check for check in result.checks if not check.passed]
    assert (result.passed, len(result.checks), result.untried) == (False, count, len(CHECKS) - count)
    assert failed.message
    assert f"{failed.name}: full: " in " ".join(repr(result).split())
    assert broken.__name__ in str(result.failure)


def test_a_task(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthbench.verification.tasks.elsewhere", lambda task: "it differs")
    result = verify(task="grokking")
    assert [check.message for check in result.checks if not check.passed] == ["it differs"]
    printed = call("verify --task grokking")
    assert (printed.code, printed.out) == (1, f"{result!r}\n")
    assert str(result.failure) in printed.err


def test_a_run(tmp_path: Path, call: Caller) -> None:
    options = "--seeds 1 --lr 1e-3 --update full --device cpu --jobs 1 --keep-weights all --quiet"
    assert invoke(f"run {tiny.write(tmp_path)} --optimizer sgd --out {tmp_path}/out {options}").code == 0
    with closing(Store.read(tmp_path / "out")) as store:
        run = next(name for name, identity in store.identities().items() if identity["stage"] == "finetune")
    torch.set_num_threads(2)
    result = verify(run=run, out=tmp_path / "out", steps=4)
    assert torch.get_num_threads() == 2
    assert result.curves is not None
    assert (result.passed, result.diverges_at, result.checks) == (True, None, [])
    assert len(result.curves.fleet) == len(result.curves.plain) == 4
    assert result.curves.fleet == pytest.approx(result.curves.plain, rel=1e-5)
    assert call(f"verify {run[:16]} --out {tmp_path}/out --steps 4").out == f"{result!r}\n"


@each(
    ("arguments", "message"),
    [
        ({}, "--optimizer"), ({"optimizer": "sgd", "task": "wugs"}, "--task"), ({"run": "a", "steps": 0}, "steps = 0"),
        ({"task": "wugs", "settings": {"optimizer.momentum": 0.5}}, "--set"), ({"optimizer": 3}, "3 is neither"),
        ({"optimizer": "sgd", "settings": {"stages.finetune.steps": 5}}, "optimizer.NAME=value"),
    ],
)  # fmt: skip
def test_invalid_arguments_are_rejected(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        verify(**arguments)
