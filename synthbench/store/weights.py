"""Files of weights: safetensors, whole or absent, checked by size and sha256 before they are used."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synthbench.experiment.runs import Run

if TYPE_CHECKING:
    import torch


class WeightFile(NamedTuple):
    """A file of weights: name, size in bytes, sha256."""

    name: str
    size: int
    sha256: str


class MissingWeights(Exception):
    """Weights to start from are gone, or are not those that were written."""


def read_weights(folder: Path, kept: WeightFile) -> dict[str, torch.Tensor]:
    """Weights by name; raises MissingWeights where the file is not as it was written."""
    from safetensors.torch import load

    try:
        content = (folder / kept.name).read_bytes()
    except OSError:
        raise MissingWeights(kept.name) from None
    if (len(content), sha256(content).hexdigest()) != kept[1:]:
        raise MissingWeights(kept.name)
    return load(content)


def write_weights(folder: Path, run: Run, attempt: int, weights: Mapping[str, torch.Tensor]) -> WeightFile:
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
    return WeightFile(name, len(content), digest)
