"""Files of weights: safetensors, complete or absent, checked by size and sha256 before they are used."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synthbench.common.files import write_whole
from synthbench.experiment.runs import Run

if TYPE_CHECKING:
    import torch


class WeightFile(NamedTuple):
    """A file of weights: name, size in bytes, sha256."""

    name: str
    size: int
    sha256: str


class MissingWeights(Exception):
    """Weights to start from are lost or do not match their checksum."""


def read_weights(folder: Path, kept: WeightFile) -> dict[str, torch.Tensor]:
    """Weights by name; raises MissingWeights where the file is lost or does not match its checksum."""
    from safetensors.torch import load

    return load(checked(folder, kept))


def checked(folder: Path, kept: WeightFile) -> bytes:
    """A file's content; raises MissingWeights where it is lost or does not match its checksum."""
    try:
        content = (folder / kept.name).read_bytes()
    except OSError:
        raise MissingWeights(kept.name) from None
    if (len(content), sha256(content).hexdigest()) != kept[1:]:
        raise MissingWeights(kept.name)
    return content


def write_weights(folder: Path, run: Run, attempt: int, weights: Mapping[str, torch.Tensor]) -> WeightFile:
    """Writes a run's weights; the file is complete or absent. Its name holds their hash, so no other file is replaced."""
    from safetensors.torch import save

    content = save({name: value.contiguous().cpu() for name, value in weights.items()})
    digest = sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{run.id[:32]}-{attempt}-{digest[:16]}.safetensors"
    write_whole(folder / name, content)
    return WeightFile(name, len(content), digest)
