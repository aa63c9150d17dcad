"""`import synthbench` in a script and in a notebook: worker processes train a class that is defined there."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from nbclient import NotebookClient

import synthbench
from synthbench import BadInput
from tests import tiny
from tests.calling import TINY, Caller
from tests.each import each

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
CELLS = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
CALL = 'synthbench.run("quick", optimizer=[Signum, "adamw"], seeds=3, update="full")'  # in the notebook

# Without a __main__ guard: a worker that ran the script would train, too. The last line prints the rows, the start time of
# every run of the class, and the command.
SCRIPT = """
print("once")
import synthbench
import torch

class Mine(torch.optim.SGD):
    \"""Gradient descent.\"""
    def __init__(self, params, lr=1e-2, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter -= FACTOR * group["lr"] * parameter.grad

results = synthbench.run("runner.toml", optimizer=[Mine, "adamw"], seeds=1, jobs=1, quiet=True)
rows = [(row["optimizer"], row["runs"], row["diverged"]) for row in results.rows()]
mine = {run["run"]: run["started"] for run in results.runs() if run["optimizer"] == "Mine"}
print((rows, mine, results.report.command))
"""


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("cards"))


@pytest.fixture(scope="module")
def results(runner: Path) -> synthbench.Results:
    """Two optimizers with two rates and two seeds each."""
    out = runner.parent / "results"
    return synthbench.run(runner, optimizer=["sgd", "adamw"], lr=[1e-3, 1e-2], seeds=2, out=out, quiet=True)


def test_a_class_of_a_script_is_trained_by_a_worker_and_again_after_an_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """First in a new process, whose worker does not run the script; then unchanged and edited in this process."""
    monkeypatch.chdir(tmp_path)
    tiny.write(tmp_path)
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT.replace("FACTOR", "1.0"))
    process = subprocess.run(
        [sys.executable, "mine.py"], env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, "")
    once, last_line = process.stdout.splitlines()
    rows, mine, command = eval(last_line)
    assert once == "once"
    assert rows == [("Mine", 2, 0), ("adamw", 2, 0)]
    assert len(mine) == 3  # pretrained once, finetuned at two rates
    assert command.startswith("synthbench.run('runner.toml', optimizer=['Mine', 'adamw'], seeds=1")

    def again(factor: str) -> dict[str, str]:
        script.write_text(SCRIPT.replace("FACTOR", factor))
        runpy.run_path("mine.py", run_name="__main__")
        rows_again, mine_again, _ = eval(capfd.readouterr().out.splitlines()[-1])
        assert rows_again == rows
        return dict(mine_again)

    assert again("1.0") == mine  # nothing was trained
    edited = again("0.5")
    assert len(edited) == 3
    assert not edited.keys() & mine.keys()
    assert again("1.0") == mine


def test_the_example_notebook_has_no_outputs_and_its_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runner: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in NOTEBOOK.cells)
    code = "\n".join(cell.source for cell in CELLS)
    assert CALL in code
    (tmp_path / "cells.py").write_text(code.replace('"quick"', repr(str(runner))))
    results = runpy.run_path("cells.py", run_name="__main__")["results"]
    for shown in (results, results.compare("adamw")):
        assert "Signum" in shown._repr_html_()


