"""Other ways to train the runs of `tests/gpu.py`: plain loops and JAX, at its shape, under AdamW."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from synthbench.verification import reference

if TYPE_CHECKING:
    from tests.gpu import Shape

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
    """A jitted step of K runs by vmap: the same transformer, AdamW written out."""
    import jax
    import jax.numpy as jnp

    card = shape.model
    width, heads, inner = card.width, card.width // card.head_width, card.width * card.expansion
    frequency = 10_000.0 ** (-np.arange(0, card.head_width, 2) / card.head_width)
    angle = np.outer(np.arange(shape.length), frequency)[:, None]
    cosine, sine = jnp.array(np.cos(angle), jnp.float32), jnp.array(np.sin(angle), jnp.float32)
    visible = jnp.tril(jnp.ones((shape.length, shape.length), bool))
    layer = {"qkv": (3 * width, width), "out": (width, width), "up": (inner, width), "down": (width, inner)}
    shapes = {f"{i}.{name}": of for i in range(card.layers) for name, of in layer.items()}
    shapes |= {"embedding": (shape.vocabulary, width), "head": (shape.vocabulary, width)}

    def norm(x: Any) -> Any:
        return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)

    def turned(x: Any) -> Any:
        a, b = x[..., 0::2], x[..., 1::2]
        return jnp.stack((a * cosine - b * sine, a * sine + b * cosine), -1).reshape(x.shape)

    def loss(params: Any, tokens_BL: Any) -> Any:
        x = params["embedding"][tokens_BL[:, :-1]]
        for i in range(card.layers):
            qkv = (norm(x) @ params[f"{i}.qkv"].T).reshape(*x.shape[:2], 3, heads, card.head_width)
            q, k, v = turned(qkv[:, :, 0]), turned(qkv[:, :, 1]), qkv[:, :, 2]
            seen = visible
            if i == card.layers - 1:
                q, x, seen = q[:, shape.first :], x[:, shape.first :], visible[shape.first :]
            weights = jnp.einsum("bshd,blhd->bhsl", q, k) / card.head_width**0.5
            mixed = jnp.einsum("bhsl,blhd->bshd", jax.nn.softmax(jnp.where(seen, weights, -1e30), -1), v)
            x = x + mixed.reshape(x.shape) @ params[f"{i}.out"].T
            x = x + jnp.square(jax.nn.relu(norm(x) @ params[f"{i}.up"].T)) @ params[f"{i}.down"].T
        logits = jax.nn.log_softmax(norm(x) @ params["head"].T)
        return -jnp.take_along_axis(logits, tokens_BL[:, shape.first + 1 :, None], -1).mean()

    def step(params: Any, first: Any, second: Any, count: Any, tokens_BL: Any, rate: Any) -> Any:
        value, grad = jax.value_and_grad(loss)(params, tokens_BL)
        first = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, first, grad)
        second = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, second, grad)

        def moved(p: Any, m: Any, v: Any) -> Any:
            root = jnp.sqrt(v / (1 - BETAS[1] ** count)) + EPS
            return p * (1 - rate * DECAY) - rate * (m / (1 - BETAS[0] ** count)) / root

        return jax.tree.map(moved, params, first, second), first, second, count + 1, value

    generator = np.random.default_rng(0)
    params = {name: jnp.array(generator.normal(0, 0.05, (runs, *of)), jnp.float32) for name, of in shapes.items()}
    of_K = jax.jit(jax.vmap(step, in_axes=(0, 0, 0, None, 0, 0), out_axes=(0, 0, 0, None, 0)), donate_argnums=(0, 1, 2))
    zeros = jax.tree.map(jnp.zeros_like, params)
    state = [params, zeros, jax.tree.map(jnp.copy, zeros), jnp.float32(1)]
    tokens_KBL, rates_K = jnp.array(batch(shape, runs).numpy()), jnp.full((runs,), RATE)

    def way() -> None:
        *state[:], value = of_K(*state, tokens_KBL, rates_K)
        value.block_until_ready()

    return way
