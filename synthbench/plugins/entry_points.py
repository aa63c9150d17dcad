"""What installed distributions offer by name, as entry points: read from their metadata, imported only when asked for.

A distribution offers an optimizer in its pyproject.toml:

    [project.entry-points."synthbench.optimizers"]
    lion = "my_package.lion:lion"
"""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import entry_points
from multiprocessing import parent_process
from typing import NamedTuple

from synthbench.cards.spelling import UNTIL
from synthbench.common.errors import BadInput
from synthbench.common.wording import named, shown

OPTIMIZERS, GENERATORS = "synthbench.optimizers", "synthbench.generators"
FORMER = {OPTIMIZERS: "synthbench.rules"}  # old names of groups


class Offer(NamedTuple):
    """value: `pkg.mod:name`. distribution: its name and version."""

    name: str
    value: str
    distribution: str


def offers(group: str) -> list[Offer]:
    """What is offered in a group or under its former name, sorted by name; nothing is imported."""
    groups = [group, FORMER[group]] if group in FORMER else [group]
    points = [point for name in groups for point in entry_points(group=name)]
    distributions = [f"{point.dist.name} {point.dist.version}" if point.dist else "?" for point in points]
    pairs = zip(points, distributions, strict=True)
    return sorted({Offer(point.name, point.value, distribution) for point, distribution in pairs})


def find(group: str, name: str, where: str) -> str | None:
    """The `pkg.mod:name` that a name in a group stands for, None where nobody offers it.

    Raises BadInput that begins with `where` if two distributions offer different things under the name.
    """
    matches = [offer for offer in offers(group) if offer.name == name]
    if len({offer.value for offer in matches}) > 1:
        which = " and ".join(f"{named(offer.distribution)} ({named(offer.value)})" for offer in matches)
        raise BadInput(f"{where} {shown(name)} is offered by {which}; name one by its module.")
    if matches and not entry_points(group=group, name=name):
        _notice(
            f"{named(matches[0].distribution)} offers {named(name)} in the entry point group {FORMER[group]}", group
        )
    return matches[0].value if matches else None


@cache
def _notice(what: str, group: str) -> None:
    """Prints one line, in the main process alone."""
    line = f"synthbench: {what}; it is called {group} now; the old name is read until version {UNTIL}."
    if parent_process() is None:
        print(line, file=sys.stderr)
