"""Generators that are not built in, named on a task's card: `file.py:name` beside it, `pkg.mod:name`, or an entry point.

Each is registered under its label as a `PluginGenerator`, and the card that a Task holds has the hash of its code, which is
part of every fingerprint of the task. Workers `restore` the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
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
from synthbench.generators.contract import CHECKS, Sample, malformed
from synthbench.plugins import entry_points, loading
from synthbench.plugins.errors import describe


class Origin(NamedTuple):
    """What a worker needs for a task. sources: of each plug-in generator label, `/path/file.py:name` or `pkg.mod:name`, and
    sha256 of its code. fingerprint: of the task, for a worker must draw the same data."""

    sources: tuple[tuple[str, str, str], ...]
    card: TaskCard
    fingerprint: str


class PluginGenerator(Generator):
    """A registered generator that is not built in."""

    plugin: loading.Plugin


BUILT_IN = frozenset(GENERATORS)


def tasks(names: Sequence[str]) -> list[Task]:
    """Tasks of one experiment, by names or paths of their cards; raises BadInput where their data breaks the contract."""
    loaded, known = [task(name) for name in names], dict[str, tuple[str, str]]()
    for each in loaded:
        for part in plugin_slices(each.card):
            code, other = known.setdefault(part.generator, (part.code, each.card.label))
            if code != part.code:
                raise BadInput(
                    f"Tasks {other} and {each.card.label} each have a generator {named(part.generator)}, with different "
                    "code; rename one of the files."
                )
        if plugin_slices(each.card):
            _check_data(each)
    return loaded


def task(name: str) -> Task:
    """The task of a card by name or path, with its generators loaded; raises BadInput for what is wrong with either."""
    card = _with_code(cards.load(TaskCard, name), cards.locate(TaskCard, name))
    try:
        return Task(card)
    except BadInput:
        raise
    except Exception as error:  # a generator's own code checks its options
        if not plugin_slices(card):
            raise
        raise BadInput(f"Task {card.label}: its generators cannot be used: {describe(error)}.") from error


def plugin_slices(card: TaskCard) -> list[SliceCard]:
    """The slices of a task whose generators are not built in."""
    return [part for parts in card.stages.values() for part in parts.values() if part.code]


def names_code(card: TaskCard) -> bool:
    """Whether a card, as it is written, names generators that are not built in."""
    return any(part.generator not in BUILT_IN for parts in card.stages.values() for part in parts.values())


def origins(tasks: Iterable[Task]) -> list[Origin]:
    """What workers need for those of these tasks whose generators are not all built in."""
    return [origin_of(each) for each in tasks if plugin_slices(each.card)]


def origin_of(task: Task) -> Origin:
    labels = dict.fromkeys(part.generator for part in plugin_slices(task.card))
    plugins = {label: cast(PluginGenerator, GENERATORS[label]).plugin for label in labels}
    sources = tuple((label, str(plugin.origin), plugin.source) for label, plugin in plugins.items())
    return Origin(sources, task.card, task.fingerprint)


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


def _with_code(card: TaskCard, path: Path) -> TaskCard:
    """A card whose slices name registered generators, with the hash of their code."""
    stages: dict[str, dict[Any, SliceCard]] = {}
    for stage, parts in card.stages.items():
        for name, part in parts.items():
            where = f"{named(path)}: stages.{stage}.{name}"
            if part.code:
                raise BadInput(f"{where}.code: the program records the code of generators itself; remove the key.")
            resolved = stages.setdefault(stage, {})[name] = _resolved(part, path, f"{where}.generator")
            _check_options(resolved, where)
    return card.model_copy(update={"stages": stages})


def _check_options(part: SliceCard, where: str) -> None:
    """Raises BadInput for an option that the slice's generator does not have."""
    known = GENERATORS[part.generator].options.model_fields if part.generator in GENERATORS else part.options
    for key in part.options:
        if key not in known:
            hint = did_you_mean(key, [*known, *(name for name in SliceCard.model_fields if name != "code")])
            raise BadInput(f"{where}: generator {named(part.generator)} has no option {shown(key)}{hint}.")


def _resolved(part: SliceCard, card: Path, where: str) -> SliceCard:
    """A slice whose generator is loaded and registered; one with an unknown name stays as it is."""
    if part.generator in BUILT_IN:
        return part
    label, path = loading.label(part.generator), part.generator
    file, _, attribute = path.rpartition(":")
    if file.endswith(loading.SUFFIX):
        path = f"{(card.parent / file).resolve()}:{attribute}"
    elif not loading.is_plugin(path):
        if (offered := entry_points.find(entry_points.GENERATORS, label, where)) is None:
            return part  # Task lists the known names
        path = offered
    announce(card, path)
    return part.model_copy(update={"generator": label, "code": _take(path, label, where).source})


def _take(path: str, label: str, where: str) -> loading.Plugin:
    """Loads a generator and registers it under a label. Those that its file registers itself are removed."""
    known = set(GENERATORS)
    try:
        plugin = loading.load(path, where)
    finally:
        for name in set(GENERATORS) - known:
            del GENERATORS[name]
    _register(replace(plugin, label=label), f"{where} {named(label)}")
    return plugin


@cache
def announce(card: Path, path: str) -> None:
    """Prints once in a process that loading a card executes code, unless it names a missing file."""
    code = path.rpartition(":")[0]
    if files.is_file(Path(code)) or not code.endswith(loading.SUFFIX):
        print(f"synthbench: loading {named(card)} executes code: {named(code)}", file=sys.stderr)


def _register(plugin: loading.Plugin, where: str) -> None:
    """Registers a generator, its functions guarded; raises BadInput for a thing that is none."""
    thing = plugin.thing
    if not isinstance(thing, Generator):
        raise BadInput(f"{where} is a {named(type(thing).__name__)}, not a synthbench.generators.Generator.")
    if not (isinstance(thing.options, type) and issubclass(thing.options, Framed)):
        raise BadInput(f"{where}: its options must be a class of synthbench.generators.Framed.")
    functions = {role: getattr(thing, role) for role in ("draw", "check", "arrange", "is_unseen")}
    if thing.is_unseen is None:
        del functions["is_unseen"]
    for role, function in functions.items():
        if not (callable(function) and isinstance(function, Hashable)):
            raise BadInput(f"{where}: its {role} must be a function.")
    guarded = {role: _guarded(function, role) for role, function in functions.items()}
    generator = PluginGenerator(**thing._asdict() | {"name": plugin.label} | guarded)
    generator.plugin = plugin
    GENERATORS[plugin.label] = generator


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
    item_N, is_array = arguments[1], isinstance(result, np.ndarray)
    if role == "arrange":
        is_order = is_array and np.array_equal(np.sort(result), np.sort(item_N))
        return None if is_order else "returns other items than it was given"
    is_mask = is_array and (result.dtype, result.shape) == (np.dtype(bool), item_N.shape)
    return None if is_mask else "returns no array of one bool for each item"


def _check_data(task: Task) -> None:
    """Raises BadInput where the data of a task breaks the contract."""
    sample = Sample(task)
    for check in CHECKS:
        if check.is_quick and (fault := check.holds(sample)):
            raise BadInput(f"Task {task.card.label}: {fault}.")
