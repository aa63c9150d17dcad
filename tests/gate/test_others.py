"""Optimizers of other packages at the gate, on a tiny runner: against their own baselines and against references."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from synthbench.gate import comparison
from tests.gate import others, small
from tests.gate.others import IMPLEMENTATIONS, Implementation, against_itself, against_reference

# Rounding error may dominate their traces, depending on the processor: eigenbases, and bfloat16 on a tiny model.
CHAOTIC = ("pytorch_optimizer:SOAP", "torch.optim:Muon")
FROM_TORCH = ("torch.optim:AdamW", "torch.optim:Muon", "torch.optim:SGD")
NEAR = 0.05  # relative: a dozen units of bfloat16's rounding; one Newton-Schulz step fewer deviates by 0.2


@pytest.fixture(autouse=True, scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(others, "RUNNER", small.card(tmp_path_factory.mktemp("others")))
        yield


def cases(implementations: Iterable[Implementation], fast: Iterable[str]) -> list[object]:
    """A parameter for each; those whose names are not fast are marked slow."""
    slow = pytest.mark.slow
    return [pytest.param(item, marks=() if item.name in fast else slow, id=item.name) for item in implementations]


@pytest.mark.parametrize("implementation", cases(IMPLEMENTATIONS, ["torch.optim:Adafactor"]))
def test_an_implementation_is_unchanged_from_perturbed_starts(implementation: Implementation) -> None:
    allowed = {"unchanged", "inconclusive"} if implementation.name in CHAOTIC else {"unchanged"}
    assert comparison.overall(against_itself(implementation)) in allowed


@pytest.mark.parametrize("implementation", cases(filter(lambda item: item.reference, IMPLEMENTATIONS), FROM_TORCH))
def test_an_implementation_equals_its_reference_unless_a_difference_is_remarked(implementation: Implementation) -> None:
    lines = against_reference(implementation)
    if implementation.name in CHAOTIC and not implementation.remark:
        assert max(line.difference for line in lines) < NEAR
    else:
        assert comparison.overall(lines) == ("changed" if implementation.remark else "unchanged")
