"""JAX: K runs by vmap in one jitted step, AdamW written out; the same with several steps a call in a scan.

Shapes: K runs, N items, B examples, L tokens; in `einsum` b examples, s and l positions, h heads, d head width.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tests.benchmarks.peers import Way
from tests.benchmarks.shapes import DECAY, RATES, STEPS, Shape, data, fleet

BETAS, EPS, NORM_EPS = (0.9, 0.999), 1e-8, 1e-6
A_CALL = 8  # steps of a scan


def jit(shape: Shape, optimizer: str, update: str, runs: int) -> Way:
    return way(shape, optimizer, update, runs, 1)


def scan(shape: Shape, optimizer: str, update: str, runs: int) -> Way:
    return way(shape, optimizer, update, runs, A_CALL)


def norm(x: Any) -> Any:
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + NORM_EPS)


def loss_of(shape: Shape) -> Any:
    """(params, tokens_BL) -> loss, of the default style: RMSNorm, RoPE, squared ReLU, a head of its own."""
    card = shape.model
    assert (card.norm, card.positions, card.mlp, card.tied) == ("rmsnorm", "rope", "relu2", False)
    heads, first = card.width // card.head_width, shape.first
    frequency = 10_000.0 ** (-np.arange(0, card.head_width, 2) / card.head_width)
    angle = np.outer(np.arange(shape.length), frequency)[:, None]
    cosine, sine = jnp.array(np.cos(angle), jnp.float32), jnp.array(np.sin(angle), jnp.float32)
    visible = jnp.tril(jnp.ones((shape.length, shape.length), bool))

    def turned(x: Any) -> Any:
        a, b = x[..., 0::2], x[..., 1::2]
        return jnp.stack((a * cosine - b * sine, a * sine + b * cosine), -1).reshape(x.shape)

    def loss(params: Any, tokens_BL: Any) -> Any:
        x = params["embedding"][tokens_BL[:, :-1]]
        for i in range(card.layers):
            matrix = params[f"layers.{i}.qkv"].reshape(3 * card.width, card.width)
            qkv = (norm(x) @ matrix.T).reshape(*x.shape[:2], 3, heads, card.head_width)
            q, k, v = turned(qkv[:, :, 0]), turned(qkv[:, :, 1]), qkv[:, :, 2]
            seen = visible
            if i == card.layers - 1:  # the last layer only where answers are predicted, as fleets do
                q, x, seen = q[:, first:], x[:, first:], visible[first:]
            weights = jnp.einsum("bshd,blhd->bhsl", q, k) / card.head_width**0.5
            mixed = jnp.einsum("bhsl,blhd->bshd", jax.nn.softmax(jnp.where(seen, weights, -1e30), -1), v)
            x = x + mixed.reshape(x.shape) @ params[f"layers.{i}.out"].T
            inner = jnp.square(jax.nn.relu(norm(x) @ params[f"layers.{i}.up"].T))
            x = x + inner @ params[f"layers.{i}.down"].T
        logits = jax.nn.log_softmax(norm(x) @ params["head"].T)
        return -jnp.take_along_axis(logits, tokens_BL[:, first + 1 :, None], -1).mean()

    return loss


def step_of(shape: Shape) -> Any:
    """A step of one run: (params, first and second moments, count from 1, its items, indices of a batch, rate)."""
    loss, (b1, b2) = loss_of(shape), BETAS

    def step(params: Any, first: Any, second: Any, count: Any, tokens_NL: Any, index_B: Any, rate: Any) -> Any:
        value, grad = jax.value_and_grad(loss)(params, tokens_NL[index_B])
        first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, grad)
        second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, second, grad)

        def moved(p: Any, m: Any, v: Any) -> Any:
            return p * (1 - rate * DECAY) - rate * (m / (1 - b1**count)) / (jnp.sqrt(v / (1 - b2**count)) + EPS)

        return jax.tree.map(moved, params, first, second), first, second, value

    return step


def way(shape: Shape, optimizer: str, update: str, runs: int, steps: int) -> Way:
    assert (optimizer, update) == ("adamw", "full")
    start, shown = fleet(shape, range(runs), update), data(shape, range(runs))
    members = [start.member(k) for k in range(runs)]
    params = {name: jnp.array(np.stack([member[name].numpy() for member in members])) for name in members[0]}
    zeros = jax.tree.map(jnp.zeros_like, params)
    tokens_KNL, rates_K = jnp.array(shown.tokens_KNL), jnp.full((runs,), RATES["adamw"])
    of_runs = jax.vmap(step_of(shape), in_axes=(0, 0, 0, None, 0, 0, 0))

    def several(params: Any, first: Any, second: Any, count: Any, order_TKB: Any) -> Any:
        def body(carried: Any, index_KB: Any) -> Any:
            *state, count = carried
            *state, loss_K = of_runs(*state, count, tokens_KNL, index_KB, rates_K)
            return (*state, count + 1), loss_K

        if len(order_TKB) == 1:
            carried, loss_K = body((params, first, second, count), order_TKB[0])
            return *carried, loss_K
        carried, loss_TK = jax.lax.scan(body, (params, first, second, count), order_TKB)
        return *carried, loss_TK[0]

    taken = jax.jit(several, donate_argnums=(0, 1, 2))
    order_TKB = np.swapaxes(shown.order_KTB, 0, 1)
    state, done = [params, zeros, jax.tree.map(jnp.copy, zeros), jnp.float32(1)], 0

    def call() -> float:
        nonlocal done
        *state[:], loss_K = taken(*state, order_TKB[done : done + steps])
        done = (done + steps) % STEPS
        return float(loss_K[0])

    return Way(call, sum(value[0].size for value in params.values()), steps)
