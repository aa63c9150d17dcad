"""A decoder-only transformer, batched over runs: every weight has a first dimension K, and no product mixes runs.

Shapes: K runs, B examples, L tokens, S = L - first (the positions asked for), N = B L or B S rows, d width, V vocabulary.

On a CPU elementwise passes cost as much as products, and on a GPU a small fleet's kernels take less time than their
launches, so the passes are few: most gradients are by hand (`trainer/functions.py`), and the last layer is evaluated only
where logits are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from synthbench.cards import ModelCard
from synthbench.trainer.functions import EPSILON, Product, RMSNorm, Rotation, SquaredReLU, is_fused
from synthbench.trainer.functions import rotate as rotate  # for those who look into attention

Params = Mapping[str, Tensor]
TILE = {"cpu": 32, "cuda": 64}  # rows and columns of attention that a kernel of training computes together
ONE_HOT = {"cpu": 0, "cuda": 256}  # the largest vocabulary whose embedding is a product
TABLE = {
    "cpu": 0.5,
    "cuda": 0.0,
}  # the largest vocabulary, over rows, whose first queries, keys and values training has
# as a table; like tiles of several examples it depends on the batch, and without a gradient no item's loss may


def with_norm(model: ModelCard, params: Params, name: str, x_KNd: Tensor) -> tuple[Tensor, Tensor]:
    """x for the residual connection, and its norm."""
    if model.norm == "rmsnorm":
        x, y = RMSNorm.apply(x_KNd)  # type: ignore[no-untyped-call]
        return x, y
    centred = F.layer_norm(x_KNd, x_KNd.shape[-1:], eps=EPSILON)
    return x_KNd, torch.addcmul(params[f"{name}.bias"][:, None], centred, params[f"{name}.gain"][:, None])


def norm(model: ModelCard, params: Params, name: str, x_KNd: Tensor) -> Tensor:
    return with_norm(model, params, name, x_KNd)[1]


def product(x_KNi: Tensor, weight_Koi: Tensor, onto_KNo: Tensor | None = None) -> Tensor:
    y: Tensor = Product.apply(x_KNi, weight_Koi, onto_KNo)  # type: ignore[no-untyped-call]
    return y


def mlp(model: ModelCard, params: Params, layer: str, x_KNd: Tensor, onto_KNd: Tensor | None = None) -> Tensor:
    up = product(x_KNd, params[f"{layer}.up"])
    if model.mlp == "relu2":
        inner: Tensor = SquaredReLU.apply(up)  # type: ignore[no-untyped-call]
    elif model.mlp == "gelu":
        inner = F.gelu(up, approximate="tanh")
    else:
        inner = F.silu(product(x_KNd, params[f"{layer}.gate"])) * up
    return product(inner, params[f"{layer}.down"], onto_KNd)


@cache  # for good: a CUDA graph reads the tensor that it was captured with
def rotation(length: int, head_width: int, device: torch.device) -> Tensor:
    """RoPE's rotations as complex numbers, shape (L, 1, head_width / 2) (arXiv 2104.09864, base 10,000)."""
    frequency = 10_000.0 ** (-torch.arange(0, head_width, 2, device=device) / head_width)
    angle = torch.outer(torch.arange(length, device=device), frequency)
    return torch.polar(torch.ones_like(angle), angle)[:, None]


