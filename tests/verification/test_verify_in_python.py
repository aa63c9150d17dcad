"""`synthbench.verify(...)`: what the command prints, as an object."""

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
from tests.reliability.program import say


class Fixed(torch.optim.SGD):
    """Ignores the rate that it is given."""

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["lr"] = 1e-2
        super().step()


class Idle(torch.optim.SGD):
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        pass


def test_an_optimizer_that_passes(call: Caller) -> None:
    found = verify("sgd", settings={"optimizer.momentum": 0.5})
    assert found.passed
    assert found.failure is None
    assert [(check.name, check.passed, check.message) for check in found.checks] == [
        (name, True, "") for name in CHECKS
    ]
    assert (found.curves, found.diverges_at) == (None, None)
    command = "verify --optimizer sgd --set optimizer.momentum=0.5"
    assert call(command).out == f"{found!r}\n"


@each(("broken", "count"), [(Fixed, len(CHECKS)), (Idle, 1)])
def test_a_class_that_fails(broken: type, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "UPDATES", ("full",))
    found = verify(broken)
    (failed,) = [check for check in found.checks if not check.passed]
    assert (found.passed, len(found.checks), found.untried) == (False, count, len(CHECKS) - count)
    assert failed.message
    assert f"{failed.name}: full: " in " ".join(repr(found).split())
    assert broken.__name__ in str(found.failure)


def test_a_task(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthbench.verification.tasks.elsewhere", lambda task: "it differs")
    found = verify(task="modular")
    assert [check.message for check in found.checks if not check.passed] == ["it differs"]
    printed = call("verify --task modular")
    assert (printed.code, printed.out) == (1, f"{found!r}\n")
    assert str(found.failure) in printed.err


def test_a_run(tmp_path: Path, call: Caller) -> None:
    how = "--seeds 1 --lr 1e-3 --update full --device cpu --jobs 1 --keep-weights all --quiet"
    assert say(f"run {tiny.write(tmp_path)} --optimizer sgd --out {tmp_path}/out {how}").code == 0
    with closing(Store.read(tmp_path / "out")) as store:
        run = next(name for name, identity in store.identities().items() if identity["stage"] == "finetune")
    torch.set_num_threads(2)
    found = verify(run=run, out=tmp_path / "out", steps=4)
    assert torch.get_num_threads() == 2
    assert found.curves is not None
    assert (found.passed, found.diverges_at, found.checks) == (True, None, [])
    assert len(found.curves.fleet) == len(found.curves.plain) == 4
    assert found.curves.fleet == pytest.approx(found.curves.plain, rel=1e-5)
    assert call(f"verify {run[:16]} --out {tmp_path}/out --steps 4").out == f"{found!r}\n"


@each(
    ("how", "named"),
    [
        ({}, "--optimizer"), ({"optimizer": "sgd", "task": "wugs"}, "--task"), ({"run": "a", "steps": 0}, "steps = 0"),
        ({"task": "wugs", "settings": {"optimizer.momentum": 0.5}}, "--set"), ({"optimizer": 3}, "3 is neither"),
        ({"optimizer": "sgd", "settings": {"stages.finetune.steps": 5}}, "optimizer.NAME=value"),
    ],
)  # fmt: skip
def test_what_cannot_be_verified_is_refused(how: dict[str, Any], named: str) -> None:
    with pytest.raises(BadInput, match=named):
        verify(**how)
