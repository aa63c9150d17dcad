"""Seeds that diverge, lose a value or their weights: no baseline that could never decide, no check that skips them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from synthbench.gate import compared
from synthbench.gate.baseline import Baseline
from synthbench.gate.behaviour import described
from tests.calling import Caller
from tests.gate import small


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Baseline:
    return small.baseline(tmp_path_factory.mktemp("seeds"))


def nobody(places: Iterable[str]) -> dict[str, list[int]]:
    return {where: [] for where in places}


def with_diverged(recorded: Baseline, seeds: list[int]) -> Baseline:
    seen = recorded.behaviour
    values = {
        where: {name: {s: v for s, v in by_seed.items() if s not in seeds} for name, by_seed in own.items()}
        for where, own in seen.values.items()
    }
    return recorded.model_copy(update={"behaviour": described(values, dict.fromkeys(values, seeds), seen.curves)})


def test_a_seed_that_a_budget_leaves_out_is_not_missed(recorded: Baseline) -> None:
    before = with_diverged(recorded, [5]).behaviour
    after = before.model_copy(update={"diverged": nobody(before.diverged)})
    lines = compared.behaviour(before, after, range(5))
    assert {line.verdict for line in lines if line.what == "diverged"} == {"unchanged"}
    lines = compared.behaviour(before, after, range(6))
    assert {line.verdict for line in lines if line.what == "diverged"} == {"could not tell"}


def test_a_score_that_many_seeds_lose_is_not_unchanged(recorded: Baseline) -> None:
    values = {where: {"learning": dict.fromkeys(range(16), 0.5)} for where in recorded.behaviour.values}
    before = described(values, nobody(values), recorded.behaviour.curves)
    for lost, verdict in ((2, "unchanged"), (3, "could not tell")):
        less = {where: {"learning": dict.fromkeys(range(lost, 16), 0.5)} for where in values}
        after = described(less, nobody(values), recorded.behaviour.curves)
        assert compared.overall(compared.behaviour(before, after, range(16))) == verdict


def test_five_seeds_that_all_explode_are_a_change() -> None:
    assert compared.diverged("a", [], range(5), 5).verdict == "changed"
    assert compared.diverged("a", [], range(4), 5).verdict == "could not tell"


@pytest.mark.parametrize(
    ("rate", "said"),
    [("stages.pretrain.lr=[1e6]", "All runs of pretrain"), ("stages.finetune.lr=[1e6]", "All runs of finetune")],
)
def test_where_all_diverges_there_is_nothing_to_record(rate: str, said: str, call: Caller, tmp_path: Path) -> None:
    code, _, err = call(f"baseline {small.card(tmp_path)} --optimizer sgd -o {tmp_path}/b.json --set {rate} --quiet")
    assert code == 3
    assert said in err
    assert not (tmp_path / "b.json").exists()


def test_results_without_weights_are_no_baseline(call: Caller, tmp_path: Path) -> None:
    card = small.card(tmp_path)
    assert call(f"run {card} --optimizer adamw --out {tmp_path}/r --keep-weights none --quiet").code == 0
    code, _, err = call(f"baseline {card} --optimizer adamw --results {tmp_path}/r -o {tmp_path}/b.json --quiet")
    assert code == 3
    assert "were kept (--keep-weights all)" in err
