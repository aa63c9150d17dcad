"""The points of a card's axes: for every combination of their values the card as it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from synthbench import cards
from synthbench.cards import MODELS, AxisCard, RunnerCard
from synthbench.cards.axis import Value
from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.wording import listed, shown
from synthbench.experiment.optimizers import takes
from synthbench.scores import SCORES

COLUMNS = ("task", "optimizer", "update", "rank", "behind", "trials", "lr", "n", "diverged", "base", "edge", "runs",
           "seed", "run", "stage", "step", "score", "value", "device", "reference", "trainable", "p", "a", "b", "low",
           "high", "mean", "unit", "margin", "paired", "verdict")  # of tables and exports  # fmt: skip


class Point(NamedTuple):
    """One value of every axis, by label. away: the axes that stand at the card's own value, which is that of cells that an
    axis is not for. card: as it is there."""

    values: Mapping[str, Value | None]
    away: frozenset[str]
    card: RunnerCard

    @property
    def told(self) -> str:
        """Where on the axes, as a sentence on a mistake says it."""
        texts = [f"{label} = {shown(value)}" for label, value in self.values.items() if label not in self.away]
        return f" at {', '.join(texts)}" if texts else ""


def points(card: RunnerCard, origin: str) -> list[Point]:
    """Every combination of values; of an axis that is for some cells alone the card's own value, too. A card without axes
    has one point. Raises BadInput that begins with the origin."""
    labels, last = [axis.name for axis in card.axes], f"stages.{card.stages[-1].name}"
    meant = {"decay": f"{last}.weight_decay", "size": f"{last}.size"}  # what columns of these names show
    for axis in card.axes:
        taken = labels.count(axis.name) > 1 or axis.name in COLUMNS or axis.name in SCORES
        if taken or not axis.name or meant.get(axis.name, axis.path) != axis.path:
            raise BadInput(
                f"{origin}: axis {axis.path}: its column would be {shown(axis.name)}, which is taken; give a label (in the "
                "card's table [[axes]])."
            )
        if axis.path == meant["size"] and axis.name != "size":
            raise BadInput(f"{origin}: axis {axis.path}: its column is 'size', which claims name; leave out the label.")
    written = card.model_dump(mode="json", by_alias=True)
    choices = [[*((value, False) for value in axis.values), *([(None, True)] if axis.is_partial else [])]
               for axis in card.axes]  # fmt: skip
    found = []
    for chosen in product(*choices):
        values = {axis.name: _own(written, axis) if is_away else value
                  for axis, (value, is_away) in zip(card.axes, chosen, strict=True)}  # fmt: skip
        away = frozenset(axis.name for axis, (_, is_away) in zip(card.axes, chosen, strict=True) if is_away)
        put = [(axis, values[axis.name]) for axis in card.axes if axis.name not in away]
        found.append(Point(values, away, _at(card, put, origin)))
    return found


def _at(card: RunnerCard, values: Sequence[tuple[AxisCard, Any]], origin: str) -> RunnerCard:
    """A card with values put at the paths of axes."""
    if not values:
        return card
    content = card.model_dump(mode="json", by_alias=True)
    for axis, value in values:
        for path in _paths(axis, card, origin):
            _put(content, path, value, f"{origin}: axis {axis.path}")
    told = ", ".join(f"{axis.path} = {shown(value)}" for axis, value in values)
    return cards.parse(RunnerCard, content, f"{origin}: axes, at {told}")


def _paths(axis: AxisCard, card: RunnerCard, origin: str) -> list[list[str]]:
    """Where an axis puts its values: `optimizer.NAME` is an argument of every optimizer that takes it."""
    path = overrides.path(axis.path, f"{origin}: axis")
    if path[0] in NOT_CROSSED:
        raise BadInput(f"{origin}: axis {axis.path}: {path[0]} is no axis; it is crossed or told apart by itself.")
    if path[0] == "stages" and path[2:] == ["name"]:
        raise BadInput(f"{origin}: axis {axis.path}: a stage's name is no axis.")
    if path[0] != "optimizer" or len(path) != 2:
        return [path]
    names = list(dict.fromkeys(map(card.optimizer_of, card.optimizers)))
    takers = [name for name in names if all(takes(name, path[1], value) for value in axis.values)]
    if not takers:
        raise BadInput(f"{origin}: axis {axis.path}: {listed(names)} have no argument {shown(path[1])}.")
    return [["arguments", name, path[1]] for name in takers]


NOT_CROSSED = ("name", "version", "question", "cost", "tasks", "optimizers", "seeds", "columns", "rank", "margins",
               "reading", "variants", "scales", "claims", "axes")  # fmt: skip


def _put(content: dict[str, Any], path: list[str], value: Any, origin: str) -> None:
    """Sets an axis' value, over what tables `for` say of the same key."""
    if path[0] == "model" and len(path) > 1 and isinstance(content["model"], str):
        content["model"] = MODELS[content["model"]].model_dump(mode="json")
    overrides.put(content, path, value, origin)
    if path[0] == "stages" and len(path) == 3:
        stage = next(stage for stage in content["stages"] if stage["name"] == path[1])
        for override in stage["for"].values():
            override.pop(path[2], None)


def _own(content: Mapping[str, Any], axis: AxisCard) -> Value | None:
    """What the card itself has at an axis' path, None where that is no single value."""
    node: Any = content
    for part in overrides.path(axis.path, "axis"):
        if isinstance(node, list):
            node = {entry["name"]: entry for entry in node if isinstance(entry, dict) and "name" in entry}
        node = node.get(part) if isinstance(node, Mapping) else None
    return node if isinstance(node, int | float | str) else None
