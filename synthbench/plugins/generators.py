"""Generators from elsewhere, which a task's card names: `file.py:name` beside it, `pkg.mod:name`, or an entry point's name.

Each is registered under its label, and the card that a Task holds has the hash of its code: whatever is a fingerprint of
the task depends on it. Workers `restore` the same.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from synthbench import cards
from synthbench.cards import SliceCard, TaskCard
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, named, short, shown
from synthbench.generators import GENERATORS, Framed, Generator, Task
from synthbench.generators.contract import CHECKS, Sample, malformed
from synthbench.plugins import entry_points, loading


class Source(NamedTuple):
    """Where a generator is. place: `/path/file.py:name` or `pkg.mod:name`. code: sha256 of its code."""

    label: str
    place: str
    code: str


class Origin(NamedTuple):
    """What a worker needs for a task: the generators of its card that are not built in, and what it has to draw."""

    sources: tuple[Source, ...]
    card: TaskCard
    fingerprint: str


BUILT_IN = frozenset(GENERATORS)
TAKEN: dict[str, Source] = {}  # by label: what this process has registered
_TOLD: set[tuple[Path, str]] = set()
_GUARDED: dict[int, tuple[Any, Callable[..., Any]]] = {}  # by id of a function: slices under a word share `is_unseen`


def tasks(given: Sequence[str]) -> list[Task]:
    """Tasks of one experiment, by names or paths of their cards; raises BadInput where their data breaks a promise."""
    found, known = [task(name) for name in given], dict[str, tuple[str, str]]()
    for one in found:
        for part in foreign(one.card):
            code, other = known.setdefault(part.generator, (part.code, one.card.label))
            if code != part.code:
                raise BadInput(
                    f"Tasks {other} and {one.card.label} each have a generator {named(part.generator)}, with different "
                    "code; rename one of the files."
                )
        if foreign(one.card):
            _try(one)
    return found


def task(given: str) -> Task:
    """The task of a card by name or path, with its generators loaded; raises BadInput for what is wrong with either."""
    path = cards.locate(TaskCard, given)
    card = _with_code(cards.load(TaskCard, given), path)
    try:
        return Task(card)
    except BadInput:
        raise
    except Exception as error:  # options are checked by code of the generator's
        if not foreign(card):
            raise
        raise BadInput(f"Task {card.label}: its generators cannot be used: {_why(error)}.") from error


def foreign(card: TaskCard) -> list[SliceCard]:
    """The slices of a task whose generators are not built in."""
    return [part for parts in card.stages.values() for part in parts.values() if part.code]


def names_code(card: TaskCard) -> bool:
    """Whether a card, as it is written, names generators that are not built in."""
    return any(part.generator not in BUILT_IN for parts in card.stages.values() for part in parts.values())


def origins(found: Iterable[Task]) -> list[Origin]:
    """What workers need for those of these tasks whose generators are not all built in."""
    return [origin_of(one) for one in found if foreign(one.card)]


def origin_of(found: Task) -> Origin:
    labels = dict.fromkeys(part.generator for part in foreign(found.card))
    return Origin(tuple(TAKEN[label] for label in labels), found.card, found.fingerprint)


def restore(origin: Origin) -> None:
    """Registers generators in a worker; raises BadInput where their code, or what they draw, is not what it was."""
    for source in origin.sources:
        found = _loaded(source.place, "generator")
        if found.source != source.code:
            raise BadInput(f"generator {named(source.place)} was edited meanwhile; give the same command again.")
        _register(source, _checked(found.thing, f"generator {named(source.label)}"))
    if Task(origin.card).fingerprint != origin.fingerprint:
        raise BadInput(
            f"Task {origin.card.label} is other data in another process; draw from synthbench.generators.stream alone, and "
            "never from hash(), sets or the clock."
        )


def _with_code(card: TaskCard, path: Path) -> TaskCard:
    """A card whose slices name what is registered, with the hash of its code."""
    stages: dict[str, dict[Any, SliceCard]] = {}
    for stage, parts in card.stages.items():
        for name, part in parts.items():
            where = f"{named(path)}: stages.{stage}.{name}"
            if part.code:
                raise BadInput(f"{where}.code: the program notes the code of generators itself; leave the key out.")
            own = stages.setdefault(stage, {})[name] = _resolved(part, path, f"{where}.generator")
            _check_options(own, where)
    return card.model_copy(update={"stages": stages})


def _check_options(part: SliceCard, where: str) -> None:
    """Raises BadInput for an option that the slice's generator does not have."""
    known = GENERATORS[part.generator].options.model_fields if part.generator in GENERATORS else part.options
    for key in part.options:
        if key not in known:
            hint = did_you_mean(key, [*known, *(name for name in SliceCard.model_fields if name != "code")])
            raise BadInput(f"{where}: generator {named(part.generator)} has no option {shown(key)}{hint}.")


