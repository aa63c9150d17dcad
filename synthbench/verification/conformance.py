"""What every optimizer is asked before its numbers mean anything: `synthbench verify --optimizer NAME`, and a test of each.

A check returns None, or one sentence that says what failed. It is asked with the optimizer's defaults, on a CPU, in one thread,
where the same sums are done in the same order, so that "the same" means every bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from inspect import Parameter
from math import inf
from typing import Any, NamedTuple, get_args

import torch
from pydantic import ValidationError
from torch import Tensor

from synthbench import plugins
from synthbench.cards import MODELS, ModelCard
from synthbench.common.errors import BadInput
from synthbench.common.wording import named, shown
from synthbench.experiment.optimizers import spec_of, trainable
from synthbench.plugins import loading, smoke_test, torch_optim
from synthbench.plugins.decorators import CustomOptimizer
from synthbench.plugins.errors import place, refusal
from synthbench.trainer import layout as layouts
from synthbench.trainer.fleet import views
from synthbench.trainer.optimizers import OPTIMIZERS
from synthbench.trainer.optimizers.registry import State
from synthbench.verification.testbed import LENGTH, VOCABULARY, Quadratic, Run, language

UPDATES = ("full", "full-hidden", "lora-4")
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # where an optimizer has no grid of its own: runners have it
SMALL = ModelCard(width=16, layers=1, head_width=8, norm="layernorm", positions="learned", mlp="swiglu")
# With tiny's matrices, so that products are done by the kernels that runs are trained by, and with vectors
TINY = MODELS["tiny"].model_copy(update={"norm": "layernorm", "layers": 1})
WIDEST = 128  # wider presets are narrowed: at 768, bfloat16 products alone take minutes on many a CPU


def narrowed(model: ModelCard) -> ModelCard:
    """The model with one layer, for all have the same shapes, and not too wide."""
    width = min(model.width, WIDEST)
    return model.model_copy(update={"layers": 1, "width": width, "head_width": min(model.head_width, width)})


STYLES = {name: narrowed(model) for name, model in MODELS.items()} | {
    "SwiGLU": ModelCard(width=32, layers=1, head_width=8, mlp="swiglu", norm="layernorm")  # what no preset has
}
STEPS = 4  # of checks that compare bits
DESCENT, LOOK = 200, 20  # steps down a quadratic at most, and after how many it is asked whether they were enough
LOWERED = 0.5  # what is left of the loss then, at most


class Candidate(NamedTuple):
    """A registered optimizer. arguments: names and defaults of its own."""

    name: str
    arguments: Mapping[str, Any]

    @property
    def rates(self) -> tuple[float, ...]:
        return OPTIMIZERS[self.name].grid or RATES

    @property
    def rate(self) -> float:
        """One from the middle of its grid."""
        return sorted(self.rates)[len(self.rates) // 2]


def taken(name: str) -> Candidate:
    """An optimizer by the name that `--optimizer` takes; a plug-in is loaded. Raises BadInput where that cannot be."""
    label = plugins.name_of(name, "--optimizer")
    if label not in plugins.TAKEN:
        return Candidate(label, OPTIMIZERS[label].arguments().model_dump())
    return of_thing(label, plugins.TAKEN[label].thing)


def of_thing(label: str, thing: Any) -> Candidate:
    """A plug-in that is registered under a label: a class, or an optimizer made by one of our decorators."""
    if isinstance(thing, CustomOptimizer):
        own = dict(thing.arguments)
    else:
        anything = (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
        known = [one for one in torch_optim.signature(thing).values() if one.kind not in anything]
        own = {one.name: one.default for one in known if one.name not in ("lr", "weight_decay")}
    return Candidate(label, OPTIMIZERS[label].arguments().model_dump() | own)


def is_accepted(candidate: Candidate) -> str | None:
    layout = layouts.transformer(SMALL, VOCABULARY, LENGTH - 1)
    spec, plugin = OPTIMIZERS[candidate.name], plugins.TAKEN.get(candidate.name)
    made_by = plugin.made_by if plugin else None
    for update in UPDATES:
        try:
            of_update = trainable(layout, update)
            smoke_test.check(candidate.name, spec.routing, of_update, spec.arguments(), made_by, f"Under {update} it")
        except BadInput as error:
            return str(error)
    return None


def is_finite(candidate: Candidate) -> str | None:
    for style, model in STYLES.items():
        for update in UPDATES:
            fleet, curve_TK = language(candidate.name, model, update, candidate.rate, steps=2)
            where = f"{style}, {update}, rate {candidate.rate:g}"
            for name, value in views(fleet.trainable, fleet.flat_KP.detach()).items():
                if not value.isfinite().all():
                    return f"{where}: {name} is not finite after {len(curve_TK)} steps."
            if not (curve_TK == curve_TK).all():
                return f"{where}: the loss is no number within {len(curve_TK)} steps."
    return None


def lowers_a_quadratic(candidate: Candidate) -> str | None:
    for update in UPDATES:
        world = Quadratic(candidate.name, SMALL, update, [Run(1, rate) for rate in candidate.rates])
        before, own = world.losses(), [name for name, by in world.optimizer.routing.items() if by == candidate.name]
        for _ in range(0, DESCENT, LOOK):
            after = world.go(LOOK).losses()
            left = {name: float((after[name] / before[name]).nan_to_num(inf).min()) for name in own}
            high = [name for name in own if left[name] > LOWERED]
            if not high:
                break
        else:
            rates = f"the best rate of {min(candidate.rates):g} to {max(candidate.rates):g}"
            return f"{update}: {left[high[0]]:.0%} of the loss of {high[0]} is left after {DESCENT} steps at {rates}."
    return None


def rate_zero_changes_nothing(candidate: Candidate) -> str | None:
    runs = [Run(1, 0.0), Run(2, 0.0, 0.5), Run(3, candidate.rate, 0.5)]
    for update in UPDATES:
        world = Quadratic(candidate.name, SMALL, update, runs)
        before = world.weights_KP.clone()
        after = world.go(STEPS).weights_KP
        for k in range(2):
            if name := first_difference(world, after[k], before[k]):
                return f"{update}: at rate 0 and weight decay {runs[k].weight_decay:g}, {name} moved in {STEPS} steps."
    return None


def is_repeatable(candidate: Candidate) -> str | None:
    runs = [Run(1, candidate.rate, 0.1), Run(2, candidate.rate / 2)]
    for update in UPDATES:
        one, other = (Quadratic(candidate.name, SMALL, update, runs).go(STEPS) for _ in range(2))
        for k in range(len(runs)):
            if name := first_difference(one, one.weights_KP[k], other.weights_KP[k]):
                return f"{update}: moved twice in the same way, {name} differs after {STEPS} steps."
    return None


def is_independent_of_the_fleet(candidate: Candidate) -> str | None:
    runs = [
        Run(1, candidate.rate, 0.1),
        Run(2, candidate.rate / 2),
        Run(3, candidate.rate / 4, 0.5),
        Run(4, candidate.rate, 0.1),
    ]
    for update in UPDATES:
        alone = [Quadratic(candidate.name, TINY, update, [run]).go(STEPS).weights_KP[0] for run in runs]
        for order in (runs, runs[::-1], runs[1:3]):
            together = Quadratic(candidate.name, TINY, update, order).go(STEPS)
            for k, run in enumerate(order):
                if name := first_difference(together, together.weights_KP[k], alone[runs.index(run)]):
                    place = f"run {k + 1} of {len(order)}"
                    return f"{update}: {name} of {place} is not what it is alone after {STEPS} steps."
    return None


def keeps_a_divergence_to_itself(candidate: Candidate) -> str | None:
    runs = [Run(1, candidate.rate, 0.1), Run(2, inf), Run(3, candidate.rate)]
    for update in UPDATES:
        together = Quadratic(candidate.name, SMALL, update, runs).go(STEPS)
        for k in (0, 2):
            alone = Quadratic(candidate.name, SMALL, update, [runs[k]]).go(STEPS)
            if name := first_difference(together, together.weights_KP[k], alone.weights_KP[0]):
                return f"{update}: {name} is another one beside a run at an infinite rate, after {STEPS} steps."
    return None


def survives_being_rebuilt(candidate: Candidate) -> str | None:
    runs = [Run(1, candidate.rate, 0.1), Run(2, candidate.rate / 2)]
    for update in UPDATES:
        whole = Quadratic(candidate.name, SMALL, update, runs).go(STEPS).go(STEPS)
        half = rebuilt(Quadratic(candidate.name, SMALL, update, runs).go(STEPS), candidate.name)
        Quadratic(candidate.name, SMALL, update, [Run(5, candidate.rate)]).go(
            1
        )  # what is kept elsewhere is another's now
        half.go(STEPS)
        for k in range(len(runs)):
            if name := first_difference(whole, half.weights_KP[k], whole.weights_KP[k]):
                steps = f"after {STEPS} steps and {STEPS} more"
                return f"{update}: {name} is another one {steps} from weights and state that were saved in between."
    return None


def fingerprint_tells_arguments_apart(candidate: Candidate) -> str | None:
    card = OPTIMIZERS[candidate.name].arguments
    found = {spec_of(candidate.name, card()).fingerprint: "its defaults"}
    for name, default in candidate.arguments.items():
        arguments = changed(candidate.name, name, default)
        if arguments is None:
            return f"No value but {shown(default)} was found that the argument {named(name)} can have."
        said = f"{named(name)} = {shown(arguments[name])}"
        fingerprint = spec_of(candidate.name, card.model_validate(arguments)).fingerprint
        if fingerprint in found:
            return f"{said} has the fingerprint of {found[fingerprint]}: runs of both would be taken for the same."
        found[fingerprint] = said
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
    """Every check with what failed; those after an optimizer that cannot move anything are left out."""
    with loading.put_back():
        torch.set_num_threads(1)
        for title, check in CHECKS.items():
            failed = outcome(check, candidate)
            yield title, failed
            if failed and check is is_accepted:
                return


def outcome(check: Callable[[Candidate], str | None], candidate: Candidate) -> str | None:
    """What a check says; what a person's code raises is a failure like another."""
    try:
        return check(candidate)
    except BadInput as error:
        return str(error)
    except (Exception, SystemExit) as error:
        return f"It raised {refusal(error)}{place(error)}."


