"""Synthetic language: generators draw examples, `Task` makes them into disjoint splits. numpy only, no model."""

from synthbench.generators import facts, inflection, modular, noisy, wugs
from synthbench.generators.examples import (
    BUCKETS,
    SLICES,
    SPLITS,
    Examples,
    Language,
    Place,
    Splits,
    by_slice,
    join,
    stream,
)
from synthbench.generators.floors import floor, floors
from synthbench.generators.registry import GENERATORS, Framed, Generator, register
from synthbench.generators.task import Task

# Hashed for the tasks that use them alone: `experiment/identity.py`
from synthbench.generators import automaton, biographies, hops, recall, routing  # noqa: F401 isort: skip

__all__ = [
    "BUCKETS", "GENERATORS", "SLICES", "SPLITS", "Examples", "Framed", "Generator", "Language", "Place", "Splits", "Task",
    "by_slice", "facts", "floor", "floors", "inflection", "join", "modular", "noisy", "register", "stream", "wugs",
]  # fmt: skip
