"""Checks that every optimizer has to pass before its numbers mean anything: `synthbench verify --optimizer NAME`.

A check of an optimizer under an update returns None, or a sentence that says what failed. It runs with the optimizer's
defaults, on a CPU, in one thread: the same sums are done in the same order, and "the same" means every bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from math import inf
from typing import Any

import numpy as np
import torch
from pydantic import model_validator

from synthbench import plugins
from synthbench.cards import MODELS, ModelCard
from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.wording import shown
from synthbench.experiment.optimizers import checked
from synthbench.plugins import checks
from synthbench.plugins.checks import difference, rate, rates
from synthbench.plugins.errors import describe
from synthbench.plugins.settings import preserved_settings
from synthbench.plugins.testbed import LENGTH, VOCABULARY, Quadratic, Run, language
from synthbench.plugins.trial import Trial
from synthbench.trainer.fleet import views
from synthbench.trainer.optimizers import OPTIMIZERS

UPDATES = ("full", "full-hidden", "lora-4")
SMALL = ModelCard(width=16, layers=1, head_width=8, norm="layernorm", positions="learned", mlp="swiglu")
# With tiny's matrices, for which the kernels are those of training, and with vectors
TINY = MODELS["tiny"].model_copy(update={"norm": "layernorm", "layers": 1})
WIDEST = 128  # wider presets are narrowed: at 768, bfloat16 products alone take minutes on many a CPU
STYLES = {  # with one layer, since all have the same shapes
    name: model.model_copy(
        update={"layers": 1, "width": min(model.width, WIDEST), "head_width": min(model.head_width, WIDEST)}
    )
    for name, model in MODELS.items()
} | {"SwiGLU": ModelCard(width=32, layers=1, head_width=8, mlp="swiglu", norm="layernorm")}  # what no preset has
STEPS = 4  # of checks that compare bits
DESCENT, INTERVAL = 200, 20  # steps down a quadratic at most, and between evaluations
LOWERED = 0.5  # what is left of the loss then, at most


def candidate(optimizer: Any, settings: Mapping[str, Any] | None = None) -> str:
    """The registered name of an optimizer to check, given as `--optimizer` takes it, or as an object; a plug-in is loaded.

    settings: `{"optimizer.NAME": value}`, and `{"routing": "hidden"}` of a plug-in, in place of defaults; from now on they
    are the defaults of the registered optimizer. Raises BadInput for what cannot be loaded and for what is not allowed.
    """
    name, arguments = plugins.name_of(optimizer, "--optimizer"), dict[str, Any]()
    for path, value in (settings or {}).items():
        where, _, key = path.rpartition(".")
        if where != "optimizer" and not (path == "routing" and plugins.plugin_of(name)):
            raise BadInput(
                f"verify --set {shown(overrides.typed({path: value})[0])}: allowed are optimizer.NAME=value, and for a "
                "plug-in routing=hidden or routing=all."
            )
        arguments[key] = value
    checked(name, arguments, "--set", name, ["optimizer"])
    registered = OPTIMIZERS[name]

    class Defaults(registered.arguments):  # type: ignore[name-defined, misc]
        @model_validator(mode="before")
        @classmethod
        def _given(cls, content: dict[str, Any]) -> dict[str, Any]:
            return {**arguments, **content}

    if arguments:
        OPTIMIZERS[name] = registered._replace(arguments=Defaults, routing=plugins.routing_of(name, arguments))
    return name


def of(name: str, update: str) -> Trial:
    """An optimizer at its defaults."""
    return Trial(name, {}, SMALL, VOCABULARY, LENGTH, (update,))


def is_accepted(name: str, update: str) -> None:
    checks.moves(of(name, update), update)


def is_finite(name: str, update: str) -> str | None:
    for style, model in STYLES.items():
        fleet, curve_TK = language(name, model, update, rate(name), steps=2)
        values = views(fleet.trainable, fleet.flat_KP.detach())
        infinite = [parameter for parameter, value in values.items() if not value.isfinite().all()]
        if infinite or np.isnan(curve_TK).any():
            what = infinite[0] if infinite else "the loss"
            return f"{style}, rate {rate(name):g}: {what} is not finite after {len(curve_TK)} steps."
    return None


def lowers_a_quadratic(name: str, update: str) -> str | None:
    quadratic = Quadratic(name, SMALL, update, [Run(1, rate) for rate in rates(name)])
    before = quadratic.losses()
    moved = [parameter for parameter, by in quadratic.optimizer.routing.items() if by == name]
    for _ in range(0, DESCENT, INTERVAL):
        after = quadratic.go(INTERVAL).losses()
        left = {key: float((after[key] / before[key]).nan_to_num(inf).min()) for key in moved}
        high = [parameter for parameter in moved if left[parameter] > LOWERED]
        if not high:
            return None
    best = f"the best rate of {min(rates(name)):g} to {max(rates(name)):g}"
    return f"{left[high[0]]:.0%} of the loss of {high[0]} is left after {DESCENT} steps at {best}."


def rate_zero_changes_nothing(name: str, update: str) -> str | None:
    runs = [Run(1, 0.0), Run(2, 0.0, 0.5), Run(3, rate(name), 0.5)]
    quadratic = Quadratic(name, SMALL, update, runs)
    before = quadratic.weights_KP.clone()
    changed = difference(quadratic.go(STEPS), {0: before[0], 1: before[1]})
    return f"{changed} moved in {STEPS} steps." if changed else None


def is_repeatable(name: str, update: str) -> str | None:
    return checks.differs_twice(of(name, update), SMALL, update, STEPS)


def is_independent_of_the_fleet(name: str, update: str) -> str | None:
    return checks.differs_in_a_fleet(of(name, update), TINY, update, STEPS)


def keeps_a_divergence_to_itself(name: str, update: str) -> str | None:
    return checks.differs_beside_a_divergence(of(name, update), SMALL, update, STEPS)


def survives_being_rebuilt(name: str, update: str) -> str | None:
    runs = [Run(1, rate(name), 0.1), Run(2, rate(name) / 2)]
    unbroken = Quadratic(name, SMALL, update, runs).go(STEPS).go(STEPS)
    resumed = rebuilt(Quadratic(name, SMALL, update, runs).go(STEPS), name)
    Quadratic(name, SMALL, update, [Run(5, rate(name))]).go(1)  # overwrites what the state does not hold
    differing = difference(resumed.go(STEPS), dict(enumerate(unbroken.weights_KP)))
    saved = f"when weights and state are saved after {STEPS} of {2 * STEPS} steps"
    return f"{differing} differs {saved}." if differing else None


Check = Callable[[str, str], str | None]
# In this order: what is kept where no fleet may keep it (a count of all steps, say) does most harm while it is young.
CHECKS: dict[str, Check] = {
    "can move the parameters of a model": is_accepted,
    "moved twice, the same bits": is_repeatable,
    "alone or in any fleet, the same bits": is_independent_of_the_fleet,
    "a diverging run harms no other": keeps_a_divergence_to_itself,
    "state saved and loaded, the same bits": survives_being_rebuilt,
    "rate 0 changes nothing": rate_zero_changes_nothing,
    "finite on every preset and style of model": is_finite,
    "lowers a quadratic": lowers_a_quadratic,
}


def outcomes(name: str) -> Iterator[tuple[str, str | None]]:
    """Every check with what failed, None where it passes; an optimizer that cannot move anything is checked no further."""
    with preserved_settings():
        torch.set_num_threads(1)
        for title, check in CHECKS.items():
            failure = outcome(check, name)
            yield title, failure
            if failure and check is is_accepted:
                return


def outcome(check: Check, name: str) -> str | None:
    """The failure of a check under the first update where it fails; what a person's code raises is a failure too."""
    for update in UPDATES:
        try:
            failure = check(name, update)
        except BadInput as error:
            failure = str(error)
        except (Exception, SystemExit) as error:
            failure = f"It raised {describe(error)}."
        if failure:
            return f"{update}: {failure}"
    return None


def rebuilt(quadratic: Quadratic, name: str) -> Quadratic:
    """The same fleet made anew, of its weights and of a copy of its optimizer's state.

    It takes a step before, which makes the instances of torch's optimizers; nothing of that step may remain. They load a
    copy of their state_dict.
    """
    fresh = Quadratic(name, SMALL, quadratic.fleet.update, quadratic.runs).go(1)
    fresh.weights_KP.copy_(quadratic.weights_KP)
    fresh.steps = quadratic.steps
    states = fresh.optimizer._states  # the trainer itself never saves them: a fleet is trained whole
    for optimizer, state in quadratic.optimizer._states.items():
        instances, kept = states[optimizer], dict(state)
        if "instances" in kept:
            for new, old in zip(instances["instances"], kept.pop("instances"), strict=True):
                new.optimizer.load_state_dict(deepcopy(old.optimizer.state_dict()))
            kept.pop("parameters", None)
        states[optimizer] = instances | deepcopy(kept)
    return fresh
