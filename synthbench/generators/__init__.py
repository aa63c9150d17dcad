"""Synthetic language: generators draw examples, `Task` makes them into disjoint splits. numpy only, no model."""

from synthbench.generators import facts, inflection
from synthbench.generators.examples import SLICES, SPLITS, Examples, Language, Place, Splits, stream
from synthbench.generators.floors import floor
from synthbench.generators.registry import GENERATORS, Generator, register
from synthbench.generators.task import Task

__all__ = [
    "GENERATORS",
    "SLICES",
    "SPLITS",
    "Examples",
    "Generator",
    "Language",
    "Place",
    "Splits",
    "Task",
    "facts",
    "floor",
    "inflection",
    "register",
    "stream",
]
