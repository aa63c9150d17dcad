"""The pytest plug-in, used by another test suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from synthbench.gate import baseline as baselines
from synthbench.gate.baseline import Baseline

TESTS = """
import torch

class Mine(torch.optim.AdamW):
    pass

class Broken(torch.optim.AdamW):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

def test_mine_behaves(synthbench_check):
    assert synthbench_check("adamw", optimizer=Mine).verdict == "unchanged"

def test_broken_does_not(synthbench_check):
    synthbench_check("adamw", optimizer=Broken)

def test_no_such_file(synthbench_check):
    synthbench_check("adamv")
"""


def test_the_fixture_checks_a_class_and_a_baseline_file_is_a_test(
    recorded: Baseline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "baselines").mkdir()
    baselines.write(recorded, tmp_path / "baselines" / "adamw.json")
    (tmp_path / "test_mine.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "test_mine", None)  # undoes the import after the test
    del sys.modules["test_mine"]
    plugins = [f"-p{name}" for name in ("synthbench.gate.pytest_plugin", "no:cacheprovider", "no:faulthandler")]
    command = [*plugins, "--color=no", "-v", "--synthbench-baseline", "baselines/adamw.json"]
    code = pytest.main(command)
    out = capfd.readouterr().out
    assert code == 1
    for text in ("test_mine_behaves PASSED", "test_broken_does_not FAILED", "Broken", "from step", "adamv.json",
                 "synthbench check baselines/adamw PASSED", "2 failed, 2 passed"):  # fmt: skip
        assert text in out, text
    assert "During handling of the above exception" not in out
    assert pytest.main([*command, "--synthbench-level", "traces", "-k", "mine_behaves"]) == 1
    assert "--level 'traces' is not allowed; did you mean 'trace'?" in capfd.readouterr().out


def test_the_installed_plug_in_is_found_and_has_no_heavy_imports(tmp_path: Path) -> None:
    code = """
import sys, pytest
assert pytest.main(["--help"]) == 0
assert "synthbench.gate.pytest_plugin" in sys.modules
print("HEAVY", sorted({"torch", "numpy", "scipy", "pydantic"} & sys.modules.keys()))
"""
    completed = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, check=True, env={"PATH": ""}
    )
    assert "--synthbench-baseline=FILE" in completed.stdout
    assert "synthbench_baselines" in completed.stdout
    assert completed.stdout.endswith("HEAVY []\n")
