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
    """value: `pkg.mod:name`. distribution: its name and version. group: the entry point group that it stands in."""

    name: str
    value: str
    distribution: str
    group: str


def offers(group: str) -> list[Offer]:
    """What is offered in a group, or under its former name alone, sorted by name; nothing is imported."""
    unique: dict[tuple[str, str, str], str] = {}
    for each in (FORMER[group], group) if group in FORMER else (group,):
        for point in entry_points(group=each):
            unique[point.name, point.value, f"{point.dist.name} {point.dist.version}" if point.dist else "?"] = each
    return [Offer(*key, each) for key, each in sorted(unique.items())]


def find(group: str, name: str, where: str) -> str | None:
    """The `pkg.mod:name` that a name in a group stands for, None where nobody offers it.

    Raises BadInput that begins with `where` if two distributions offer different things under the name.
    """
    matches = [offer for offer in offers(group) if offer.name == name]
    if len({offer.value for offer in matches}) > 1:
        which = " and ".join(f"{named(offer.distribution)} ({named(offer.value)})" for offer in matches)
        raise BadInput(f"{where} {shown(name)} is offered by {which}; name one by its module.")
    if matches and matches[0].group != group:
        _warn(
            f"{named(matches[0].distribution)} offers {named(name)} in the entry point group {matches[0].group}", group
        )
    return matches[0].value if matches else None


@cache
def _warn(what: str, group: str) -> None:
    """Prints one line, in the main process alone."""
    if parent_process() is None:
        print(
            f"synthbench: {what}; it is called {group} now; the old name is read until version {UNTIL}.",
            file=sys.stderr,
        )
