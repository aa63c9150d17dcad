"""Checks that every optimizer has to pass before its numbers mean anything: `synthbench verify --optimizer NAME`.

A check returns None, or a sentence that says what failed. It runs with the optimizer's defaults, on a CPU, in one thread:
the same sums are done in the same order, and "the same" means every bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import wraps
from math import inf
from typing import Any, NamedTuple, get_args

import torch
from pydantic import ValidationError, model_validator
from torch import Tensor

from synthbench import plugins
from synthbench.cards import MODELS, ModelCard
from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.wording import named, shown
from synthbench.experiment.optimizers import checked, spec_of, trainable
from synthbench.plugins import smoke_test
from synthbench.plugins.errors import describe, location
from synthbench.plugins.loading import preserved_settings
from synthbench.trainer import layout as layouts
from synthbench.trainer.fleet import views
from synthbench.trainer.optimizers import OPTIMIZERS
from synthbench.trainer.optimizers.registry import State
from synthbench.verification.testbed import LENGTH, VOCABULARY, Quadratic, Run, language

UPDATES = ("full", "full-hidden", "lora-4")
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # where an optimizer has no grid of its own: runners have it
SMALL = ModelCard(width=16, layers=1, head_width=8, norm="layernorm", positions="learned", mlp="swiglu")
# With tiny's matrices, for which the kernels are those of training, and with vectors
TINY = MODELS["tiny"].model_copy(update={"norm": "layernorm", "layers": 1})
WIDEST = 128  # wider presets are narrowed: at 768, bfloat16 products alone take minutes on many a CPU


def narrowed(model: ModelCard) -> ModelCard:
    """The model with one layer, since all have the same shapes, and not too wide."""
    width = min(model.width, WIDEST)
    return model.model_copy(update={"layers": 1, "width": width, "head_width": min(model.head_width, width)})


STYLES = {name: narrowed(model) for name, model in MODELS.items()} | {
    "SwiGLU": ModelCard(width=32, layers=1, head_width=8, mlp="swiglu", norm="layernorm")  # what no preset has
}
STEPS = 4  # of checks that compare bits
DESCENT, INTERVAL = 200, 20  # steps down a quadratic at most, and between two looks at the loss
LOWERED = 0.5  # what is left of the loss then, at most


class Candidate(NamedTuple):
    """A registered optimizer to check. arguments: names and defaults."""

    name: str
    arguments: Mapping[str, Any]

    @property
    def rates(self) -> tuple[float, ...]:
        return OPTIMIZERS[self.name].grid or RATES

    @property
    def rate(self) -> float:
        """From the middle of its grid."""
        return sorted(self.rates)[len(self.rates) // 2]


def candidate(optimizer: Any, settings: Mapping[str, Any] | None = None) -> Candidate:
    """An optimizer by the name that `--optimizer` takes, or as an object; a plug-in is loaded.

    settings: `{"optimizer.NAME": value}`, and `{"routing": "hidden"}` of a plug-in, in place of defaults; from now on they
    are the defaults of the registered optimizer. Raises BadInput for what cannot be loaded and for what is not allowed.
    """
    name, arguments = plugins.name_of(optimizer, "--optimizer"), dict[str, Any]()
    for path, value in (settings or {}).items():
        where, _, key = path.rpartition(".")
        if where != "optimizer" and not (path == "routing" and plugins.plugin_of(name)):
            raise BadInput(
                f"verify --set {shown(f'{path}={overrides.written(value)}')}: allowed are optimizer.NAME=value, and for a "
                "plug-in routing=hidden or routing=all."
            )
        arguments[key] = value
    if arguments:
        _set_defaults(name, arguments)
    return Candidate(name, plugins.defaults(name) | arguments)


def _set_defaults(name: str, arguments: Mapping[str, Any]) -> None:
    """Gives a registered optimizer other defaults."""
    checked(name, arguments, "--set", name, "optimizer")
    optimizer = OPTIMIZERS[name]

    class Defaults(optimizer.arguments):  # type: ignore[name-defined, misc]
        @model_validator(mode="before")
        @classmethod
        def _given(cls, content: dict[str, Any]) -> dict[str, Any]:
            return {**arguments, **content}

    OPTIMIZERS[name] = optimizer._replace(arguments=Defaults, routing=plugins.routing_of(name, arguments))


def under_every_update(check: Callable[[Candidate, str], str | None]) -> Callable[[Candidate], str | None]:
    """A check that is made under each kind of update, and begins its sentence with it."""

    @wraps(check)
    def made(candidate: Candidate) -> str | None:
        failures = ((update, check(candidate, update)) for update in UPDATES)
        return next((f"{update}: {failure}" for update, failure in failures if failure), None)

    return made


@under_every_update
def is_accepted(candidate: Candidate, update: str) -> str | None:
    layout, optimizer = layouts.transformer(SMALL, VOCABULARY, LENGTH - 1), OPTIMIZERS[candidate.name]
    try:
        smoke_test.check(
            candidate.name, routing=optimizer.routing, layout=trainable(layout, update), arguments=optimizer.arguments(),
            where="it",
        )  # fmt: skip
    except BadInput as error:
        return str(error)
    return None


@under_every_update
def is_finite(candidate: Candidate, update: str) -> str | None:
    for style, model in STYLES.items():
        fleet, curve_TK = language(candidate.name, model, update, candidate.rate, steps=2)
        where = f"{style}, rate {candidate.rate:g}"
        for name, value in views(fleet.trainable, fleet.flat_KP.detach()).items():
            if not value.isfinite().all():
                return f"{where}: {name} is not finite after {len(curve_TK)} steps."
        if not (curve_TK == curve_TK).all():
            return f"{where}: the loss is NaN within {len(curve_TK)} steps."
    return None


@under_every_update
def lowers_a_quadratic(candidate: Candidate, update: str) -> str | None:
    world = Quadratic(candidate.name, SMALL, update, [Run(1, rate) for rate in candidate.rates])
    before, moved = world.losses(), [name for name, by in world.optimizer.routing.items() if by == candidate.name]
    for _ in range(0, DESCENT, INTERVAL):
        after = world.go(INTERVAL).losses()
        left = {name: float((after[name] / before[name]).nan_to_num(inf).min()) for name in moved}
        high = [name for name in moved if left[name] > LOWERED]
        if not high:
            return None
    rates = f"the best rate of {min(candidate.rates):g} to {max(candidate.rates):g}"
    return f"{left[high[0]]:.0%} of the loss of {high[0]} is left after {DESCENT} steps at {rates}."


@under_every_update
def rate_zero_changes_nothing(candidate: Candidate, update: str) -> str | None:
    runs = [Run(1, 0.0), Run(2, 0.0, 0.5), Run(3, candidate.rate, 0.5)]
    world = Quadratic(candidate.name, SMALL, update, runs)
    before = world.weights_KP.clone()
    for k, name in differences(world.go(STEPS), {0: before[0], 1: before[1]}):
        return f"at rate 0 and weight decay {runs[k].weight_decay:g}, {name} moved in {STEPS} steps."
    return None


@under_every_update
def is_repeatable(candidate: Candidate, update: str) -> str | None:
    runs = [Run(1, candidate.rate, 0.1), Run(2, candidate.rate / 2)]
    first, second = (Quadratic(candidate.name, SMALL, update, runs).go(STEPS) for _ in range(2))
    for _, name in differences(first, dict(enumerate(second.weights_KP))):
        return f"{name} differs after {STEPS} steps that were taken twice."
    return None


@under_every_update
def is_independent_of_the_fleet(candidate: Candidate, update: str) -> str | None:
    rate = candidate.rate
    runs = [Run(1, rate, 0.1), Run(2, rate / 2), Run(3, rate / 4, 0.5), Run(4, rate, 0.1)]
    alone = {run: Quadratic(candidate.name, TINY, update, [run]).go(STEPS).weights_KP[0] for run in runs}
    for order in (runs, runs[::-1], runs[1:3]):
        together = Quadratic(candidate.name, TINY, update, order).go(STEPS)
        for k, name in differences(together, {k: alone[run] for k, run in enumerate(order)}):
            return f"{name} of run {k + 1} of {len(order)} differs after {STEPS} steps from what it is alone."
    return None


@under_every_update
def keeps_a_divergence_to_itself(candidate: Candidate, update: str) -> str | None:
    runs = [Run(1, candidate.rate, 0.1), Run(2, inf), Run(3, candidate.rate)]
    alone = {k: Quadratic(candidate.name, SMALL, update, [runs[k]]).go(STEPS).weights_KP[0] for k in (0, 2)}
    for _, name in differences(Quadratic(candidate.name, SMALL, update, runs).go(STEPS), alone):
        return f"{name} differs beside a run at an infinite rate, after {STEPS} steps."
    return None


@under_every_update
def survives_being_rebuilt(candidate: Candidate, update: str) -> str | None:
    runs = [Run(1, candidate.rate, 0.1), Run(2, candidate.rate / 2)]
    unbroken = Quadratic(candidate.name, SMALL, update, runs).go(STEPS).go(STEPS)
    resumed = rebuilt(Quadratic(candidate.name, SMALL, update, runs).go(STEPS), candidate.name)
    other = [Run(5, candidate.rate)]
    Quadratic(candidate.name, SMALL, update, other).go(1)  # overwrites what is kept outside of the state
    for _, name in differences(resumed.go(STEPS), dict(enumerate(unbroken.weights_KP))):
        steps = f"after {STEPS} steps and {STEPS} more"
        return f"{name} differs {steps} from weights and state that were saved in between."
    return None


def fingerprint_tells_arguments_apart(candidate: Candidate) -> str | None:
    card = OPTIMIZERS[candidate.name].arguments
    known = {spec_of(candidate.name, card()).fingerprint: "its defaults"}
    for name, default in candidate.arguments.items():
        arguments = changed(candidate.name, name, default)
        if arguments is None:
            return f"No other value than {shown(default)} was found that the argument {named(name)} can have."
        setting = f"{named(name)} = {shown(arguments[name])}"
        fingerprint = spec_of(candidate.name, card.model_validate(arguments)).fingerprint
        if fingerprint in known:
            return f"{setting} has the fingerprint of {known[fingerprint]}: runs of both would be taken for the same."
        known[fingerprint] = setting
    return None


# In this order: what is kept where no fleet may keep it (a count of all steps, say) does most harm while it is young.
CHECKS: dict[str, Callable[[Candidate], str | None]] = {
    "can move the parameters of a model": is_accepted,
    "moved twice, the same bits": is_repeatable,
    "alone or in any fleet, the same bits": is_independent_of_the_fleet,
    "a diverging run harms no other": keeps_a_divergence_to_itself,
    "state saved and loaded, the same bits": survives_being_rebuilt,
    "rate 0 changes nothing": rate_zero_changes_nothing,
    "an argument changes the fingerprint": fingerprint_tells_arguments_apart,
    "finite on every preset and style of model": is_finite,
    "lowers a quadratic": lowers_a_quadratic,
}


def outcomes(candidate: Candidate) -> Iterator[tuple[str, str | None]]:
    """Every check with what failed, None where it passes; an optimizer that cannot move anything is checked no further."""
    with preserved_settings():
        torch.set_num_threads(1)
        for title, check in CHECKS.items():
            failure = outcome(check, candidate)
            yield title, failure
            if failure and check is is_accepted:
                return


def outcome(check: Callable[[Candidate], str | None], candidate: Candidate) -> str | None:
    """The failure of a check, None where it passes; what a person's code raises is a failure too."""
    try:
        return check(candidate)
    except BadInput as error:
        return str(error)
    except (Exception, SystemExit) as error:
        return f"It raised {describe(error)}{location(error)}."


