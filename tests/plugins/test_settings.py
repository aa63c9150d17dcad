"""Settings of the process that a plug-in changes are put back, named once, and recorded with its results."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import optimizer as torch_optimizer

from synthbench.plugins import settings
from synthbench.plugins.settings import PRECISION, Setting, preserved_settings
from tests import tiny
from tests.calling import Caller
from tests.each import each

LATE = """
import torch
SEEN = []

class Late(torch.optim.SGD):
    "Changes settings at a step that no trial takes."
    steps = 0
    def step(self, closure=None):
        self.steps += 1
        SEEN.append((self.steps, torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()))
        super().step()
        if self.steps == 8:
            torch.set_float32_matmul_precision("high")
            torch.use_deterministic_algorithms(True)
"""


def changes() -> dict[str, Callable[[], Any]]:
    """A change of every setting, by its name."""
    backends = torch.backends
    return {
        "threads": lambda: torch.set_num_threads(3),
        "default dtype": lambda: torch.set_default_dtype(torch.bfloat16),
        "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
        "gradients": lambda: torch.set_grad_enabled(False),
        "default device": lambda: torch.set_default_device("meta"),
        "anomaly detection": lambda: torch.autograd.set_detect_anomaly(True),
        "denormal numbers": lambda: torch.set_flush_denormal(True),
        "hooks of optimizer steps": lambda: torch_optimizer.register_optimizer_step_post_hook(lambda *_: None),
        PRECISION: lambda: torch.set_float32_matmul_precision("medium"),
        "cudnn.benchmark": lambda: setattr(backends.cudnn, "benchmark", not backends.cudnn.benchmark),
        "cudnn.deterministic": lambda: setattr(backends.cudnn, "deterministic", not backends.cudnn.deterministic),
        "random numbers of torch": lambda: torch.rand(1),
        "random numbers of numpy": lambda: np.random.random(),
        "random numbers of Python": random.random,
        "environment": lambda: os.environ.update(OMP_SCHEDULE="static", HOME="elsewhere"),
    }


def readings() -> dict[str, tuple[Any, ...]]:
    """What every setting is, by name."""
    values: dict[str, tuple[Any, ...]] = {}
    for setting in [*settings._settings(), *settings._slow_settings()]:
        values[setting.name] = (*values.get(setting.name, ()), settings._read(setting))
    return values


def test_every_setting_is_put_back_and_named() -> None:
    before = readings()
    assert changes().keys() == before.keys()
    for name, change in changes().items():
        with preserved_settings() as changed:
            change()
            assert settings._differs(before[name], readings()[name]), name
        assert changed == [name]
        after = readings()
        assert [other for other in after if settings._differs(before[other], after[other])] == [], name


def test_settings_are_put_back_after_an_error_and_unchanged_ones_are_not_named() -> None:
    with pytest.raises(ZeroDivisionError), preserved_settings() as changed:  # noqa: PT012
        torch.set_default_dtype(torch.float64)
        raise ZeroDivisionError
    assert (torch.get_default_dtype(), changed) == (torch.float32, ["default dtype"])
    with preserved_settings() as changed:
        torch.set_default_dtype(torch.float64)
        torch.set_default_dtype(torch.float32)
    assert changed == []


def test_what_is_changed_within_is_reported_outside_once() -> None:
    with preserved_settings() as outer:
        for _ in range(2):
            with preserved_settings(every=False) as inner:
                torch.set_default_dtype(torch.float64)
            assert (inner, torch.get_default_dtype()) == (["default dtype"], torch.float32)
        random.random()
    assert outer == ["default dtype", "random numbers of Python"]


def test_a_setting_that_cannot_be_read_or_put_back_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch's getters of precision raise once their old and new names are mixed."""
    readable = iter([True, False])

    def get() -> int:
        if next(readable, False):
            return 1
        raise RuntimeError("mix of the legacy and new APIs")

    def put(value: Any) -> None:
        raise RuntimeError("what")

    never = Setting("never read", lambda: 1 / 0, put)
    monkeypatch.setattr(settings, "_settings", lambda: [Setting("mixed", get, put), never])
    with preserved_settings(every=False) as changed:
        pass
    assert changed == ["mixed"]


@each("path", [f"{place}.fp32_precision".lstrip(".") for place in settings.PLACES])
def test_each_new_name_of_the_precision_is_put_back(path: str) -> None:
    *folders, name = path.split(".")
    owner: Any = torch.backends
    for folder in folders:
        owner = getattr(owner, folder)
    before, value = readings(), getattr(owner, name)
    with preserved_settings() as changed:
        setattr(owner, name, "ieee" if value != "ieee" else "tf32")
        assert getattr(owner, name) != value
    assert (readings()[PRECISION], changed) == (before[PRECISION], [PRECISION])


def test_settings_changed_late_in_training_are_put_back_before_the_next_step_recorded_and_said_once(
    call: Caller, tmp_path: Path
) -> None:
    (tmp_path / "late.py").write_text(LATE)
    optimizer, out = f"--optimizer {tmp_path}/late.py:Late", f"--out {tmp_path}/out"
    code, _, err = call(f"run {tiny.write(tmp_path)} {optimizer} --jobs 1 --quiet {out}")
    assert code == 0, err
    names = f"deterministic algorithms, {PRECISION}"
    assert err == f"synthbench: late.py:Late changed settings in training that were put back: {names}.\n"
    (seen,) = [module.SEEN for module in sys.modules.values() if "Late" in vars(module)]
    assert max(step for step, *_ in seen) == 12  # some come after the change
    assert {(precision, is_deterministic) for _, precision, is_deterministic in seen} == {("highest", False)}
    runs = [json.loads(line) for line in call(f"export --format jsonl {out}").out.splitlines()]
    assert {run["versions"]["put back after late.py:Late"] for run in runs} == {names}