def first_difference(world: Quadratic, one_P: Tensor, other_P: Tensor) -> str | None:
    """The first parameter in which two runs differ; what is no number in both is the same."""
    for parameter in world.fleet.trainable.parameters.values():
        reach = slice(parameter.offset, parameter.offset + parameter.size)
        one, other = one_P[reach], other_P[reach]
        if not (one.eq(other) | (one.isnan() & other.isnan())).all():
            return parameter.name
    return None


def rebuilt(world: Quadratic, name: str) -> Quadratic:
    """The same fleet made anew: of its weights, and of a copy of the state of its optimizer.

    It takes a step before, for optimizers of torch are made in their first one; nothing of that step may remain.
    """
    again = Quadratic(name, SMALL, world.fleet.update, world.runs).go(1)
    again.weights_KP.copy_(world.weights_KP)
    again.steps = world.steps
    for (
        optimizer,
        state,
    ) in world.optimizer._states.items():  # the trainer itself never saves them: a fleet is trained whole
        again.optimizer._states[optimizer] = carried(again.optimizer._states[optimizer], state)
    return again


def carried(fresh: State, state: State) -> State:
    """A copy of an optimizer's state, which shares nothing with it. Optimizers of torch are not copied: their state_dict is, and
    fresh ones load it."""
    own = ("optimizers", "parameters")
    for new, old in zip(fresh.get("optimizers", []), state.get("optimizers", []), strict=True):
        new.load_state_dict(deepcopy(old.state_dict()))
    rest = {key: value for key, value in state.items() if key not in own or "optimizers" not in state}
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
    """Values beside a default, of its kind where that is known."""
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
