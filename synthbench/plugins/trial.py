"""A trial of a plug-in before anything is trained: what is tried, and what it showed. `checks.py` does it, in a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from synthbench.cards import ModelCard


@dataclass(frozen=True)
class Trial:
    """A registered plug-in to be tried under these updates, with these arguments."""

    name: str
    arguments: Mapping[str, Any]
    model: ModelCard
    vocabulary: int
    length: int
    updates: tuple[str, ...]


class Tried(NamedTuple):
    """What a trial showed.

    changed: settings that its steps changed, and that were put back. own_rate: whether two learning rates give the same
    weights. moves_at_zero: whether it moves weights at rate 0. decay: the weight decay in force, `card` or as in `card, own
    0`, `own 0.3` or `none`. given: how it was given its parameters, in
    words. seconds: by update what a step of one run takes, without its forward and backward pass.
    """

    changed: tuple[str, ...]
    own_rate: bool
    moves_at_zero: bool
    decay: str
    given: str
    seconds: dict[str, float]
