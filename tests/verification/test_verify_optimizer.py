"""`synthbench verify --optimizer` on the command line: every check, settings, failures, invalid input."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench.plugins import registry, testbed
from synthbench.verification import conformance
from synthbench.verification.conformance import CHECKS
from tests.calling import Caller
from tests.each import each


def test_every_check_is_printed_and_a_built_in_optimizer_passes(call: Caller) -> None:
    code, out, err = call("verify --optimizer sgd")
    assert (code, err) == (0, "")
    assert out.endswith("synthbench run --optimizer sgd\n")
    for title in CHECKS:
        assert out.count(title) == 1
    assert out.count("passed") >= len(CHECKS)
    assert "failed" not in out


BROKEN = """
import torch
class Fixed(torch.optim.SGD):
    def step(self, closure=None):
        for group in self.param_groups:
            group["lr"] = 1e-2
        super().step()
class Lazy(torch.optim.SGD):
    def step(self, closure=None): pass
"""


def test_a_failed_check_is_named_and_an_optimizer_that_moves_nothing_is_checked_no_further(
    call: Caller, tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    code, out, err = call(f"verify --optimizer {tmp_path}/mine.py:Fixed")
    assert code == 1
    assert "at rate 0 and weight decay 0" in " ".join(out.replace("│", " ").split())
    assert "mine.py:Fixed" in out
    assert "mine.py:Fixed" in err
    code, out, err = call(f"verify --optimizer {tmp_path}/mine.py:Lazy")
    assert code == 1
    assert out.count("failed") == 1
    assert f" {len(CHECKS) - 1} " in out  # as many checks did not run
    assert not any(title in out for title in list(CHECKS)[1:])
    assert "mine.py:Lazy" in err


NEEDS = """
import torch
class Needs(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-2, *, scale):
        super().__init__(params, {"lr": lr})
        self.scale = scale
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.sub_(group["lr"] * self.scale * p.grad)
"""


def test_an_optimizer_is_checked_with_its_settings(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its argument it cannot be constructed; with a scale of 1e-6 it moves, but lowers no loss."""
    (tmp_path / "mine.py").write_text(NEEDS)
    command = f"verify --optimizer {tmp_path}/mine.py:Needs"
    assert "optimizer.scale=" in " ".join(call(command).out.split())
    code, out, _ = call(f"{command} --set optimizer.scale=1.0 --set routing=hidden")
    assert code == 0
    run_command = out.strip().splitlines()[-1].partition("synthbench ")[2]
    assert run_command.startswith(f"run --optimizer {tmp_path}/mine.py:Needs")
    assert call(f"{run_command} --dry-run").code == 0
    candidate = conformance.candidate(f"{tmp_path}/mine.py:Needs", {"optimizer.scale": 1.0, "routing": "hidden"})
    optimizer = testbed.Quadratic(candidate, conformance.SMALL, "full", [testbed.Run(1, 1e-3)]).optimizer
    assert set(optimizer.routing.values()) == {candidate, registry.BESIDE}
    assert optimizer.arguments.model_dump()["scale"] == 1.0
    lowers = {title: check for title, check in CHECKS.items() if check is conformance.lowers_a_quadratic}
    monkeypatch.setattr(conformance, "CHECKS", lowers)
    code, out, _ = call(f"{command} --set optimizer.scale=1e-6")
    assert code == 1
    assert "100%" in out


@each(
    ("command", "sentence"),
    [
        ("verify", "--optimizer"), ("verify --task wugs --set optimizer.momentum=0.5", "--set"),
        ("verify --optimizer sgd --set routing=hidden", "optimizer.NAME=value"),
        ("verify --optimizer sgd --set optimizer.momentun=0.5", "'momentun'"),
        ("verify --optimizer sgd --set optimizer.momentum=2", "optimizer.momentum = 2"),
        ("verify --optimizer moun", "'muon'"), ("verify --optimizer nowhere.py:Thing", "nowhere.py"),
        ("verify --optimizer torch.optim:Adamaxx", "'Adamax'"),
    ],
)  # fmt: skip
def test_invalid_input_is_one_sentence(call: Caller, command: str, sentence: str) -> None:
    code, out, err = call(command)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1