@pytest.mark.slow
def test_the_example_notebook_trains_its_class_and_shows_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs every cell, with fewer steps."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shorter = CALL.replace(")", f", settings={TINY}, quiet=True)")
    sources = [*(cell.source.replace(CALL, shorter) for cell in CELLS), "print(results)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [[output for output in cell.outputs if output.output_type != "stream"] for cell in notebook.cells]
    assert [len(cell_outputs) for cell_outputs in outputs] == [0, 1, 1, 1, 1, 0]
    for (table,) in outputs[1:3]:
        assert "<table>" in table.data["text/html"]
        assert "Signum" in table.data["text/html"]
    printed = "".join(output.text for output in notebook.cells[-1].outputs)
    assert outputs[1][0].data["text/plain"].strip() == printed.strip()
    assert all(f" {word} " in printed for word in ("Signum", "adamw", "rule", "forgetting"))


def test_rows_have_every_score_with_its_interval_and_the_table_is_the_printed_one(
    results: synthbench.Results, call: Caller
) -> None:
    rows = results.rows()
    assert [(row["optimizer"], row["n"], row["runs"]) for row in rows] == [("adamw", 2, 4), ("sgd", 2, 4)]
    for row in rows:
        for score in results.report.card.columns:
            assert {score, f"{score}_low", f"{score}_high", f"{score}_n"} <= row.keys()
        assert row["learning_low"] <= row["learning"] <= row["learning_high"]
    code, out, _ = call(f"report --out {results.report.folder}")
    assert code == 0
    assert results.table().splitlines()[:8] == out.splitlines()[:8]
    assert str(results) == results.table()


def test_a_comparison_is_paired_over_seeds(results: synthbench.Results) -> None:
    differences = {row["score"]: row for row in results.compare("adamw", "sgd").rows()}
    means = {row["optimizer"]: row["learning"] for row in results.rows()}
    assert differences["learning"]["difference"] == pytest.approx(means["sgd"] - means["adamw"], abs=1e-4)
    assert results.compare("adamw").rows() == results.compare("adamw", "sgd").rows()
    assert "sgd" in results.compare("adamw").sentence


def test_runs_include_pretraining_and_to_pandas_holds_the_rows(
    results: synthbench.Results, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = results.runs()
    assert len(runs) == sum(row["runs"] for row in results.rows()) + 4  # and the four pretraining runs
    assert {run["stage"] for run in runs} == {"pretrain", "finetune"}
    frame = results.to_pandas()
    assert list(frame.optimizer) == ["adamw", "sgd"]
    assert set(frame.columns) == set(results.rows()[0])
    assert len(results.compare("adamw").to_pandas()) == len(results.compare("adamw").rows())
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BadInput, match="pip install pandas"):
        results.to_pandas()


@each(
    ("options", "expected"),
    [
        ({"optimizer": "muno"}, "'muon'"),
        ({"optimizer": 3}, "optimizer 3"),
        ({"optimizer": dict}, r"torch\.optim\.Optimizer"),
        ({"jobs": 0}, "--jobs 0"),
        ({"settings": {"stages.finetune.stps": 3}}, "'steps'"),
        ({"seeds": 0}, "seeds"),
    ],
)
def test_a_mistake_raises_an_exception_of_one_line(
    tmp_path: Path, runner: Path, options: dict[str, Any], expected: str
) -> None:
    with pytest.raises(BadInput, match=expected) as caught:
        synthbench.run(runner, **{"out": tmp_path / "results"} | options)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert not (tmp_path / "results").exists()


def test_results_are_of_the_call_and_not_of_the_folder(tmp_path: Path, runner: Path) -> None:
    def run(*optimizers: Any) -> synthbench.Results:
        return synthbench.run(runner, optimizer=optimizers, out=tmp_path, seeds=1, lr=1e-3, quiet=True)

    with pytest.raises(BadInput, match=r"torch\.optim:NAdam were run"):
        run(torch.optim.NAdam).compare(torch.optim.NAdam)
    results = run(torch.optim.RAdam, "sgd")
    assert [row["optimizer"] for row in results.rows()] == ["sgd", "torch.optim:RAdam"]
    assert {run["optimizer"] for run in results.runs()} == {"sgd", "torch.optim:RAdam"}
    assert "torch.optim:RAdam" in results.compare("sgd").sentence
    assert results.compare("sgd", torch.optim.RAdam).rows() == results.compare("sgd").rows()
    with pytest.raises(BadInput, match=r"optimizer=.* torch\.optim:RAdam, sgd"):
        results.compare("muon")


def test_the_package_is_typed_and_lists_its_names_without_importing_torch() -> None:
    code = "import sys, synthbench; print(set(synthbench.__all__) <= set(dir(synthbench)), 'torch' in sys.modules)"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["True", "False"]
    assert (ROOT / "synthbench" / "py.typed").exists()
