"""The example repository: its test passes in its own folder, and its workflow is sound."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from synthbench.gate import comparison
from synthbench.interface.cli import app
from tests.each import each
from tests.gate import small

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "ci"
WORKFLOW = EXAMPLE / ".github" / "workflows" / "behaviour.yml"


def test_its_optimizer_takes_the_first_steps_that_were_recorded() -> None:
    lines = small.begun(EXAMPLE / "baselines" / "lion.json", f"{EXAMPLE}/my_optimizers/__init__.py:Lion")
    assert comparison.overall(lines) == "unchanged"


@pytest.mark.slow
def test_its_own_test_passes_in_its_folder() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "synthbench.gate.pytest_plugin", "-p", "no:cacheprovider", "-v"],
        cwd=EXAMPLE, text=True, capture_output=True, check=False,
        env={"PYTHONPATH": f"{ROOT}:{EXAMPLE}", "PATH": "", "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "test_lion_behaves_as_recorded PASSED" in done.stdout


def test_its_test_has_three_lines() -> None:
    lines = (EXAMPLE / "tests" / "test_behaviour.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) == 3


def test_the_workflow_fits_github_s_schema_and_a_security_linter_finds_nothing() -> None:
    zizmor = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--no-progress", "--persona", "pedantic"]
    for command in ([sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"], zizmor):
        done = subprocess.run([*command, str(WORKFLOW)], text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    content = WORKFLOW.read_text()
    uses = re.findall(r"uses: (\S+)", content)
    assert uses
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", one) for one in uses)
    assert "cache: pip\n" in content


@each("place", ["README.md", ".github/workflows/behaviour.yml"])
def test_every_command_of_the_example_has_its_options(place: str) -> None:
    lines = re.findall(r"(?:^|run: )synthbench (.+?)(?:  +#.*)?$", (EXAMPLE / place).read_text(), re.MULTILINE)
    assert lines
    group = get_command(app)
    for line in lines:
        name, *words = line.split()
        command = group.commands[name]  # type: ignore[attr-defined]
        command.make_context(name, words)
