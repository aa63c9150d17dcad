"""The gate in somebody's test suite: their pytest is run, with this package's plug-in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from synthbench.gate import stored
from tests.gate import small

ROOT = Path(__file__).resolve().parents[2]
CLASSES = """
import torch

class Mine(torch.optim.AdamW):
    pass

class Broken(torch.optim.AdamW):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.01):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)
"""
TESTS = """
from mine import Broken, Mine

def test_mine_behaves(synthbench_check):
    assert synthbench_check("adamw", optimizer=Mine).verdict == "unchanged"

def test_broken_does_not(synthbench_check):
    synthbench_check("adamw", optimizer=Broken)

def test_no_such_file(synthbench_check):
    synthbench_check("adamv")
"""


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    (folder / "baselines").mkdir()
    stored.write(small.baseline(folder), folder / "baselines" / "adamw.json")
    (folder / "mine.py").write_text(CLASSES)
    (folder / "test_mine.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    return folder


def run(suite: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "synthbench.gate.pytest_plugin", "-p", "no:cacheprovider", *words]
    return subprocess.run(
        command, cwd=suite, text=True, capture_output=True, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip


def test_a_fixture_gates_a_class_in_a_line(suite: Path) -> None:
    done = run(suite, "-v")
    assert done.returncode == 1, done.stderr
    assert "test_mine_behaves PASSED" in done.stdout
    assert "test_broken_does_not FAILED" in done.stdout
    assert "Changed: mine:Broken against" in done.stdout
    assert "from step" in done.stdout
    assert "adamv.json is not a file; make one with" in done.stdout
    assert "During handling of the above exception" not in done.stdout
    assert "2 failed, 1 passed" in done.stdout


def test_a_baseline_is_a_test_of_its_own(suite: Path) -> None:
    done = run(suite, "-v", "--synthbench-baseline", "baselines/adamw.json", "-k", "synthbench")
    assert done.returncode == 0, done.stdout
    assert "synthbench check baselines/adamw PASSED" in done.stdout
    assert "1 passed, 3 deselected" in done.stdout


def test_the_plug_in_is_offered_and_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'scipy', 'pydantic'} & sys.modules.keys()"
    code = f"import sys, synthbench.gate.pytest_plugin; print(sorted({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pytest_finds_the_plug_in_by_itself_where_the_package_is_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--help"]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, check=True, env={"PATH": ""})
    assert "--synthbench-baseline=FILE" in done.stdout
    assert "synthbench_baselines" in done.stdout
