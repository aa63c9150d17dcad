"""Optimizers and generators that are not built in: loaded from files, modules and entry points, registered by name."""

from typing import TYPE_CHECKING

from synthbench.plugins.decorators import CustomOptimizer, fleet_optimizer, matrix_optimizer
from synthbench.plugins.loading import Plugin, is_plugin, unknown
from synthbench.plugins.registry import (  # fmt: skip
    OF_CLASSES,
    Arguments,
    Origin,
    defaults,
    is_class,
    made_with,
    name_of,
    news,
    of_shape,
    origins,
    plugin_of,
    put_back,
    restore,
    routing_of,
    take,
)

if TYPE_CHECKING:
    import torch

    OptimizerLike = type[torch.optim.Optimizer] | CustomOptimizer | str

__all__ = [
    "OF_CLASSES", "Arguments", "CustomOptimizer", "Origin", "Plugin", "defaults", "fleet_optimizer", "is_class",
    "is_plugin", "made_with", "matrix_optimizer", "name_of", "news", "of_shape", "origins", "plugin_of", "put_back",
    "restore", "routing_of", "take", "unknown",
]  # fmt: skip
