"""`import synthbench` in a script and in a notebook: a class that is defined there is trained by worker processes."""

from __future__ import annotations

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
from tests.calling import TINY, Caller

ROOT = Path(__file__).resolve().parents[1]
MINE = '''
import torch

class Mine(torch.optim.SGD):
    """Plain descent, as its author has it."""
    def __init__(self, params, lr=1e-2, weight_decay=0.0, scale=1.0):
        super().__init__(params, lr=lr * scale, weight_decay=weight_decay)
'''
CALL = f'synthbench.run("quick", optimizer=[Mine, "adamw"], seeds=1, update="full", settings={TINY}, quiet=True)'


def run_tiny(out: Path, **how: Any) -> synthbench.Results:
    return synthbench.run("quick", **{"settings": TINY, "quiet": True, "seeds": 2, "update": "full", "out": out} | how)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> synthbench.Results:
    return run_tiny(tmp_path_factory.mktemp("python"), optimizer=["sgd", "adamw"], lr=[1e-3, 1e-2])


def test_a_script_s_own_class_is_trained_by_workers_that_do_not_run_the_script(tmp_path: Path) -> None:
    """Unguarded lines, two worker processes: each line of the script runs once."""
    (tmp_path / "mine.py").write_text(
        f"print('once')\nimport synthbench\n{MINE}\nfound = {CALL}\nprint(found.table())\n"
        "print([(row['optimizer'], row['runs']) for row in found.rows()])\nprint(found.report.command)\n"
    )
    done = subprocess.run(
        [sys.executable, "mine.py"], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""}, text=True,
        capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("once") == 1
    assert "[('Mine', 5), ('adamw', 3)]" in done.stdout
    assert "synthbench.run('quick', optimizer=['Mine', 'adamw'], update='full', seeds=1" in done.stdout.splitlines()[-1]


