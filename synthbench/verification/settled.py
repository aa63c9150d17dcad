"""An optimizer to check as it would be run: with arguments and a routing that `--set` gives it, not its defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import model_validator

from synthbench import plugins
from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.wording import shown
from synthbench.experiment.optimizers import checked
from synthbench.trainer.optimizers import OPTIMIZERS
from synthbench.verification.conformance import Candidate


def settled(candidate: Candidate, settings: Sequence[str]) -> Candidate:
    """The candidate with these settings for its defaults, which its registered optimizer has from now on, too.

    settings: `optimizer.NAME=value`, and of a plug-in `routing=hidden`. Raises BadInput for others, and for what is not
    allowed.
    """
    given: dict[str, Any] = {}
    for setting in settings:
        where, value = overrides.parse(setting)
        is_routing = where == ["routing"] and candidate.name in plugins.TAKEN
        if not is_routing and (len(where) != 2 or where[0] != "optimizer"):
            raise BadInput(
                f"verify --set {shown(setting)}: allowed are optimizer.NAME=value, and of an optimizer of your own "
                "routing=hidden or routing=all."
            )
        given[where[-1]] = value
    if not given:
        return candidate
    checked(candidate.name, given, "--set", candidate.name, "optimizer")
    own, optimizer = given, OPTIMIZERS[candidate.name]

    class Settled(optimizer.arguments):  # type: ignore[name-defined, misc]
        @model_validator(mode="before")
        @classmethod
        def _given(cls, content: dict[str, Any]) -> dict[str, Any]:
            return own | content

    routing = plugins.routing_of(candidate.name, given)
    OPTIMIZERS[candidate.name] = optimizer._replace(arguments=Settled, routing=routing)
    return candidate._replace(arguments=dict(candidate.arguments) | given)
