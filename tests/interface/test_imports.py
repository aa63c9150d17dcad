"""Commands that train nothing import neither torch nor plotting libraries, and change no result."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.reliability.program import results
from tests.reporting import synthetic_results
from tests.reporting.test_comparison import scores_of

ROOT = Path(__file__).parents[2]
CODE = """
import sys
from pathlib import Path
from synthbench.interface.outcome import outcome
def content():
    return {path: path.read_bytes() for path in Path("results").iterdir() if path.suffix in (".db", ".toml")}
before = content()
for command, excluded in (
    ("export-data grokking", {"torch", "scipy", "pyarrow", "datasets", "matplotlib"}),
    ("compare muon adamw --out results", {"torch", "matplotlib"}),
    ("run results/runner.toml --optimizer adamw,muon --device cpu --out results --quiet", {"torch", "matplotlib"}),
):
    sys.argv = ["synthbench", *command.split()]
    assert outcome() == 0, command
    assert not excluded & set(sys.modules), command
    assert command.startswith("run") or content() == before, command
import synthbench.interface.commands
assert "matplotlib" not in sys.modules
"""


def test_commands_that_train_nothing_import_no_torch_and_change_no_result(tmp_path: Path) -> None:
    folder = synthetic_results.write(tmp_path / "results", scores_of)
    before = results(folder)
    process = subprocess.run(
        [sys.executable, "-c", CODE], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    assert len(before) > 10
    assert results(folder) == before
