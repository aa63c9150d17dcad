"""Optimizers, one file each. Names, routing and arguments are known without torch."""

from synthbench.trainer.optimizers import adamw, adamw_split, muon, sgd
from synthbench.trainer.optimizers.registry import (  # fmt: skip
    IMPLEMENTATIONS,
    OPTIMIZERS,
    Block,
    Hyper,
    Implementation,
    Optimizer,
    register,
    route,
    spans,
)

# Hashed for the runs that use them alone: `experiment/identity.py`
from synthbench.trainer.optimizers import adamw_flat, muon_product, muon_sign  # noqa: F401 isort: skip

__all__ = [
    "IMPLEMENTATIONS", "OPTIMIZERS", "Block", "Hyper", "Implementation", "Optimizer", "adamw", "adamw_split", "muon",
    "register", "route", "sgd", "spans",
]  # fmt: skip
