"""The study in small: pools, regressions and traces of a tiny runner, through the same functions, onto the same page."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from synthbench.experiment.plan import Experiment
from synthbench.experiment.resolve import Asked
from synthbench.gate import compared, subject
from synthbench.gate.baseline import BehaviourCard
from synthbench.gate.behaviour import described
from tests.gate import cost, others, page, regressions, small, study
from tests.gate.sources import SOURCES

SIZE = study.Size(pool=48, held=16, comparisons=8, traces=4, regressed=8)
NAMES = ("AdamW's weight decay coupled", "Newton-Schulz skipped")


@pytest.fixture
def tiny_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The study on a tiny runner, with eight seeds a side and two regressions."""
    card = small.card(tmp_path)

    def experiment(optimizer: str, seeds: int) -> Experiment:
        return subject.to_record(Asked(card, [optimizer], seeds=seeds, device="cpu"))

    monkeypatch.setattr(study, "experiment", experiment)
    monkeypatch.setattr(study, "OPTIMIZERS", ("adamw", "muon"))
    monkeypatch.setattr(study, "SEEDS", 8)
    monkeypatch.setattr(study, "NUMBERS", (5, 8))
    found = [one for one in regressions.REGRESSIONS if one.name in NAMES]
    monkeypatch.setattr(others, "rows", lambda: [["a", "unchanged", "b", "unchanged", "0.1", ""]])
    monkeypatch.setattr(study, "elsewhere", lambda name: [compared.Line("a", "loss", "unchanged", 0.0, 1.0, 2)])
    monkeypatch.setattr(page, "CHOSEN", 4)
    monkeypatch.setattr(cost, "rows", lambda: [["check", "1 s"]])
    for module in (study, page):
        monkeypatch.setattr(module, "REGRESSIONS", found)
    return tmp_path


def test_the_page_counts_what_was_drawn(tiny_study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.main(SIZE, tiny_study / "gate-results")
    text = capsys.readouterr().out
    rows = {cells[1].strip(): cells for line in text.splitlines() if len(cells := line.split("|")) > 3}
    assert int(rows["behaviour, together"][2]) == 8
    assert int(rows["behaviour, together"][4]) == 0  # changed
    assert [int(cell) for cell in rows["exact, adamw"][2:5]] == [2, 2, 0]
    assert int(rows["trace, muon"][4]) == 0
    for name in NAMES:
        assert rows[name][4].strip() == "changed"
        assert "https://github.com/" in rows[name][3]


def test_comparisons_are_of_disjoint_seeds_and_as_many_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[set[float], set[float]]] = []

    def note(before: BehaviourCard, after: BehaviourCard, seeds: range) -> list[compared.Line]:
        values = [{*one.values["full"]["learning"].values()} for one in (before, after)]
        seen.append((values[0], values[1]))
        return []

    monkeypatch.setattr(compared, "behaviour", note)
    monkeypatch.setattr(study, "SEEDS", 4)
    pool = described({"full": {"learning": {seed: float(seed) for seed in range(20)}}}, {"full": []}, {})
    assert len(list(study.unchanged(pool, range(20), 5, np.random.default_rng(0)))) == 5
    assert all(len(one) == len(other) == 4 and not one & other for one, other in seen)
    first, second = (one | other for one, other in seen[:2])
    assert not first & second  # of one shuffle


def test_a_part_calls_its_seeds_anew_and_has_noise_of_its_own() -> None:
    pool = described({"full": {"learning": {0: 0.0, 1: 0.5, 2: 1.0, 3: 0.5}}}, {"full": [4]}, {})
    found = study.part(pool, [2, 4, 1])
    assert found.values == {"full": {"learning": {0: 1.0, 2: 0.5}}}
    assert found.diverged == {"full": [1]}
    assert found.noise != pool.noise


def test_the_upper_limit_is_clopper_and_pearson_s() -> None:
    assert page.upper(0, 50) == pytest.approx(1 - 0.05 ** (1 / 50))
    assert page.upper(4, 200) == pytest.approx(0.0453, abs=1e-3)
    assert page.upper(3, 3) == 1.0


def test_sources_are_of_repositories_and_what_is_not_quite_the_bug_is_said() -> None:
    assert list(SOURCES) == [one.name for one in regressions.REGRESSIONS]
    for one in SOURCES.values():
        repository, _, number = one.place.partition("#")
        assert repository.count("/") == 1
        assert number.isdigit()
    said = page.said(SOURCES["Muon without nesterov"])
    assert said.endswith(
        "bitsandbytes#2085](https://github.com/bitsandbytes-foundation/bitsandbytes/issues/2085) (in SGD)"
    )
    assert len(regressions.REGRESSIONS) == 24
    assert "Twenty-four regressions after bugs that somebody shipped" in (study.ROOT / "README.md").read_text()
    assert Counter(one.name for one in regressions.REGRESSIONS).most_common(1)[0][1] == 1


def test_the_published_figures_hold() -> None:
    text = (study.ROOT / "reports" / "gate.md").read_text()
    rows = {
        cells[1].strip(): [cell.strip() for cell in cells[2:]]
        for line in text.splitlines()
        if len(cells := line.split("|")) > 3
    }
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


def test_other_kernels_move_a_trace_by_rounding_alone() -> None:
    lines = study.elsewhere("muon")
    assert compared.overall(lines) == "unchanged"
    assert 0 < max(line.difference / line.allowed for line in lines) < 0.5
