"""A decoder-only transformer, batched over runs: every weight has a first dimension K, and no product mixes runs.

Shapes: K runs, B examples, L tokens, S = L - first (the positions asked for), N = B L or B S rows, d width, V vocabulary.

On a CPU elementwise passes cost as much as products, so the passes are few: norm and activation are autograd functions
that keep one tensor each, and the last layer is evaluated only where logits are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from synthbench.cards import ModelCard

Params = Mapping[str, Tensor]
EPSILON = 1e-6  # under the root of the norms
TILE = {"cpu": 1, "cuda": 64}  # rows and columns of attention that a kernel computes together
ONE_HOT = {"cpu": 0, "cuda": 256}  # the largest vocabulary whose embedding is a product


class RMSNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) over the last dimension, without parameters."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = norm.square_().div_(x.shape[-1]).add_(EPSILON).rsqrt_()
        y: Tensor = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        y, scale = ctx.saved_tensors
        return torch.addcmul(grad, y, (grad * y).mean(-1, keepdim=True), value=-1).mul_(scale)


class SquaredReLU(torch.autograd.Function):
    """max(x, 0)^2 (Primer, arXiv 2109.08668)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.clamp_min(0)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        positive: Tensor = ctx.saved_tensors[0]
        return (grad * positive).mul_(2)


def norm(model: ModelCard, params: Params, name: str, x_KNd: Tensor) -> Tensor:
    if model.norm == "rmsnorm":
        y: Tensor = RMSNorm.apply(x_KNd)  # type: ignore[no-untyped-call]
        return y
    centred = F.layer_norm(x_KNd, x_KNd.shape[-1:], eps=EPSILON)
    return torch.addcmul(params[f"{name}.bias"][:, None], centred, params[f"{name}.gain"][:, None])


def mlp(model: ModelCard, params: Params, layer: str, x_KNd: Tensor) -> Tensor:
    up = x_KNd @ params[f"{layer}.up"].mT
    if model.mlp == "relu2":
        inner: Tensor = SquaredReLU.apply(up)  # type: ignore[no-untyped-call]
    elif model.mlp == "gelu":
        inner = F.gelu(up, approximate="tanh")
    else:
        inner = F.silu(x_KNd @ params[f"{layer}.gate"].mT) * up
    return inner @ params[f"{layer}.down"].mT


@cache  # for good: a CUDA graph reads the tensor that it was captured with
def rotation(length: int, head_width: int, device: torch.device) -> Tensor:
    """RoPE's rotations as complex numbers, shape (L, 1, head_width / 2) (arXiv 2104.09864, base 10,000)."""
    frequency = 10_000.0 ** (-torch.arange(0, head_width, 2, device=device) / head_width)
    angle = torch.outer(torch.arange(length, device=device), frequency)
    return torch.polar(torch.ones_like(angle), angle)[:, None]


def rotate(x: Tensor, rotation_L1h: Tensor) -> Tensor:
    """RoPE on heads of shape (..., L, heads, head_width): neighbouring pairs are complex numbers."""
    pairs = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * rotation_L1h).flatten(-2)


@cache
def visible(length: int, first: int, group: int, device: torch.device) -> Tensor:
    """True where position first + row may look at column, of `group` examples one after the other: (group S, group L)."""
    one = torch.ones(length - first, length, dtype=torch.bool).tril(first)
    blocks: Tensor = torch.block_diag(*[one] * group)  # type: ignore[no-untyped-call]
    return blocks.to(device)


def examples_together(batch: int, length: int, tile: int) -> int:
    """Of a batch, how many examples share a tile of attention, which one of few tokens would fill alone. They divide the
    batch, so that no tile holds two runs."""
    return max(count for count in range(1, max(1, tile // length) + 1) if batch % count == 0)


def attention(model: ModelCard, params: Params, layer: str, x_KNd: Tensor, length: int, first: int) -> Tensor:
    """Causal self-attention of the positions from `first` on, before the output matrix: shape (K, B S, d)."""
    runs, width = len(x_KNd), model.width
    qkv = x_KNd @ params[f"{layer}.qkv"].flatten(1, 2).mT
    q, k, v = qkv.view(-1, length, 3, width // model.head_width, model.head_width).unbind(2)
    q = q[:, first:]
    if model.positions == "rope":
        turn = rotation(length, model.head_width, x_KNd.device)
        q, k = rotate(q, turn[first:]), rotate(k, turn)
    group = examples_together(x_KNd.shape[1] // length, length, TILE.get(x_KNd.device.type, 1))
    q, k, v = (x.reshape(len(x) // group, -1, *x.shape[2:]).transpose(1, 2) for x in (q, k, v))
    mask = visible(length, first, group, x_KNd.device) if first or group > 1 else None
    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    return heads.transpose(1, 2).reshape(runs, -1, width)


def one_hot(tokens_KBL: Tensor, vocabulary: int) -> Tensor:
    """1 at each token's id: shape (K, B L, V). Its product's gradient is one product, where an embedding's is a sort."""
    ids_V = torch.arange(vocabulary, device=tokens_KBL.device)
    return (tokens_KBL.flatten(1)[..., None] == ids_V).float()


def logits(model: ModelCard, params: Params, tokens_KBL: Tensor, first: int = 0) -> Tensor:
    """Logits of the tokens that follow positions first, first + 1, ...: shape (K, B, S, V).

    params: weights by the names of `layout.transformer`, each with a first dimension K.
    """
    runs, batch, length = tokens_KBL.shape
    embedding = params["embedding"]
    vocabulary = embedding.shape[1]
    if vocabulary <= ONE_HOT.get(tokens_KBL.device.type, 0):
        x = (one_hot(tokens_KBL, vocabulary) @ embedding).view(runs, batch, length, model.width)
    else:
        rows = tokens_KBL + torch.arange(runs, device=tokens_KBL.device)[:, None, None] * vocabulary
        x = F.embedding(rows.view(-1), embedding.reshape(-1, model.width)).view(runs, batch, length, model.width)
    if model.positions == "learned":
        x = x + params["positions"][:, None, :length]
    x = x.view(runs, -1, model.width)
    for i in range(model.layers):
        layer, start = f"layers.{i}", first if i == model.layers - 1 else 0
        h = attention(model, params, layer, norm(model, params, f"{layer}.norm_attention", x), length, start)
        if start:
            x = x.view(runs, batch, length, -1)[:, :, start:].reshape(runs, -1, model.width)
        x = torch.baddbmm(x, h, params[f"{layer}.out"].mT)
        x = x + mlp(model, params, layer, norm(model, params, f"{layer}.norm_mlp", x))
    x = norm(model, params, "norm_head", x)
    return (x @ params["embedding" if model.tied else "head"].mT).view(runs, batch, -1, vocabulary)
