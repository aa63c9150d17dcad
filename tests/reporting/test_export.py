"""`export --format paths`: a line for each run, step and score, as a plot needs them."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from synthbench.experiment.runs import Run
from tests.calling import Caller
from tests.reporting import synthetic_results

PAGE = Path(__file__).parents[2] / "docs" / "results.md"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def scored(run: Run) -> dict[str, float]:
        return {"learning": 0.3 + 0.1 * run.seed, "forgetting": 0.25}

    return synthetic_results.write(tmp_path_factory.mktemp("results"), scored, synthetic_results.TWO_RATES)


def test_paths_have_every_score_at_every_step_of_every_run(call: Caller, out: Path) -> None:
    code, text, _ = call(f"export --out {out} --format paths")
    assert code == 0
    points = {(p["run"], int(p["step"]), p["score"]): float(p["value"]) for p in csv.DictReader(io.StringIO(text))}
    runs = json.loads(call(f"export --out {out} --format json").out)
    assert points == {
        (run["run"], point["step"], name): value
        for run in runs
        for point in run["path"]
        for name, value in point["scores"].items()
    }
    assert len(points) == len(text.splitlines()) - 1 > 0


def test_a_path_has_no_score_that_is_not_read_along_it(call: Caller, tmp_path: Path) -> None:
    def scored(run: Run) -> dict[str, float]:
        return {"learning": 0.3, "bits_per_param": 0.2, "dataset_bits_per_param": 0.4}

    out = synthetic_results.write(tmp_path, scored)
    runs = json.loads(call(f"export --out {out} --format json").out)
    assert {name for run in runs for point in run["path"] for name in point["scores"]} == {"fit", "learning"}
    assert {run["scores"]["bits_per_param"] for run in runs if run["stage"] == "finetune"} == {0.2}
    points = csv.DictReader(io.StringIO(call(f"export --out {out} --format paths").out))
    assert {point["score"] for point in points} == {"fit", "learning"}


def test_a_run_names_the_rows_that_it_belongs_to_and_those_that_chose_it(call: Caller, tmp_path: Path) -> None:
    """AdamW learns most at the greatest rate. `slow` has one of its rates, `own` pretrains with other random numbers."""
    variants = ("variants.slow={of='adamw', lr=[1e-3]}", "variants.own={of='adamw', base='own', salt='own'}")
    settings = (*variants, synthetic_results.FULL_UPDATE, synthetic_results.TWO_RATES)

    def scored(run: Run) -> dict[str, float]:
        return {"validation_learning": 100 * run.lr}

    out = synthetic_results.write(tmp_path, scored, *settings, optimizers=["adamw", "slow", "own"])
    runs = json.loads(call(f"export --out {out} --format json").out)
    found = {(run["stage"], run["lr"], *run["rows"]): run["chosen_by"] for run in runs}
    assert found == {
        ("pretrain", 1e-3, "adamw"): ["adamw"],
        ("pretrain", 1e-3, "own"): ["own"],
        ("finetune", 1e-3, "adamw/adamw", "adamw/slow"): ["adamw/slow"],
        ("finetune", 2e-3, "adamw/adamw"): ["adamw/adamw"],
        ("finetune", 1e-3, "own/own"): [],
        ("finetune", 2e-3, "own/own"): ["own/own"],
    }
    assert all(run["chosen"] is bool(run["chosen_by"]) for run in runs)
    assert {run["edge"] for run in runs if run["rows"] == ["adamw/adamw"]} == {True}
    rows = json.loads(call(f"report --out {out} --format json").out)["rows"]
    assert {f"{row['base']}/{row['optimizer']}" for row in rows} <= {name for run in runs for name in run["rows"]}


def test_the_documented_plot_is_drawn(call: Caller, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "paths.csv").write_text(call(f"export --out {out} --format paths").out)
    (block,) = re.findall(r"^```python\n(import pandas.*?)^```", PAGE.read_text(), re.M | re.S)
    lines = block.rstrip().split("\n")
    names: dict[str, Any] = {}
    exec("\n".join([*lines[:-1], f"axes = {lines[-1]}"]), names)
    drawn = [line.get_label() for line in names["axes"].lines]
    assert drawn == [f"({name}, {lr})" for name in ("adamw", "muon") for lr in (0.001, 0.002)]
