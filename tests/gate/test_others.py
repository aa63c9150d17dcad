"""Optimizers from elsewhere at the gate, on a tiny runner: against baselines of their own and against their references."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from synthbench.gate import compared
from tests.gate import others, small
from tests.gate.others import OTHERS, Other, against_itself, against_reference

CHAOTIC = (
    "pytorch_optimizer:SOAP",
    "torch.optim:Muon",
)  # eigenbases, and bfloat16 on a tiny model: rounding parts traces


@pytest.fixture(autouse=True, scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(others, "RUNNER", small.card(tmp_path_factory.mktemp("others")))
        yield


def ids(other: Other) -> str:
    return f"{other.name.rpartition('/')[2]}-{other.reference}-{len(other.settings)}"


@pytest.mark.parametrize("other", OTHERS, ids=ids)
def test_it_is_unchanged_where_only_rounding_moves_it(other: Other) -> None:
    assert compared.overall(against_itself(other)) == ("could not tell" if other.name in CHAOTIC else "unchanged")


@pytest.mark.parametrize("other", [one for one in OTHERS if one.reference], ids=ids)
def test_it_is_its_reference_unless_a_difference_is_named(other: Other) -> None:
    same = "could not tell" if other.name in CHAOTIC else "unchanged"
    assert compared.overall(against_reference(other)) == ("changed" if other.why else same)


def test_at_least_five_rules_of_another_package_and_torch_s_four_are_tried() -> None:
    names = {other.name for other in OTHERS}
    assert len([name for name in names if name.startswith("pytorch_optimizer:")]) >= 5
    assert {f"torch.optim:{name}" for name in ("AdamW", "Muon", "SGD", "Adafactor")} <= names
