"""AdamW with the groups that Muon has: hidden matrices at one rate, embeddings, head and vectors at lr x aux_lr_ratio.

What Muon owes to moving its groups at different rates, and not to orthogonalizing, AdamW owes to it here too. At a ratio
of 1 it is AdamW; at 0 embeddings, head and vectors are frozen.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from synthbench.trainer.optimizers import adamw
from synthbench.trainer.optimizers.registry import Implementation, Optimizer, register


class AdamWSplit(adamw.AdamW):
    aux_lr_ratio: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Learning rate of all but the hidden matrices, over theirs."""


register(
    Optimizer("adamw-split", "AdamW with a separate rate for all but hidden matrices",
              "arXiv 1711.05101; routing: https://kellerjordan.github.io/posts/muon/", AdamWSplit,
              (("*norm*", "adamw"), ("layers.*", "adamw-split"), ("*", "adamw"))),
    Implementation(adamw.start, adamw.step, is_capturable=True),
)  # fmt: skip
