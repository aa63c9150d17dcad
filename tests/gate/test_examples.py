"""The example repository: its test passes in its folder, and its workflow is valid."""

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


def test_the_optimizer_of_the_example_repeats_its_recorded_first_steps() -> None:
    lines = small.check_first_steps(EXAMPLE / "baselines" / "lion.json", f"{EXAMPLE}/my_optimizers/__init__.py:Lion")
    assert comparison.overall(lines) == "unchanged"


@pytest.mark.slow
def test_the_test_of_the_example_passes_in_its_folder() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "synthbench.gate.pytest_plugin", "-p", "no:cacheprovider", "-v"],
        cwd=EXAMPLE, text=True, capture_output=True, check=False,
        env={"PYTHONPATH": f"{ROOT}:{EXAMPLE}", "PATH": "", "OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert completed.returncode == 0, completed.stdout
    assert "test_lion_behaves_as_recorded PASSED" in completed.stdout


def test_the_test_of_the_example_has_three_lines() -> None:
    lines = (EXAMPLE / "tests" / "test_behaviour.py").read_text().splitlines()
    assert len([line for line in lines if line.strip()]) == 3


def test_the_workflow_passes_the_schema_of_github_and_a_security_linter() -> None:
    zizmor = [str(Path(sys.executable).with_name("zizmor")), "--offline", "--no-progress", "--persona", "pedantic"]
    for command in ([sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"], zizmor):
        completed = subprocess.run([*command, str(WORKFLOW)], text=True, capture_output=True, check=False)
        assert completed.returncode == 0, completed.stdout + completed.stderr
    content = WORKFLOW.read_text()
    actions = re.findall(r"uses: (\S+)", content)
    assert actions
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action) for action in actions)
    assert "cache: pip\n" in content


@each("file", ["README.md", ".github/workflows/behaviour.yml"])
def test_every_command_of_the_example_parses(file: str) -> None:
    lines = re.findall(r"(?:^|run: )synthbench (.+?)(?:  +#.*)?$", (EXAMPLE / file).read_text(), re.MULTILINE)
    assert lines
    group = get_command(app)
    for line in lines:
        name, *arguments = line.split()
        command = group.commands[name]  # type: ignore[attr-defined]
        command.make_context(name, arguments)