def _resolved(part: SliceCard, path: Path, said: str) -> SliceCard:
    if part.generator in BUILT_IN:
        return part
    if loading.is_plugin(part.generator):
        where, _, attribute = part.generator.rpartition(":")
        is_file = where.endswith(loading.SUFFIX)
        place = f"{(path.parent / where).resolve()}:{attribute}" if is_file else part.generator
        label = f"{Path(where).name}:{attribute}" if is_file else part.generator
    elif offered := entry_points.find(entry_points.GENERATORS, part.generator, said):
        place, label = offered, part.generator
    else:
        return part  # unknown: the Task says which there are
    if not loading.is_missing(place):
        announce(path, place)
    found = _loaded(place, said)
    source = Source(label, place, found.source)
    _register(source, _checked(found.thing, f"{said} {named(label)}"))
    return part.model_copy(update={"generator": label, "code": source.code})


def _loaded(place: str, said: str) -> loading.Loaded:
    """What a place means. Generators that its file registers by itself are forgotten: they have no label that is its."""
    known = set(GENERATORS)
    try:
        return loading.load(place, said)
    finally:
        for name in set(GENERATORS) - known:
            del GENERATORS[name]


def announce(card: Path, place: str) -> None:
    """Says, once, that a card makes code run: a card may come from somebody else."""
    if (card, place) not in _TOLD:
        _TOLD.add((card, place))
        print(f"synthbench: {named(card)} names code, which is run: {named(place.rpartition(':')[0])}", file=sys.stderr)


def _checked(thing: Any, said: str) -> Generator:
    if not isinstance(thing, Generator):
        raise BadInput(f"{said} is a {named(type(thing).__name__)}, not a synthbench.generators.Generator.")
    if not (isinstance(thing.options, type) and issubclass(thing.options, Framed)):
        raise BadInput(f"{said}: its options must be a class of synthbench.generators.Framed.")
    functions = {"draw": thing.draw, "check": thing.check, "arrange": thing.arrange}
    for name, function in functions.items() | ({"is_unseen": thing.is_unseen}.items() if thing.is_unseen else set()):
        if not callable(function):
            raise BadInput(f"{said}: its {name} must be a function.")
    return thing


def _register(source: Source, generator: Generator) -> None:
    """Registers a generator under its label, guarded: what it raises, or returns in the wrong form, is one sentence."""
    said = f"generator {named(Path(source.place.rpartition(':')[0]).name)}"
    guarded: dict[str, Any] = {
        name: _guarded(function, f"{said}: {name}", WRONG[name])
        for name, function in generator._asdict().items()
        if name in WRONG and function is not None
    }
    GENERATORS[source.label] = generator._replace(name=source.label, **guarded)
    TAKEN[source.label] = source


def _wrong_check(found: Any, *given: Any) -> str | None:
    return None if found is None or isinstance(found, str) else f"returns {shown(found)}, not None or a string"


def _wrong_arrange(found: Any, language: Any, item_N: Any) -> str | None:
    is_order = isinstance(found, np.ndarray) and np.array_equal(np.sort(found), np.sort(item_N))
    return None if is_order else "returns other items than it was given"


def _wrong_is_unseen(found: Any, language: Any, item_N: Any, part_U: Any) -> str | None:
    is_mask = isinstance(found, np.ndarray) and (found.dtype, found.shape) == (np.dtype(bool), item_N.shape)
    return None if is_mask else "returns no array of one bool for each item"


def _wrong_draw(found: Any, language: Any, options: Any, item_N: Any, place: Any, split: str) -> str | None:
    return malformed(found, language, item_N)


WRONG: dict[str, Callable[..., str | None]] = {
    "draw": _wrong_draw, "check": _wrong_check, "arrange": _wrong_arrange, "is_unseen": _wrong_is_unseen,
}  # fmt: skip


def _guarded(function: Any, said: str, wrong: Callable[..., str | None]) -> Callable[..., Any]:
    """A function whose errors are one sentence, what is wrong with its result among them; one of ours as it is."""
    if str(getattr(function, "__module__", "")).startswith("synthbench."):
        return cast(Callable[..., Any], function)
    if id(function) in _GUARDED:
        return _GUARDED[id(function)][1]

    def call(*given: Any) -> Any:
        try:
            found = function(*given)
        except BadInput:
            raise
        except (Exception, SystemExit) as error:
            raise BadInput(f"{said} raised {_why(error)}.") from error
        if says := wrong(found, *given):
            raise BadInput(f"{said} {says}.")
        return found

    _GUARDED[id(function)] = function, call
    return call


def _try(found: Task) -> None:
    """Raises BadInput where what the task draws breaks a promise that scores rest on."""
    sample = Sample(found)
    for check in CHECKS:
        if check.is_quick and (wrong := check.holds(sample)):
            raise BadInput(f"Task {found.card.label}: {wrong}.")


def _why(error: BaseException) -> str:
    return named(short(f"{type(error).__name__}: {error}", 200))
