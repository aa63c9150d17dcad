"""What a fleet is made of: weights to start from, data in order, and files of what came of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthbench.cards import ModelCard
from synthbench.experiment.runs import Run
from synthbench.generators import Place, Task, join, stream
from synthbench.trainer import layout as layouts

if TYPE_CHECKING:
    import torch

    from synthbench.trainer.fleet import Fleet, Views
    from synthbench.trainer.loop import Data


class Kept(NamedTuple):
    """A file of weights: name, size in bytes, sha256."""

    name: str
    size: int
    sha256: str


class Lost(Exception):
    """Weights to start from are gone, or are not those that were written."""


def seed_of(run: Run, purpose: str) -> int:
    """A seed for torch, of its own for each purpose; the same for every optimizer, rate and update of a seed."""
    return int(stream(Place(run.seed, run.task, run.stage, ""), "", purpose + run.salt).integers(2**63))


def build(task: Task, runs: Sequence[Run], parents: Sequence[Kept | None], folder: Path, device: torch.device) -> Fleet:
    """The fleet of these runs at their start: fresh, or with the weights of their parents, files in a folder.

    Raises Lost where a file is not as it was written.
    """
    from synthbench.trainer.fleet import Fleet, initialize, pack

    model = ModelCard.model_validate(runs[0].model)
    layout = layouts.transformer(model, task.language.vocabulary, task.language.length - 1)
    kept = [parent for parent in parents if parent is not None]
    if len(kept) != sum(run.parent is not None for run in runs):
        raise Lost("weights of a parent were not given")  # and never fresh ones in their place
    if kept:
        base_KP = pack(layout, [read_weights(folder, parent) for parent in kept], device)
    else:
        base_KP = initialize(layout, model, [seed_of(run, "initialization") for run in runs], device)
    return Fleet(model, layout, base_KP, runs[0].update, [seed_of(run, "adapters") for run in runs])


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


def read_weights(folder: Path, kept: Kept) -> dict[str, torch.Tensor]:
    """Weights by name; raises Lost where the file is not as it was written."""
    from safetensors.torch import load

    try:
        content = (folder / kept.name).read_bytes()
    except OSError:
        raise Lost(kept.name) from None
    if (len(content), sha256(content).hexdigest()) != kept[1:]:
        raise Lost(kept.name)
    return load(content)


def write_weights(folder: Path, run: Run, attempt: int, weights: Views) -> Kept:
    """Writes a run's weights so that the file is either whole or absent: temporary file, fsync, rename, fsync.

    The name holds their hash, so that no file is ever replaced by another one.
    """
    from safetensors.torch import save

    content = save({name: value.contiguous().cpu() for name, value in weights.items()})
    digest = sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{run.id[:32]}-{attempt}-{digest[:16]}.safetensors"
    temporary = folder / f".{name}.{os.getpid()}"
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return Kept(name, len(content), digest)
