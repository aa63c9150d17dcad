"""Cards by name or by path: found, read and checked, with one sentence for what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from synthbench.cards.base import Card
from synthbench.cards.runner import RunnerCard
from synthbench.cards.spelling import renewed
from synthbench.cards.task import TaskCard
from synthbench.common import files, overrides
from synthbench.common.errors import BadInput
from synthbench.common.validation import sentence
from synthbench.common.wording import did_you_mean, listed, named, shown

C = TypeVar("C", TaskCard, RunnerCard)
KINDS: dict[type[Card], str] = {TaskCard: "task", RunnerCard: "runner"}


@cache
def shipped() -> Path:
    """The folder that holds `tasks`, `runners` and `reports`: inside a wheel's package, beside a checkout's."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_cards"
    return inside if inside.is_dir() else package.parent


def names(kind: type[Card]) -> list[str]:
    """Names of the shipped cards of a kind."""
    return sorted(path.stem for path in (shipped() / f"{KINDS[kind]}s").glob("*.toml"))


def is_path(given: str) -> bool:
    """Whether a card is given by path, not by name."""
    return given.endswith(".toml") or "/" in given


def locate(kind: type[Card], name: str) -> Path:
    """The file of a card given by name or by path (of a task perhaps with a variant behind a colon); raises BadInput
    with the nearest name."""
    name = split(kind, name)[0]
    if is_path(name):
        if not files.is_file(Path(name)):
            raise BadInput(f"{shown(name)} is not a file; give a card's path or one of {listed(names(kind))}.")
        return Path(name)
    if name not in names(kind):
        raise BadInput(f"Unknown {KINDS[kind]} {shown(name)}{did_you_mean(name, names(kind))}.")
    return shipped() / f"{KINDS[kind]}s" / f"{name}.toml"


def split(kind: type[Card], given: str) -> tuple[str, str | None]:
    """A task's name or path, and its variant where one is asked for."""
    name, colon, variant = given.rpartition(":")
    return (name, variant) if colon and kind is TaskCard and "/" not in variant else (given, None)


def parse(kind: type[C], content: dict[str, Any], origin: str) -> C:
    """A card from its content; raises BadInput that names the origin, the key, the value and what is allowed."""
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise BadInput(sentence(error, content, named(origin), partial(_keys, kind))) from None


def read(kind: type[Card], path: Path) -> dict[str, Any]:
    """A card's content as it stands in its file, old spellings of keys renewed; raises BadInput that names the file."""
    content = files.toml(path)
    return renewed(content, named(path)) if kind is RunnerCard else content


def load(kind: type[C], given: str) -> C:
    """A card by name or path."""
    path, variant = locate(kind, given), split(kind, given)[1]
    content = read(kind, path)
    card = parse(kind, content, str(path))
    if variant is None or not isinstance(card, TaskCard):
        return card
    if variant not in card.variants:
        raise BadInput(f"Task {card.name} has no variant {shown(variant)}{did_you_mean(variant, card.variants)}.")
    for where, new in card.variants[variant].items():
        overrides.put(content, where.split("."), new, str(path))
    return parse(kind, content | {"variant": variant}, f"{path}, variant {variant}")


def _keys(kind: type[BaseModel], where: list[Any]) -> list[str]:
    """The keys allowed at a place in a card: in the table that the last of its keys leads to."""
    table = kind
    for part in where:
        fields = {field.alias or name: field for name, field in table.model_fields.items()}
        if part in fields:
            table = next(_tables(fields[part].annotation), table)
    return [field.alias or name for name, field in table.model_fields.items()]


def _tables(annotation: Any) -> Iterator[type[BaseModel]]:
    """The tables in a field's type, such as StageCard in list[StageCard]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _tables(inner)
