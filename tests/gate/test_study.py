"""The study in small: pools, regressions and traces of a tiny runner, through the same functions, onto the same page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthbench.gate import comparison
from synthbench.gate.behaviour import described
from tests.gate import others, page, regressions, small, study

SIZE = study.Size(pool=22, held=10, comparisons=4, traces=2, regressed=6)
SHORT = ("stages.pretrain.steps=8", "stages.finetune.steps=6", 'stages.finetune.update=["full"]')
NAMES = ("AdamW's weight decay coupled", "Newton-Schulz skipped")


@pytest.fixture
def tiny_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study on a tiny runner, with five seeds a side and two regressions."""
    found = [one for one in regressions.REGRESSIONS if one.name in NAMES]
    values: dict[Any, dict[str, Any]] = {
        study: {
            "OPTIMIZERS": ("adamw", "muon"), "SEEDS": 5, "NUMBERS": (5, 6), "DRAWN": 6, "REGRESSIONS": found,
            "experiment": lambda name, seeds: small.experiment(tmp_path, name, seeds=seeds, settings=SHORT),
            "elsewhere": lambda name: [comparison.Line("a", "loss", "unchanged", 0.0, 1.0, 2)],
        },
        page: {"REGRESSIONS": found, "CHOSEN": 2, "timings": lambda: [["check", "1 s"]]},
        others: {"rows": lambda: [["a", "unchanged", "b", "unchanged", "0.1", ""]]},
    }  # fmt: skip
    for module, own in values.items():
        for name, value in own.items():
            monkeypatch.setattr(module, name, value)
    return tmp_path


def cells(text: str) -> dict[str, list[str]]:
    """By its first cell, the other cells of each row of a page's tables."""
    rows = ([cell.strip() for cell in line.split("|")[1:]] for line in text.splitlines() if line.count("|") > 2)
    return {first: others for first, *others in rows}


def test_the_page_counts_what_was_drawn(tiny_study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.main(SIZE, tiny_study / "gate-results")
    rows = cells(capsys.readouterr().out)
    counted = [int(cell) for cell in rows["behaviour, together"][:4]]
    assert counted[0] == sum(counted[1:]) == SIZE.comparisons
    assert counted[2] == 0  # changed
    assert [int(cell) for cell in rows["exact, adamw"][:3]] == [1, 1, 0]
    assert int(rows["trace, muon"][2]) == 0
    for name in NAMES:
        assert "https://github.com/" in rows[name][1]
        assert rows[name][2] == "changed"
    seen = rows["Newton-Schulz skipped"]
    assert (seen[4], seen[5]) == ("100 %", "yes")  # scores of five seeds find it in all draws, and six do


@pytest.mark.slow
@pytest.mark.processes
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_have_what_was_patched(tiny_study: Path) -> None:
    """As in the real study, which trains in processes."""
    one = next(one for one in regressions.REGRESSIONS if one.name == "Newton-Schulz skipped")
    before, after = study.trained("muon", 5, tiny_study / "before"), study.trained("muon", 5, tiny_study / "after", one)
    assert comparison.overall(comparison.behaviour(before, after, range(5))) == "changed"


def test_comparisons_are_of_disjoint_seeds_and_as_many_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        comparison, "behaviour", lambda *sides: [{*one.values["full"]["learning"].values()} for one in sides[:2]]
    )
    monkeypatch.setattr(study, "SEEDS", 4)
    pool = described({"full": {"learning": {seed: float(seed) for seed in range(20)}}}, {"full": []}, {})
    seen: list[Any] = list(study.unchanged(pool, range(20), 5, np.random.default_rng(0)))
    assert [len(one | other) for one, other in seen] == [8] * 5
    assert all(len(one) == len(other) == 4 for one, other in seen)
    first, second = (one | other for one, other in seen[:2])
    assert not first & second  # of one shuffle


def test_a_part_calls_its_seeds_anew_and_the_upper_limit_is_clopper_and_pearson_s() -> None:
    pool = described({"full": {"learning": {0: 0.0, 1: 0.5, 2: 1.0, 3: 0.5}}}, {"full": [4]}, {})
    found = study.part(pool, [2, 4, 1])
    assert found.values == {"full": {"learning": {0: 1.0, 2: 0.5}}}
    assert found.diverged == {"full": [1]}
    assert found.noise != pool.noise  # its own
    assert page.upper(0, 50) == pytest.approx(1 - 0.05 ** (1 / 50))
    assert page.upper(4, 200) == pytest.approx(0.0453, abs=1e-3)
    assert page.upper(3, 3) == 1.0


def test_sources_are_of_repositories_and_what_is_not_quite_the_bug_is_said() -> None:
    assert list(page.SOURCES) == [one.name for one in regressions.REGRESSIONS]
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+#\d+( .+)?", one) for one in page.SOURCES.values())
    link = "bitsandbytes#2085](https://github.com/bitsandbytes-foundation/bitsandbytes/issues/2085) (in SGD)"
    assert page.said(page.SOURCES["Muon without nesterov"]).endswith(link)
    assert len(page.SOURCES) == 24
    assert re.search(r"(?i)\b(24|twenty-four) regressions", (study.ROOT / "README.md").read_text())


def test_the_published_figures_hold() -> None:
    rows = cells((study.ROOT / "reports" / "gate.md").read_text())
    count, unchanged, changed, *_ = map(int, rows["behaviour, together"][:4])
    assert count >= 200
    assert changed <= 4
    assert unchanged >= 0.9 * count
    for level in ("exact", "trace"):
        counts = [[int(cell) for cell in rows[f"{level}, {name}"][:4]] for name in study.OPTIMIZERS]
        assert sum(one[0] for one in counts) >= 50
        assert all(one[0] == one[1] for one in counts)
    for one in regressions.REGRESSIONS:
        assert rows[one.name][2] == "changed", one.name
    seconds = [int(rows[f"`synthbench check {name}.json`"][0]) for name in study.OPTIMIZERS]
    assert max(seconds) <= 60
