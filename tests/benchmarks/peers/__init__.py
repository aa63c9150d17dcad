"""Ways to train K runs, one file each: from the same weights, on the same batches, at the same rates.

A way trains run k from seed k (`shapes.py`). One that trains a run at a time trains run 0. `test_peers.py` shows that each
is the same model under the same optimizer.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from tests.benchmarks.shapes import Shape


class Way(NamedTuple):
    """call() takes steps of all its runs; it returns the loss of run 0 before the first of them.

    parameters: those that are trained, of a run. steps: that a call takes.
    """

    call: Callable[[], float]
    parameters: int
    steps: int = 1


class Peer(NamedTuple):
    """make: `module:function` of this folder, (shape, optimizer, update, runs) -> Way. process: ways of the same kind share
    a process. needs: a package beside torch. is_batched: whether it trains several runs at once. asked_only, has_table,
    is_native: what it computes (`operations.py`)."""

    make: str
    process: str
    is_batched: bool = False
    needs: str = ""
    asked_only: bool = False
    has_table: bool = False
    is_native: bool = False

    def build(self, shape: Shape, optimizer: str, update: str, runs: int) -> Way:
        module, _, function = self.make.partition(":")
        made: Way = getattr(import_module(f"{__name__}.{module}"), function)(shape, optimizer, update, runs)
        return made


PEERS = {
    "fleet": Peer("fleet:torch_path", "fleet", is_batched=True, asked_only=True, has_table=True),
    "fleet, native": Peer(
        "fleet:native_path", "fleet, native", is_batched=True, asked_only=True, has_table=True, is_native=True
    ),
    "plain loop": Peer("plain:plain", "plain"),
    "torch.compile": Peer("plain:compiled", "plain"),
    "torch.optim.Muon": Peer("plain:torch_muon", "plain"),
    "torch.func vmap": Peer("vmap:vmap", "plain", is_batched=True),
    "JAX jit + vmap": Peer("jax_vmap:jit", "jax", is_batched=True, needs="jax", asked_only=True),
    "JAX jit + vmap + scan": Peer("jax_vmap:scan", "jax", is_batched=True, needs="jax", asked_only=True),
    "Hugging Face GPT-2": Peer("hugging_face:gpt2", "hugging face", needs="transformers"),
    "Hugging Face + PEFT": Peer("hugging_face:peft_lora", "hugging face", needs="peft"),
}
HAS_NATIVE = find_spec("synthbench.trainer.native") is not None
PATHS = ("fleet", "fleet, native") if HAS_NATIVE else ("fleet",)  # the product's own