@cache
def turns(length: int, heads: int, head_width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The rotations of each head's queries, keys and values (none), and their conjugates: (L, 3, heads, head_width / 2)."""
    turn = rotation(length, head_width, device)
    turn = torch.stack([turn, turn, torch.ones_like(turn)], dim=1).expand(-1, -1, heads, -1).contiguous()
    return turn, turn.conj().resolve_conj()


@cache
def visible(length: int, first: int, group: int, like: tuple[torch.dtype, torch.device]) -> Tensor:
    """0 where position first + row may look at column, of `group` examples one after the other, else -inf: (group S,
    group L). Added to what the softmax takes, for booleans would be turned into this at every call."""
    one = torch.ones(length - first, length, dtype=torch.bool).tril(first)
    blocks: Tensor = torch.block_diag(*[one] * group)  # type: ignore[no-untyped-call]
    return torch.zeros(blocks.shape, dtype=like[0]).masked_fill(~blocks, -torch.inf).to(like[1])


def examples_together(batch: int, length: int, tile: int) -> int:
    """Of a batch, how many examples share a tile of attention, which one of few tokens would fill alone. They divide the
    batch, so that no tile holds two runs."""
    return max(count for count in range(1, max(1, tile // length) + 1) if batch % count == 0)


def attention(model: ModelCard, qkv_KNo: Tensor, length: int, first: int = 0, tile: int = 1) -> Tensor:
    """Causal self-attention of the positions from `first` on, before the output matrix: shape (K, B S, d).

    qkv_KNo: queries, keys and values, o = 3 d. tile: rows and columns that may be computed together.
    """
    (runs, rows, _), width, device = qkv_KNo.shape, model.width, qkv_KNo.device
    shape = (-1, length, 3, width // model.head_width, model.head_width)
    qkv = qkv_KNo.view(shape)
    if model.positions == "rope":
        qkv = Rotation.apply(qkv, *turns(length, *shape[3:], device))  # type: ignore[no-untyped-call]
    q, k, v = qkv.unbind(2)
    q = q[:, first:]
    group = examples_together(rows // length, length, tile)
    q, k, v = (x.reshape(len(x) // group, -1, *x.shape[2:]).transpose(1, 2) for x in (q, k, v))
    mask = visible(length, first, group, (qkv.dtype, device)) if first or group > 1 else None
    heads = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    return heads.transpose(1, 2).reshape(runs, -1, width)


@cache
def one_hots(vocabulary: int, like: tuple[torch.dtype, torch.device]) -> Tensor:
    """A row for each token id, 1 at its place. Their product's gradient is one product, where an embedding's is a sort."""
    return torch.eye(vocabulary, dtype=like[0], device=like[1])


def entries(table_KVd: Tensor, tokens_KBL: Tensor) -> Tensor:
    """Of a table with a row for each token id, those of the tokens: shape (K, B L, d)."""
    runs, vocabulary, width = table_KVd.shape
    if vocabulary <= ONE_HOT.get(tokens_KBL.device.type, 0):
        return one_hots(vocabulary, (table_KVd.dtype, table_KVd.device))[tokens_KBL].flatten(1, 2) @ table_KVd
    rows = tokens_KBL + torch.arange(runs, device=tokens_KBL.device)[:, None, None] * vocabulary
    return F.embedding(rows.view(-1), table_KVd.reshape(-1, width)).view(runs, -1, width)


def has_table(model: ModelCard, vocabulary: int, x_KNd: Tensor) -> bool:
    """Whether queries, keys and values of the first layer are computed for each token id and not for each row."""
    most = TABLE.get(x_KNd.device.type, 0) * x_KNd.shape[1] if torch.is_grad_enabled() else 0
    return model.positions == "rope" and vocabulary <= most


def logits(model: ModelCard, params: Params, tokens_KBL: Tensor, first: int = 0) -> Tensor:
    """Logits of the tokens that follow positions first, first + 1, ...: shape (K, B, S, V).

    params: weights by the names of `layout.transformer`, each with a first dimension K. If they are in bfloat16, so are
    products with them, and all else is in float32.
    """
    runs, batch, length = tokens_KBL.shape
    device, in_params = tokens_KBL.device.type, params["embedding"]
    embedding = in_params.float() if in_params.dtype == torch.bfloat16 else in_params  # as what products leave
    vocabulary, tile = embedding.shape[1], TILE.get(device, 1) if torch.is_grad_enabled() else 1
    x = entries(embedding, tokens_KBL)
    if model.positions == "learned":
        x = x.view(runs, batch, length, -1) + params["positions"][:, None, :length]
    x = x.view(runs, -1, model.width)
    for i in range(model.layers):
        layer, start = f"layers.{i}", first if i == model.layers - 1 else 0
        qkv, norm_attention = params[f"{layer}.qkv"].flatten(1, 2), f"{layer}.norm_attention"
        if i == 0 and has_table(model, vocabulary, x):
            qkv = entries(product(norm(model, params, norm_attention, embedding), qkv), tokens_KBL)
        else:
            x, y = with_norm(model, params, norm_attention, x)
            qkv = product(y, qkv)
        h = attention(model, qkv, length, start, tile)
        if start:
            x = x.view(runs, batch, length, -1)[:, :, start:].reshape(runs, -1, model.width)
        x = product(h, params[f"{layer}.out"], x)
        x, y = with_norm(model, params, f"{layer}.norm_mlp", x)
        x = mlp(model, params, layer, y, x) if is_fused(x) else x + mlp(model, params, layer, y)
    x = norm(model, params, "norm_head", x)
    return product(x, params["embedding" if model.tied else "head"]).view(runs, batch, -1, vocabulary)
