"""An axis of a runner: a path of its card and the values that are tried there."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from synthbench.cards.base import Card, Name
from synthbench.cards.values import Update, unique

Value = bool | int | float | str


def value_text(value: Value) -> str:
    """As a card has it: `0.1`, `true`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


Names = Annotated[list[Annotated[str, Field(max_length=4096)]], Field(min_length=1, max_length=128)]
Updates = Annotated[list[Update], Field(min_length=1, max_length=32), AfterValidator(unique)]


def column(path: str) -> str:
    """The column of an axis without a label: the last part of its path, `weight-decay` for `weight_decay`."""
    return re.sub(r"[^a-z0-9]+", "-", path.rpartition(".")[2].lower()).strip("-")


class AxisCard(Card):
    """A path of the card and its values, crossed with optimizers, updates and the other axes. Runs that it does not touch
    are trained once and stand in one row."""

    path: Annotated[str, Field(min_length=1, max_length=400)]
    """As for `--set`: `stages.pretrain.weight_decay`, `model.width`, `optimizer.momentum`."""
    values: Annotated[list[Value], Field(min_length=1, max_length=64), AfterValidator(unique)]
    """In the order of rows."""
    label: Name | None = None
    """The name of its column; none: the last part of the path, `weight-decay` for `weight_decay`."""
    tasks: Names | None = None
    """The tasks that it is for, by label; for the others the card's own value stands. None: all."""
    optimizers: Names | None = None
    """The optimizers that it is for, in any stage."""
    updates: Updates | None = None
    """The updates of the last stage that it is for."""

    @property
    def name(self) -> str:
        """Its column."""
        return self.label or column(self.path)

    @property
    def is_partial(self) -> bool:
        """Whether it is for some rows alone."""
        return (self.tasks, self.optimizers, self.updates) != (None, None, None)

    def is_for(self, task: str, optimizers: tuple[str, ...], update: str) -> bool:
        """Whether it is for a row of this task (by label), these optimizers (of all stages) and this update."""
        return (
            (self.tasks is None or task in self.tasks)
            and (self.optimizers is None or bool({*optimizers} & {*self.optimizers}))
            and (self.updates is None or update in self.updates)
        )
