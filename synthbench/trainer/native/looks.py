"""Looks: logits of a fleet by the native forward pass, where no gradient is asked for. As `transformer.logits`."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from synthbench.cards import ModelCard
from synthbench.trainer import layout as layouts
from synthbench.trainer.layout import Layout
from synthbench.trainer.native.gradients import described, turn
from synthbench.trainer.transformer import Params


@lru_cache(maxsize=16)
def _layout(model: str, vocabulary: int, length: int) -> Layout:
    return layouts.transformer(ModelCard.model_validate_json(model), vocabulary, length)


def logits(model: ModelCard, params: Params, tokens_KBL: Tensor, first: int = 0) -> Tensor:
    """Logits of the tokens that follow positions first, first + 1, ...: shape (K, B, S, V), without a gradient."""
    assert not torch.is_grad_enabled(), "logits whose gradient would be lost"
    runs, batch, length = tokens_KBL.shape
    vocabulary = params["embedding"].shape[1]
    longest = params["positions"].shape[1] if "positions" in params else length
    layout = _layout(model.model_dump_json(), vocabulary, longest)
    numbers, turned = described(model, layout, longest), turn(model, length)
    row = torch.empty(layout.row)
    out_KBSV = torch.empty(runs, batch, length - first, vocabulary)
    following_KBL = torch.nn.functional.pad(tokens_KBL, (0, 1))  # the operator reads inputs with a token after them
    for k in range(runs):
        for name, parameter in layout.parameters.items():
            row[parameter.offset : parameter.offset + parameter.size] = params[name][k].reshape(-1)
        torch.ops.synthbench.logits(numbers, row, turned, following_KBL[k], first, out_KBSV[k])
    return out_KBSV