def test_the_example_notebook_trains_its_class_and_draws_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cell by cell as it is, but for the steps."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    told = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in told.cells)
    cells = [cell for cell in told.cells if cell.cell_type == "code"]
    assert 'update="full")' in cells[1].source
    cells[1].source = cells[1].source.replace('update="full")', f'update="full", settings={TINY}, quiet=True)')
    cells.append(nbformat.v4.new_code_cell("print(results)"))
    told.cells = cells
    NotebookClient(told, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    drawn = [[output for output in cell.outputs if output.output_type != "stream"] for cell in cells]
    assert [len(one) for one in drawn] == [0, 1, 1, 1, 1, 0]
    for (one,) in drawn[1:3]:
        assert "<table>" in one.data["text/html"]
        assert "Signum" in one.data["text/html"]
    printed = "".join(output.text for output in cells[-1].outputs)
    assert drawn[1][0].data["text/plain"].strip() == printed.strip()
    assert "learning ↑" in printed


def test_rows_hold_every_score_of_the_card_with_its_interval(results: synthbench.Results) -> None:
    rows = results.rows()
    assert [(row["optimizer"], row["n"], row["runs"]) for row in rows] == [("adamw", 2, 4), ("sgd", 2, 4)]
    for row in rows:
        for score in results.report.card.columns:
            assert {score, f"{score}_low", f"{score}_high", f"{score}_n"} <= row.keys()
        assert row["learning_low"] <= row["learning"] <= row["learning_high"]


def test_the_table_is_that_of_the_command_line(results: synthbench.Results, call: Caller) -> None:
    code, out, _ = call(f"report --out {results.report.folder}")
    assert code == 0
    assert results.table().splitlines()[:8] == out.splitlines()[:8]
    assert str(results) == results.table()


def test_a_comparison_is_paired_over_seeds(results: synthbench.Results) -> None:
    found = {row["score"]: row for row in results.compare("adamw", "sgd").rows()}
    means = {row["optimizer"]: row["learning"] for row in results.rows()}
    assert found["learning"]["difference"] == pytest.approx(means["sgd"] - means["adamw"], abs=1e-4)
    assert results.compare("adamw").rows() == results.compare("adamw", "sgd").rows()
    assert "sgd" in results.compare("adamw").sentence


def test_runs_hold_every_path(results: synthbench.Results) -> None:
    runs = results.runs()
    assert len(runs) == sum(row["runs"] for row in results.rows()) + 4  # and what they were pretrained by
    assert {run["stage"] for run in runs} == {"pretrain", "finetune"}


def test_a_data_frame_has_the_rows(results: synthbench.Results) -> None:
    frame = results.to_pandas()
    assert list(frame.optimizer) == ["adamw", "sgd"]
    assert set(frame.columns) == set(results.rows()[0])
    assert len(results.compare("adamw").to_pandas()) == len(results.compare("adamw").rows())


def test_without_pandas_it_says_what_to_install(results: synthbench.Results, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BadInput, match="pip install pandas"):
        results.to_pandas()


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"optimizer": "muno"}, "did you mean 'muon'"),
        ({"optimizer": 3}, "neither a name nor a class"),
        ({"optimizer": dict}, "no torch.optim.Optimizer class"),
        ({"jobs": 0}, "--jobs 0 must be"),
        ({"settings": {"stages.finetune.stps": 3}}, "did you mean 'steps'"),
        ({"seeds": 0}, "seeds"),
    ],
)
def test_a_mistake_is_an_exception_of_one_sentence(tmp_path: Path, how: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        run_tiny(tmp_path, **how)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_comparing_with_itself_says_what_is_missing(tmp_path: Path) -> None:
    alone = run_tiny(tmp_path, optimizer="adamw", lr=1e-3, seeds=1)
    with pytest.raises(BadInput, match="run another optimizer, too"):
        alone.compare("adamw")


EDITED = """
import sys
import torch
import synthbench

class Mine(torch.optim.SGD):
    def __init__(self, params, lr=1e-2, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter -= FACTOR * group["lr"] * parameter.grad

for seeds in map(int, sys.argv[1:]):
    found = synthbench.run("quick", optimizer=Mine, seeds=seeds, lr=1e-2, update="full", settings=SETTINGS, jobs=1)
    (row,) = (row for row in found.rows() if row["optimizer"] == "Mine")
    print(row["n"], row["runs"], row["diverged"], len(found.runs()))
"""


def test_runs_of_edited_code_replace_those_of_before_and_a_class_run_twice_is_the_same(tmp_path: Path) -> None:
    """Five rates of pretraining and one of finetuning a seed."""

    def script(factor: float, *seeds: int) -> tuple[list[str], str]:
        text = EDITED.replace("FACTOR", str(factor)).replace("SETTINGS", str(TINY))
        (tmp_path / "mine.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "mine.py", *map(str, seeds)], cwd=tmp_path, env={"PYTHONPATH": str(ROOT), "PATH": ""},
            text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines(), done.stderr

    out, err = script(1.0, 1, 1)
    assert out == ["1 1 0 6", "1 1 0 6"]
    assert [line.split()[:2] for line in err.splitlines() if "run-steps in" in line] == [["6", "runs,"]]
    assert err.count("All runs were done before; nothing is trained.") == 1
    out, err = script(0.5, 1)
    assert out == ["1 1 0 6"]
    assert "nothing is trained" not in err
    out, err = script(1.0, 1)  # as it was
    assert out == ["1 1 0 6"]
    assert "nothing is trained" in err


def test_results_are_those_of_the_call_not_of_the_folder(tmp_path: Path) -> None:
    mine = {"lr": [1e-3, 1e-2], "out": tmp_path, "seeds": 1}
    run_tiny(optimizer=torch.optim.NAdam, **mine)
    found = run_tiny(optimizer=[torch.optim.RAdam, "sgd"], **mine)
    assert [row["optimizer"] for row in found.rows()] == ["sgd", "torch.optim:RAdam"]
    assert {run["optimizer"] for run in found.runs()} == {"sgd", "torch.optim:RAdam"}
    assert "torch.optim:RAdam" in found.compare("sgd").sentence
    assert found.compare("sgd", torch.optim.RAdam).rows() == found.compare("sgd").rows()
    with pytest.raises(BadInput, match=r"say which with optimizer=: torch\.optim:RAdam, sgd"):
        found.compare("muon")


def test_the_package_is_typed_and_lists_its_names_without_importing_torch() -> None:
    code = "import sys, synthbench; print(set(synthbench.__all__) <= set(dir(synthbench)), 'torch' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["True", "False"]
    assert (ROOT / "synthbench" / "py.typed").exists()
