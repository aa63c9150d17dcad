"""Optimizers from elsewhere at the gate, on a tiny runner: against baselines of their own and against their references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from synthbench.gate import comparison
from tests.gate import others, small
from tests.gate.others import OTHERS, Other, against_itself, against_reference

# Eigenbases, and bfloat16 on a tiny model: rounding parts traces as far as the processor has it.
CHAOTIC = ("pytorch_optimizer:SOAP", "torch.optim:Muon")
TORCH_S = ("torch.optim:AdamW", "torch.optim:Muon", "torch.optim:SGD")
APART = 0.05  # relative: a dozen units of bfloat16's rounding; a step of Newton-Schulz less parts traces by 0.2


@pytest.fixture(autouse=True, scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(others, "RUNNER", small.card(tmp_path_factory.mktemp("others")))
        yield


def cases(found: Iterable[Other], default: Iterable[str]) -> list[object]:
    """Each a parameter; slow but for these names."""
    slow = pytest.mark.slow
    return [pytest.param(one, marks=() if one.name in default else slow, id=one.name) for one in found]


@pytest.mark.parametrize("other", cases(OTHERS, ["torch.optim:Adafactor"]))
def test_it_is_unchanged_where_only_rounding_moves_it(other: Other) -> None:
    allowed = {"unchanged", "inconclusive"} if other.name in CHAOTIC else {"unchanged"}
    assert comparison.overall(against_itself(other)) in allowed


@pytest.mark.parametrize("other", cases(filter(lambda one: one.reference, OTHERS), TORCH_S))
def test_it_is_its_reference_unless_a_difference_is_named(other: Other) -> None:
    lines = against_reference(other)
    if other.name in CHAOTIC and not other.why:
        assert max(line.difference for line in lines) < APART
    else:
        assert comparison.overall(lines) == ("changed" if other.why else "unchanged")
