"""Optimizers from elsewhere at the gate: torch's against a baseline of their own and against the built-in ones."""

from __future__ import annotations

import pytest

from synthbench.gate import compared
from tests.gate.others import OTHERS, Other, against_itself, against_reference

OURS = [other for other in OTHERS if other.name.startswith("torch.")]


@pytest.mark.parametrize("other", OURS, ids=[f"{other.name}, {other.reference}" for other in OURS])
def test_a_class_of_torch_s_is_unchanged_where_only_rounding_moves_it(other: Other) -> None:
    assert compared.overall(against_itself(other)) == "unchanged"


@pytest.mark.parametrize(
    "other", [one for one in OURS if one.reference], ids=lambda one: f"{one.name}, {one.reference}"
)
def test_a_class_of_torch_s_is_its_reference_unless_a_difference_is_named(other: Other) -> None:
    assert compared.overall(against_reference(other)) == ("changed" if other.why else "unchanged")
