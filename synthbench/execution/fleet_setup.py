"""What a fleet is made of: weights to start from, and data in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from synthbench.cards import ModelCard
from synthbench.experiment.runs import Run
from synthbench.generators import Place, Task, join, stream
from synthbench.store.weights import MissingWeights, WeightFile, read_weights
from synthbench.trainer import layout as layouts
from synthbench.trainer.native import path as paths

if TYPE_CHECKING:
    import torch

    from synthbench.trainer.fleet import Fleet
    from synthbench.trainer.loop import Data


def seed_of(run: Run, purpose: str) -> int:
    """A seed for torch, different for each purpose; the same for every optimizer, rate and update of a seed."""
    return int(stream(Place(run.seed, run.task, run.stage, ""), "", purpose + run.salt).integers(2**63))


def build(
    task: Task, runs: Sequence[Run], parents: Sequence[WeightFile | None], folder: Path, device: torch.device
) -> Fleet:
    """The fleet of these runs at their start: fresh, or with the weights of their parents, files in a folder.

    Raises MissingWeights where a file is not as it was written, BadInput where the runs' path cannot be taken here.
    """
    from synthbench.trainer.fleet import Fleet, initialize, pack

    model = ModelCard.model_validate(runs[0].model)
    layout = layouts.transformer(model, task.language.vocabulary, task.language.length - 1)
    files = [parent for parent in parents if parent is not None]
    if len(files) != sum(run.parent is not None for run in runs):
        raise MissingWeights("weights of a parent were not given")  # and never fresh ones in their place
    if files:
        base_KP = pack(layout, [read_weights(folder, parent) for parent in files], device)
    else:
        base_KP = initialize(layout, model, [seed_of(run, "initialization") for run in runs], device)
    path = runs[0].environment.path
    fleet = Fleet(model, layout, base_KP, runs[0].update, [seed_of(run, "adapters") for run in runs], paths.of(path))
    fleet.in_bfloat16 = path == paths.BFLOAT16
    return fleet


def data(task: Task, runs: Sequence[Run]) -> Data:
    """Each run's trained items and the order in which it sees them: a matter of its seed alone."""
    from synthbench.trainer.loop import Data, order

    first = runs[0]
    per_batch = task.shares(first.stage, first.batch)
    drawn = {seed: task.draw(first.stage, seed, first.examples) for seed in {run.seed for run in runs}}
    together = {seed: join({name: splits.train for name, splits in parts.items()}) for seed, parts in drawn.items()}

    def order_of(run: Run) -> NDArray[np.int32]:
        shares = {name: (splits.train.repeats_N, per_batch[name]) for name, splits in drawn[run.seed].items()}
        return order(shares, run.steps, stream(Place(run.seed, run.task, run.stage, ""), "train", "order" + run.salt))

    return Data(
        np.stack([together[run.seed].tokens_NL for run in runs]),
        np.stack([together[run.seed].answer_NL for run in runs]),
        np.stack([order_of(run) for run in runs]),
    )
