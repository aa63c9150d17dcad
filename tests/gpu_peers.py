"""Other ways to train the runs of `tests/gpu.py`: plain loops and JAX, at its shape, under AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F

from synthbench.verification import reference
from tests.benchmarks.shapes import Shape

Way = Callable[[], None]
RATE, DECAY, BETAS, EPS = 1e-3, 0.1, (0.9, 0.95), 1e-8


def ways(shape: Shape, device: str, sizes: Sequence[int]) -> Iterator[tuple[str, int, Callable[[], Way]]]:
    """Name, runs that a call trains, and what makes the way."""
    yield "plain loop", 1, lambda: plain(shape, device)
    yield "plain loop, torch.compile", 1, lambda: plain(shape, device, compiled=True)
    if device == "cuda":
        yield "plain loop in a CUDA graph", 1, lambda: plain_graph(shape)
    for runs in sizes:
        yield f"JAX jit + vmap, K = {runs}", runs, lambda runs=runs: jax_vmap(shape, runs)  # type: ignore[misc]


def batch(shape: Shape, runs: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(shape.vocabulary, (runs, shape.batch, shape.length + 1), generator=generator)


def plain(shape: Shape, device: str, *, compiled: bool = False) -> Way:
    """A step of an `nn.Module` with torch.optim.AdamW, fused where torch can."""
    model = reference.Transformer(shape.model, shape.vocabulary, shape.length).to(device)
    tokens_BL = batch(shape, 1)[0].to(device)
    moved = torch.optim.AdamW(
        model.parameters(),
        lr=RATE,
        weight_decay=DECAY,
        betas=BETAS,
        eps=EPS,
        fused=device == "cuda",
        capturable=device == "cuda",
    )
    forward = torch.compile(model) if compiled else model

    def step() -> None:
        logits = forward(tokens_BL[:, :-1])[:, shape.first :]
        loss = F.cross_entropy(logits.flatten(0, 1), tokens_BL[:, shape.first + 1 :].flatten())
        moved.zero_grad()
        loss.backward()
        moved.step()

    return step


def plain_graph(shape: Shape) -> Way:
    """The plain loop's step captured once and replayed."""
    step = plain(shape, "cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()

    def replay(kept: Way = step) -> None:  # the graph reads the step's tensors, which therefore must live
        graph.replay()

    return replay


def jax_vmap(shape: Shape, runs: int) -> Way:
    """A jitted step of K runs by vmap, its products in float32, which is not JAX's default on a GPU."""
    import jax

    from tests.benchmarks.peers import jax_vmap

    jax.config.update("jax_default_matmul_precision", "highest")
    call = jax_vmap.jit(shape, "adamw", "full", runs).call

    def way() -> None:
        call()

    return way
