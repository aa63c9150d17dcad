"""The files apart (`identity.is_apart`) that runs use: code of generators, optimizers and others that not every run has."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from synthbench import cards
from synthbench.cards import RunnerCard, TaskCard
from synthbench.common.errors import BadInput
from synthbench.experiment.grids import every_optimizer
from synthbench.experiment.identity import PACKAGE, is_apart
from synthbench.generators import GENERATORS
from synthbench.trainer.optimizers import IMPLEMENTATIONS


def by_task(card: TaskCard, stage: str | None = None) -> tuple[str, ...]:
    """The files apart of a task's generators, as far as a stage."""
    names = list(card.stages)
    known = names[: names.index(stage) + 1] if stage else names
    generators = {part.generator for name in known for part in card.stages[name].values()}
    return _places(GENERATORS[name].draw for name in generators if name in GENERATORS)


@cache
def _of_shipped(task: str) -> tuple[str, ...]:
    try:
        return by_task(cards.load(TaskCard, task))
    except BadInput:  # a task of one's own, of which no rows are shipped
        return ()


def by_probes(probes: Sequence[str]) -> tuple[str, ...]:
    """What measures probes, all of them or none."""
    folder = PACKAGE / "execution" / "probes"
    files = [*folder.glob("*.py"), folder.parent / "probing.py", *(PACKAGE / "scores").glob("probes*.py")]
    return tuple(sorted(file.relative_to(PACKAGE).as_posix() for file in files)) if probes else ()


def by_remedy(remedy: Mapping[str, float]) -> tuple[str, ...]:
    """What trains with remedies."""
    return ("execution/remedied.py",) if remedy else ()


def by_card(card: RunnerCard) -> tuple[str, ...]:
    """The files apart of everything that a runner's card names: its shipped tasks, its optimizers, probes and remedies."""
    names = {card.optimizer_of(name) for name in every_optimizer(card)}
    steps = _places(IMPLEMENTATIONS[name].step for name in names if name in IMPLEMENTATIONS)
    tasks = [place for task in card.tasks for place in _of_shipped(task)]
    is_remedied = any(stage.remedy.given for stage in card.stages) or any(".remedy" in axis.path for axis in card.axes)
    return tuple(sorted({*steps, *tasks, *by_probes(card.probes), *by_remedy({"": 1.0} if is_remedied else {})}))


def _places(functions: Iterable[Callable[..., Any]]) -> tuple[str, ...]:
    """The places in the package of the files apart that these functions are in."""
    files = {Path(function.__code__.co_filename) for function in functions if hasattr(function, "__code__")}
    places = (file.relative_to(PACKAGE) for file in files if PACKAGE in file.parents)
    return tuple(sorted(place.as_posix() for place in places if is_apart(place)))
