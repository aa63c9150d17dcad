"""Generators that are not built in, named on a task's card: `file.py:name` beside it, `pkg.mod:name`, or an entry point.

Each is registered under its label with what is known of its code, whose hash is part of every fingerprint of the task.
Workers `restore` the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from synthbench import cards
from synthbench.cards import SliceCard, TaskCard
from synthbench.common import files
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, named, shown
from synthbench.generators import GENERATORS, Framed, Generator, Task
from synthbench.generators.contract import QUICK, Sample, malformed
from synthbench.plugins import entry_points, loading
from synthbench.plugins.errors import describe


class Origin(NamedTuple):
    """What a worker needs for a task. sources: of each plug-in generator label, `/path/file.py:name` or `pkg.mod:name`, and
    sha256 of its code. fingerprint: of the task, for a worker must draw the same data."""

    sources: tuple[tuple[str, str, str], ...]
    card: TaskCard
    fingerprint: str


def tasks(names: Sequence[str]) -> list[Task]:
    """Tasks of one experiment, by names or paths of their cards; raises BadInput where their data breaks the contract."""
    loaded_tasks, known = [task(name) for name in names], dict[str, tuple[str, str]]()
    for loaded in loaded_tasks:
        for plugin in loaded.plugins:
            code, other = known.setdefault(plugin.label, (plugin.source, loaded.card.label))
            if code != plugin.source:
                raise BadInput(
                    f"Tasks {other} and {loaded.card.label} each have a generator {named(plugin.label)}, with different "
                    "code; rename one of the files."
                )
        sample = Sample(loaded)
        for check in QUICK if loaded.plugins else []:
            if fault := next(check(sample), None):
                raise BadInput(f"Task {loaded.card.label}: {fault}.")
    return loaded_tasks


def task(name: str) -> Task:
    """The task of a card by name or path, with its generators loaded; raises BadInput for what is wrong with either."""
    card, path = cards.load(TaskCard, name), cards.locate(TaskCard, name)
    stages = {
        stage: {name: _resolved(part, path, f"{named(path)}: stages.{stage}.{name}") for name, part in parts.items()}
        for stage, parts in card.stages.items()
    }
    card = card.model_copy(update={"stages": stages})  # slices name registered generators
    try:
        return Task(card)
    except BadInput:
        raise
    except Exception as error:  # a generator's own code checks its options
        if not names_code(card):
            raise
        raise BadInput(f"Task {card.label}: its generators cannot be used: {describe(error)}.") from error


def names_code(card: TaskCard) -> bool:
    """Whether a card names generators that are not built in."""
    return not all(is_built_in(part.generator) for parts in card.stages.values() for part in parts.values())


def is_built_in(label: str) -> bool:
    return label in GENERATORS and GENERATORS[label].plugin is None


def origin_of(task: Task) -> Origin:
    sources = dict.fromkeys((plugin.label, str(plugin.origin), plugin.source) for plugin in task.plugins)
    return Origin(tuple(sources), task.card, task.fingerprint)


def restore(origin: Origin) -> None:
    """Registers generators in a worker; raises BadInput where their code or the data that they draw has changed."""
    for label, path, code in origin.sources:
        if _take(path, label, "generator").source != code:
            raise BadInput(f"generator {named(path)} was edited meanwhile; give the same command again.")
    if Task(origin.card).fingerprint != origin.fingerprint:
        raise BadInput(
            f"Task {origin.card.label} is not reproducible across processes; draw from synthbench.generators.stream alone, "
            "never from hash(), sets or the clock."
        )


def _resolved(part: SliceCard, card: Path, where: str) -> SliceCard:
    """A slice whose generator is loaded and registered. One with an unknown name stays as it is: Task lists the known."""
    label, path = loading.label(part.generator), part.generator if loading.is_plugin(part.generator) else None
    file, _, attribute = part.generator.rpartition(":")
    if file.endswith(loading.SUFFIX):
        path = f"{(card.parent / file).resolve()}:{attribute}"
    elif path is None and not is_built_in(label):
        path = entry_points.find(entry_points.GENERATORS, label, f"{where}.generator")
    if path is not None:
        announce(card, path)
        _take(path, label, f"{where}.generator")
        part = part.model_copy(update={"generator": label})
    known = GENERATORS[label].options.model_fields if label in GENERATORS else part.options
    for key in part.options:
        if key not in known:
            hint = did_you_mean(key, [*known, *SliceCard.model_fields])
            raise BadInput(f"{where}: generator {named(label)} has no option {shown(key)}{hint}.")
    return part


def _take(path: str, label: str, where: str) -> loading.Plugin:
    """Loads a generator and registers it under a label. Those that its file registers itself are removed.

    Raises BadInput for what is no generator.
    """
    known = set(GENERATORS)
    try:
        plugin = replace(loading.load(path, where), label=label)
    finally:
        for name in set(GENERATORS) - known:
            del GENERATORS[name]
    where = f"{where} {named(label)}"
    if not isinstance(plugin.value, Generator):
        raise BadInput(f"{where} is a {named(type(plugin.value).__name__)}, not a synthbench.generators.Generator.")
    fields = plugin.value._asdict() | {"name": label, "plugin": plugin}
    if not (isinstance(fields["options"], type) and issubclass(fields["options"], Framed)):
        raise BadInput(f"{where}: its options must be a class of synthbench.generators.Framed.")
    for role in ("draw", "check", "arrange", "is_unseen"):
        function = fields[role]
        if function is None and role == "is_unseen":
            continue
        if not (callable(function) and isinstance(function, Hashable)):
            raise BadInput(f"{where}: its {role} must be a function.")
        fields[role] = _guarded(function, role)
    GENERATORS[label] = Generator(**fields)
    return plugin


@cache
def announce(card: Path, path: str) -> None:
    """Prints once in a process that loading a card executes code, unless it names a missing file."""
    code = path.rpartition(":")[0]
    if files.is_file(Path(code)) or not code.endswith(loading.SUFFIX):
        print(f"synthbench: loading {named(card)} executes code: {named(code)}", file=sys.stderr)


@cache  # slices under one word must share `is_unseen`
def _guarded(function: Any, role: str) -> Callable[..., Any]:
    """A function whose errors, and whose malformed results, are one sentence; a function of this package as it is."""
    if str(getattr(function, "__module__", "")).startswith("synthbench."):
        return cast(Callable[..., Any], function)
    file = getattr(getattr(function, "__code__", None), "co_filename", str(getattr(function, "__module__", "")))
    where = f"generator {named(Path(file).name)}: {role}"

    def call(*arguments: Any) -> Any:
        try:
            result = function(*arguments)
        except BadInput:
            raise
        except (Exception, SystemExit) as error:
            raise BadInput(f"{where} raised {describe(error)}.") from error
        if fault := _fault(role, result, arguments):
            raise BadInput(f"{where} {fault}.")
        return result

    return call


def _fault(role: str, result: Any, arguments: Sequence[Any]) -> str | None:
    """What is wrong with the result of a generator's function. arguments: those that it was called with."""
    if role == "draw":
        return malformed(result, arguments[0], arguments[2])
    if role == "check":
        return None if result is None or isinstance(result, str) else f"returns {shown(result)}, not None or a string"
    item_N, is_array = arguments[2], isinstance(result, np.ndarray)
    if role == "arrange":
        is_order = is_array and np.array_equal(np.sort(result), np.sort(item_N))
        return None if is_order else "returns other items than it was given"
    is_mask = is_array and (result.dtype, result.shape) == (np.dtype(bool), item_N.shape)
    return None if is_mask else "returns no array of one bool for each item"
