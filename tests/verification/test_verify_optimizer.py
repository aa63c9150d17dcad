"""`synthbench verify --optimizer` through the front door: every check, settings, what failed, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench import plugins
from synthbench.verification import conformance, world
from synthbench.verification.conformance import CHECKS
from synthbench.verification.settled import settled
from tests.calling import Caller


def test_the_front_door_prints_every_check_and_passes_a_sound_rule(call: Caller) -> None:
    code, out, err = call("verify --optimizer sgd")
    assert (code, err) == (0, "")
    assert out.count("passed") == len(CHECKS) + 1
    assert out.endswith(f"All {len(CHECKS)} checks passed; next: synthbench run --optimizer sgd\n")
    for title in CHECKS:
        assert title in out


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


def test_the_front_door_names_what_failed_and_exits_with_1(call: Caller, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    code, out, err = call(f"verify --optimizer {tmp_path}/mine.py:Fixed")
    assert code == 1
    assert "at rate 0 and weight decay 0" in " ".join(out.replace("│", " ").split())
    assert "mine.py:Fixed" in out
    assert "checks failed" in err


def test_what_moves_nothing_is_tried_no_further(call: Caller, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    code, out, err = call(f"verify --optimizer {tmp_path}/mine.py:Lazy")
    assert code == 1
    assert out.count("failed") == 1
    assert f"The other {len(CHECKS) - 1} checks were not tried." in out
    assert not any(title in out for title in list(CHECKS)[1:])
    assert err.strip().endswith("mine.py:Lazy: the first check failed; the others were not tried.")


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


def test_an_optimizer_is_checked_with_what_it_is_given(call: Caller, tmp_path: Path) -> None:
    """Without its argument it cannot be made; with a scale of 1e-6 it moves, and lowers nothing."""
    (tmp_path / "mine.py").write_text(NEEDS)
    command = f"verify --optimizer {tmp_path}/mine.py:Needs"
    assert "needs the argument 'scale'" in " ".join(call(command).out.split())
    code, out, _ = call(f"{command} --set optimizer.scale=1.0 --set routing=hidden")
    assert (code, out.count("passed")) == (0, len(CHECKS) + 1)
    last = out.strip().splitlines()[-1]
    assert last.startswith(
        f"All {len(CHECKS)} checks passed; next: synthbench run --optimizer {tmp_path}/mine.py:Needs"
    )
    assert call(f"{last.partition('next: synthbench ')[2]} --dry-run").code == 0
    code, out, _ = call(f"{command} --set optimizer.scale=1e-6")
    assert code == 1
    assert "of the loss of" in " ".join(out.split())


def test_a_routing_that_is_given_is_that_which_is_checked(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(NEEDS)
    candidate = conformance.taken(f"{tmp_path}/mine.py:Needs")
    settings = ["optimizer.scale=1.0", "routing=hidden"]
    candidate = settled(candidate, settings)
    moved = world.Quadratic(candidate.name, conformance.SMALL, "full", [world.Run(1, 1e-3)]).optimizer
    assert set(moved.routing.values()) == {candidate.name, plugins.BESIDE}
    assert moved.arguments.model_dump()["scale"] == 1.0
    assert candidate.arguments["scale"] == 1.0


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("verify", "give a run (the beginning of its id), or --optimizer"),
        ("verify --task wugs --set optimizer.momentum=0.5", "--set goes with --optimizer alone"),
        ("verify --optimizer sgd --set routing=hidden", "allowed are optimizer.NAME=value"),
        ("verify --optimizer sgd --set optimizer.momentun=0.5", "--set: sgd has no argument 'momentun'"),
        ("verify --optimizer sgd --set optimizer.momentum=2", "--set: optimizer.momentum = 2: must be less than 1"),
        ("verify --optimizer moun", "did you mean 'muon'"),
        ("verify --optimizer nowhere.py:Thing", "nowhere.py is not a file"),
        ("verify --optimizer torch.optim:Adamaxx", "did you mean 'Adamax'"),
    ],
)
def test_what_cannot_be_verified_is_one_sentence(call: Caller, command: str, said: str) -> None:
    code, out, err = call(command)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
