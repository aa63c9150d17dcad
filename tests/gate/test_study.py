"""The study on a tiny runner: the same functions write the same page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthbench.gate import comparison
from synthbench.gate.behaviour import described
from tests.gate import others, page, regressions, small, study

SIZE = study.Size(pool=22, calibration=10, comparisons=4, traces=2, regressed=6)
SHORT = ("stages.pretrain.steps=8", "stages.finetune.steps=6", 'stages.finetune.update=["full"]')
NAMES = ("AdamW's weight decay coupled", "Newton-Schulz skipped")


@pytest.fixture
def tiny_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study on a tiny runner, with five seeds per side and two regressions."""
    chosen = [regression for regression in regressions.REGRESSIONS if regression.name in NAMES]
    values: dict[Any, dict[str, Any]] = {
        study: {
            "OPTIMIZERS": ("adamw", "muon"), "SEEDS": 5, "SEED_COUNTS": (5, 6), "SAMPLES": 6, "REGRESSIONS": chosen,
            "make_experiment": lambda name, seeds: small.make_experiment(tmp_path, name, seeds=seeds, settings=SHORT),
            "with_other_kernels": lambda name: [comparison.Line("a", "loss", "unchanged", 0.0, 1.0, 2)],
        },
        page: {"REGRESSIONS": chosen, "CALIBRATION": 2, "timings": lambda: [["check", "1 s"]]},
        others: {"rows": lambda: [["a", "unchanged", "b", "unchanged", "0.1", ""]]},
    }  # fmt: skip
    for module, replacements in values.items():
        for name, value in replacements.items():
            monkeypatch.setattr(module, name, value)
    return tmp_path


def cells(text: str) -> dict[str, list[str]]:
    """The rows of the tables of a page: first cell to other cells."""
    rows = ([cell.strip() for cell in line.split("|")[1:]] for line in text.splitlines() if line.count("|") > 2)
    return {first: values for first, *values in rows}


def test_the_page_counts_every_comparison(tiny_study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.main(SIZE, tiny_study / "gate-results")
    rows = cells(capsys.readouterr().out)
    counts = [int(cell) for cell in rows["behaviour, all"][:4]]
    assert counts[0] == sum(counts[1:]) == SIZE.comparisons
    assert counts[2] == 0  # changed
    assert [int(cell) for cell in rows["exact, adamw"][:3]] == [1, 1, 0]
    assert int(rows["trace, muon"][2]) == 0
    for name in NAMES:
        assert "https://github.com/" in rows[name][1]
        assert rows[name][2] == "changed"
    skipped = rows["Newton-Schulz skipped"]
    assert (skipped[4], skipped[5]) == ("100 %", "yes")  # five seeds detect it in all samples, and so do all six


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_worker_processes_have_the_patch(tiny_study: Path) -> None:
    """The real study trains in worker processes."""
    (regression,) = [item for item in regressions.REGRESSIONS if item.name == "Newton-Schulz skipped"]
    before = study.trained("muon", 5, tiny_study / "before")
    after = study.trained("muon", 5, tiny_study / "after", regression)
    assert comparison.overall(comparison.behaviour(before, after, range(5))) == "changed"


def test_null_comparisons_have_disjoint_seeds_and_the_requested_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        comparison, "behaviour", lambda *sides: [{*side.values["full"]["learning"].values()} for side in sides[:2]]
    )
    monkeypatch.setattr(study, "SEEDS", 4)
    pool = described({"full": {"learning": {seed: float(seed) for seed in range(20)}}}, {"full": []}, {})
    compared: list[Any] = list(study.null_comparisons(pool, range(20), 5, np.random.default_rng(0)))
    assert [len(before | after) for before, after in compared] == [8] * 5
    assert all(len(before) == len(after) == 4 for before, after in compared)
    first, second = (before | after for before, after in compared[:2])
    assert not first & second  # of one shuffle


def test_a_subset_renumbers_its_seeds_and_has_its_own_noise() -> None:
    pool = described({"full": {"learning": {0: 0.0, 1: 0.5, 2: 1.0, 3: 0.5}}}, {"full": [4]}, {})
    subset = study.subset(pool, [2, 4, 1])
    assert subset.values == {"full": {"learning": {0: 1.0, 2: 0.5}}}
    assert subset.diverged == {"full": [1]}
    assert subset.noise != pool.noise


def test_the_upper_limit_is_that_of_clopper_and_pearson() -> None:
    assert page.upper(0, 50) == pytest.approx(1 - 0.05 ** (1 / 50))
    assert page.upper(4, 200) == pytest.approx(0.0453, abs=1e-3)
    assert page.upper(3, 3) == 1.0


def test_every_regression_has_a_source_on_github() -> None:
    assert list(page.SOURCES) == [regression.name for regression in regressions.REGRESSIONS]
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+( .+)?", entry) for entry in page.SOURCES.values())
    link = "bitsandbytes#2085](https://github.com/bitsandbytes-foundation/bitsandbytes/issues/2085) (in SGD)"
    assert page.source(page.SOURCES["Muon without nesterov"]).endswith(link)
    assert len(page.SOURCES) == 24
    assert re.search(r"(?i)\b(24|twenty-four) regressions", (study.ROOT / "README.md").read_text())


def test_the_published_error_rates_hold() -> None:
    rows = cells((study.ROOT / "reports" / "gate.md").read_text())
    count, unchanged, changed, *_ = map(int, rows["behaviour, all"][:4])
    assert count >= 200
    assert changed <= 4
    assert unchanged >= 0.9 * count
    for level in ("exact", "trace"):
        counts = [[int(cell) for cell in rows[f"{level}, {name}"][:4]] for name in study.OPTIMIZERS]
        assert sum(row[0] for row in counts) >= 50
        assert all(row[0] == row[1] for row in counts)
    for regression in regressions.REGRESSIONS:
        assert rows[regression.name][2] == "changed", regression.name
    seconds = [int(rows[f"`synthbench check {name}.json`"][0]) for name in study.OPTIMIZERS]
    assert max(seconds) <= 60
