"""Every way to train that is timed trains the same model: the same loss at the start, and after some steps.

Peers whose package is not installed (extra `bench`) are skipped.
"""

from __future__ import annotations

import pytest

from tests.benchmarks.peers import PATHS, PEERS, Way
from tests.benchmarks.shapes import SHAPES, Shape

CASES = [
    (name, "quick", optimizer, update)
    for name, optimizer, update in (
        ("plain loop", "adamw", "full"), ("plain loop", "adamw", "lora-16"), ("plain loop", "muon", "full"),
        ("plain loop", "sgd", "full"), ("torch.optim.Muon", "muon", "full"), ("torch.func vmap", "adamw", "full"),
        ("JAX jit + vmap", "adamw", "full"), ("JAX jit + vmap + scan", "adamw", "full"),
    )
] + [
    ("Hugging Face GPT-2", "quick, GPT-2 style", "adamw", "full"),
    ("Hugging Face + PEFT", "quick, GPT-2 style", "adamw", "lora-16"),
]  # fmt: skip
STEPS = 16
SIMILAR = {"Hugging Face GPT-2", "Hugging Face + PEFT", "torch.optim.Muon"}  # biases, other adapters, bfloat16


def small(name: str) -> Shape:
    return SHAPES[name].of(batch=16, width=32)


def losses(way: Way) -> list[float]:
    """Of run 0, at every step that is the first of a call."""
    return [way.call() for _ in range(STEPS // way.steps)]


@pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT calls what transformers deprecates
@pytest.mark.parametrize(("name", "shape", "optimizer", "update"), CASES)
def test_a_peer_trains_the_same_model(name: str, shape: str, optimizer: str, update: str) -> None:
    peer = PEERS[name]
    if peer.needs:
        pytest.importorskip(peer.needs, reason=f"{peer.needs} is not installed; extra bench has it")
    runs = 3 if peer.is_batched else 1
    theirs = peer.build(small(shape), optimizer, update, runs)
    other = losses(theirs)
    for path in PATHS:
        ours = PEERS[path].build(small(shape), optimizer, update, runs)
        one = losses(ours)[:: theirs.steps]
        assert other[0] == pytest.approx(one[0], rel=1e-4)
        assert other[-1] == pytest.approx(one[-1], rel=0.05 if name in SIMILAR else 1e-3)
        assert one[-1] < one[0]
        assert ours.parameters / 1.6 < theirs.parameters < 1.1 * ours.parameters


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch's compiler
def test_a_compiled_loop_trains_the_same_model() -> None:
    one, other = (losses(PEERS[name].build(small("quick"), "adamw", "full", 1)) for name in ("fleet", "torch.compile"))
    assert other == pytest.approx(one, rel=1e-3)
