"""Cards: what a task, a model and a runner are. Imports no torch.

A task card (`tasks/NAME.toml`) says which generators make the pretraining language and the finetuning data. A runner
card (`runners/NAME.toml`) says which tasks, stages, optimizers, updates, learning rates and seeds make an experiment.
"""

from synthbench.cards.axis import AxisCard
from synthbench.cards.base import Card, fingerprint
from synthbench.cards.claim import ClaimCard, MatrixCard, RowsCard
from synthbench.cards.finding import is_path, load, locate, names, parse, read, shipped
from synthbench.cards.runner import MODELS, Decays, Grid, ModelCard, RunnerCard, Seeds, StageCard
from synthbench.cards.task import SliceCard, TaskCard
from synthbench.cards.values import Update

__all__ = [
    "MODELS", "AxisCard", "Card", "ClaimCard", "Decays", "Grid", "MatrixCard", "ModelCard", "RowsCard", "RunnerCard",
    "Seeds", "SliceCard", "StageCard", "TaskCard", "Update", "fingerprint", "is_path", "load", "locate", "names", "parse",
    "read", "shipped",
]  # fmt: skip