def differences(world: Quadratic, expected: Mapping[int, Tensor]) -> Iterator[tuple[int, str]]:
    """The runs (by index) and parameters that are not as expected, rows of P floats; NaN equals NaN."""
    for k, row_P in expected.items():
        for parameter in world.fleet.trainable.parameters.values():
            reach = slice(parameter.offset, parameter.offset + parameter.size)
            if not torch.allclose(world.weights_KP[k, reach], row_P[reach], rtol=0, atol=0, equal_nan=True):
                yield k, parameter.name


def rebuilt(world: Quadratic, name: str) -> Quadratic:
    """The same fleet made anew, of its weights and of a copy of its optimizer's state.

    It takes a step before, which makes the instances of torch's optimizers; nothing of that step may remain.
    """
    again = Quadratic(name, SMALL, world.fleet.update, world.runs).go(1)
    again.weights_KP.copy_(world.weights_KP)
    again.steps = world.steps
    states = again.optimizer._states  # the trainer itself never saves them: a fleet is trained whole
    for optimizer, state in world.optimizer._states.items():
        states[optimizer] = carried(states[optimizer], state)
    return again


def carried(fresh: State, state: State) -> State:
    """A copy of an optimizer's state. Of torch's optimizers the state_dict is copied, and fresh instances load it."""
    instances = ("optimizers", "parameters")
    for new, old in zip(fresh.get("optimizers", []), state.get("optimizers", []), strict=True):
        new.load_state_dict(deepcopy(old.state_dict()))
    rest = {key: value for key, value in state.items() if key not in instances or "optimizers" not in state}
    return fresh | deepcopy(rest)


def changed(optimizer: str, name: str, default: Any) -> dict[str, Any] | None:
    """Arguments in which this one is not its default, None where no such value is allowed."""
    card = OPTIMIZERS[optimizer].arguments
    field = card.model_fields.get(name)
    for value in [*(get_args(field.annotation) if field else ()), *others(default)]:
        try:
            if value != default and card.model_validate({name: value}):
                return {name: value}
        except ValidationError:
            continue
    return None


def others(default: Any) -> Iterator[Any]:
    """Values other than a default, of its kind where that is known."""
    if isinstance(default, bool):
        yield not default
    elif isinstance(default, int | float):
        yield from (default + 1, default / 2, 0.5)
    elif isinstance(default, tuple | list) and default:
        for first in others(default[0]):
            yield [first, *default[1:]]
    elif isinstance(default, str):
        yield default + "-other"
    elif isinstance(default, dict):
        yield {"key": 1}
    yield from (True, 0.5)
