"""Optimizers, one file each. Names, routing and arguments are known without torch."""

from synthbench.trainer.rules import adamw, adamw_split, muon, sgd
from synthbench.trainer.rules.registry import (
    OPTIMIZERS,
    RULES,
    Block,
    Hyper,
    Optimizer,
    Rule,
    register,
    route,
    spans,
)  # fmt: skip

__all__ = [
    "OPTIMIZERS", "RULES", "Block", "Hyper", "Optimizer", "Rule", "adamw", "adamw_split", "muon", "register", "route",
    "sgd", "spans",
]  # fmt: skip
