"""What installed distributions offer under a name, as entry points: read from their metadata, imported only when asked for.

A distribution says so in its own pyproject.toml:

    [project.entry-points."synthbench.optimizers"]
    lion = "my_package.lion:lion"
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import NamedTuple

from synthbench.common.errors import BadInput
from synthbench.common.wording import named, shown

OPTIMIZERS, GENERATORS = "synthbench.optimizers", "synthbench.generators"


class Offer(NamedTuple):
    """value: `pkg.mod:name`, where it is. distribution: whose it is, with its version."""

    name: str
    value: str
    distribution: str


def offers(group: str) -> list[Offer]:
    """What is offered in a group, by name; nothing is imported."""
    found = {
        Offer(one.name, one.value, f"{one.dist.name} {one.dist.version}" if one.dist else "?")
        for one in entry_points(group=group)
    }
    return sorted(found)


def find(group: str, name: str, said: str) -> str | None:
    """Where a name of a group is, None where nobody offers it; raises BadInput that begins with `said` where two do."""
    found = [one for one in offers(group) if one.name == name]
    if len({one.value for one in found}) > 1:
        which = " and ".join(f"{named(one.distribution)} ({named(one.value)})" for one in found)
        raise BadInput(f"{said} {shown(name)} is offered by {which}; name the one that you mean by its module.")
    return found[0].value if found else None
