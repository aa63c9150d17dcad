"""What a plug-in shows before anything is trained: that it can be used, and what of the card it heeds.

A worker process tries it on quadratics with the model's matrices. Stored results rely on three of the checks: the same
bits twice, in every fleet, and beside a run that diverges.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from math import inf
from typing import Any

import torch
from torch import Tensor

from synthbench.cards import ModelCard
from synthbench.common.errors import BadInput
from synthbench.plugins import groups
from synthbench.plugins.errors import describe
from synthbench.plugins.settings import preserved_settings
from synthbench.plugins.testbed import Quadratic, Run
from synthbench.plugins.trial import Trial, Tried
from synthbench.trainer.optimizers import OPTIMIZERS

LEAST, MOST = 2, 12  # steps: some optimizers only gather gradients in their first ones
MORE = 3  # steps of checks that compare bits, beside those until it moves
WIDEST = 128  # of a model on which bits are compared
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # of a built-in optimizer, whose grids stand on runner cards
DECAY = 0.137  # of the trial: a value that no class is likely to hard-code
TIMED = 3  # steps, of which the fastest counts


def tried(trial: Trial) -> Tried:
    """Tries a plug-in; raises BadInput that says why it cannot be used."""
    heeds_no_rate, heeds_no_decay, moves_at_zero, seconds = set[bool](), set[bool](), set[bool](), dict[str, float]()
    made: groups.Instance | None = None
    with preserved_settings() as changed, redirect_stdout(sys.stderr):
        for update in trial.updates:
            try:
                moving, steps = moves(trial, update)
                seconds[update] = _seconds(moving, steps)
                narrow = _narrow(trial.model)
                for differs in (differs_twice, differs_in_a_fleet, differs_beside_a_divergence):
                    if failure := differs(trial, narrow, update, steps + MORE):
                        raise BadInput(f"{update}: {failure}")
                lr, run = rate(trial.name), Run(1, rate(trial.name))
                heeds_no_rate.add(agree(trial, narrow, update, (run, Run(1, lr / 10)), steps + MORE))
                heeds_no_decay.add(agree(trial, narrow, update, (run, Run(1, lr, 0.5)), steps + MORE))
                with suppress(BadInput):  # some divide by the rate, and no step of a schedule has a rate of 0
                    moves_at_zero.add(not agree(trial, narrow, update, (Run(1, 0.0), None), steps + MORE))
                made = made or instance_of(moving)
            except BadInput as error:
                raise BadInput(f"--optimizer {trial.name} cannot be used: {error}") from error
            except (Exception, SystemExit) as error:
                raise BadInput(
                    f"--optimizer {trial.name} cannot move the model's parameters: {describe(error)}."
                ) from error
    decay = _decay(made, all(heeds_no_decay))
    return Tried(tuple(changed), all(heeds_no_rate), any(moves_at_zero), decay, _given(trial, made), seconds)


def _decay(made: groups.Instance | None, is_ignored: bool) -> str:
    """The weight decay in force. is_ignored: whether the card's has no effect."""
    own = sorted({decay for decay in (groups.decays(made) if made else ()) if decay is not None} - {DECAY})
    in_words = f"own {', '.join(f'{decay:g}' for decay in own)}"
    if is_ignored:
        return in_words if any(own) else "none"
    return f"card, {in_words}" if own else "card"


def rates(name: str) -> tuple[float, ...]:
    return OPTIMIZERS[name].grid or RATES


def rate(name: str) -> float:
    """From the middle of an optimizer's grid."""
    return sorted(rates(name))[len(rates(name)) // 2]


def moves(trial: Trial, update: str) -> tuple[Quadratic, int]:
    """One run of the model after the steps that the plug-in needed until it moved, and their number; raises BadInput where
    it moves nothing, or makes weights that are not finite."""
    run = Run(1, rate(trial.name), DECAY)
    quadratic = Quadratic(trial.name, trial.model, update, [run], trial.arguments, (trial.vocabulary, trial.length))
    before = quadratic.weights_KP.clone()
    for step in range(1, MOST + 1):
        quadratic.go(1)
        if step >= LEAST and differing(quadratic, before, quadratic.moved()):
            break
    else:
        raise BadInput(f"it moved nothing in {MOST} steps with gradients.")
    if not quadratic.weights_KP.isfinite().all():
        raise BadInput(f"it produced NaN or Inf parameters in its first steps at lr {run.lr:g}.")
    return quadratic, step


def _seconds(quadratic: Quadratic, steps: int) -> float:
    """What one step takes, at the least."""
    times = []
    for _ in range(TIMED if steps < MOST else 1):
        start = time.perf_counter()
        quadratic.go(1)
        times.append(time.perf_counter() - start)
    return min(times)


def _narrow(model: ModelCard) -> ModelCard:
    """One layer of a model, narrowed: bits depend on the kernels, and these on shapes up to some width."""
    width = min(model.width, WIDEST)
    return model.model_copy(update={"layers": 1, "width": width, "head_width": min(model.head_width, width)})


def after(trial: Trial, model: ModelCard, update: str, runs: Sequence[Run], steps: int) -> Quadratic:
    return Quadratic(trial.name, model, update, runs, trial.arguments).go(steps)


def differs_twice(trial: Trial, model: ModelCard, update: str, steps: int) -> str | None:
    """A sentence if the same steps, taken twice, give different bits."""
    runs = [Run(1, rate(trial.name), DECAY), Run(2, rate(trial.name) / 2)]
    first, second = (after(trial, model, update, runs, steps) for _ in range(2))
    found = difference(first, dict(enumerate(second.weights_KP)))
    return f"{found} differs after {steps} steps that were taken twice." if found else None


def differs_in_a_fleet(trial: Trial, model: ModelCard, update: str, steps: int) -> str | None:
    """A sentence if a run has other bits in a fleet than alone."""
    lr = rate(trial.name)
    runs = [Run(1, lr, DECAY), Run(2, lr / 2), Run(3, lr / 4, 0.5), Run(4, lr, DECAY)]
    alone = {run: after(trial, model, update, [run], steps).weights_KP[0] for run in runs}
    for order in (runs, runs[::-1], runs[1:3]):
        together = after(trial, model, update, order, steps)
        if found := difference(together, {k: alone[run] for k, run in enumerate(order)}):
            return f"{found} differs after {steps} steps in a fleet of {len(order)} from what it is alone."
    return None


def differs_beside_a_divergence(trial: Trial, model: ModelCard, update: str, steps: int) -> str | None:
    """A sentence if a run has other bits beside one at an infinite rate."""
    runs = [Run(1, rate(trial.name), DECAY), Run(2, inf), Run(3, rate(trial.name))]
    alone = {k: after(trial, model, update, [runs[k]], steps).weights_KP[0] for k in (0, 2)}
    found = difference(after(trial, model, update, runs, steps), alone)
    return f"{found} differs beside a run at an infinite rate, after {steps} steps." if found else None


def agree(trial: Trial, model: ModelCard, update: str, runs: tuple[Run, Run | None], steps: int) -> bool:
    """Whether two runs give the same bits, also of what an AdamW moves beside; None: one that is not trained."""
    first, second = (after(trial, model, update, [run or Run(1, 0.0)], steps * (run is not None)) for run in runs)
    return not differing(first, second.weights_KP, [*first.fleet.trainable.parameters.values()])


def difference(quadratic: Quadratic, expected: Mapping[int, Tensor]) -> str | None:
    """A parameter of a run that is not as expected: rows of P floats, by index of the run."""
    for k, row_P in expected.items():
        for name in differing(quadratic, row_P, [*quadratic.fleet.trainable.parameters.values()], k):
            run = quadratic.runs[k]
            return f"{name} of a run at rate {run.lr:g} and weight decay {run.weight_decay:g}"
    return None


def differing(quadratic: Quadratic, expected: Tensor, parameters: Sequence[Any], k: int | None = None) -> list[str]:
    """Names of parameters whose bits differ, of run k or of all; NaN equals NaN. expected: shape (P,) or (K, P)."""
    weights = quadratic.weights_KP if k is None else quadratic.weights_KP[k]
    return [
        p.name
        for p in parameters
        for reach in [slice(p.offset, p.offset + p.size)]
        if not torch.allclose(weights[..., reach], expected[..., reach], rtol=0, atol=0, equal_nan=True)
    ]


def instance_of(quadratic: Quadratic) -> groups.Instance | None:
    """The instance of the first run, of a class."""
    state = quadratic.optimizer._states[quadratic.optimizer.main]
    instances: list[groups.Instance | None] = state.get("instances", [None])
    return instances[0]


def _given(trial: Trial, made: groups.Instance | None) -> str:
    """How a class was given its parameters, and the groups it made, where that is not one list; else nothing."""
    if made is None:
        return ""
    options = OPTIMIZERS[trial.name].arguments.model_validate(dict(trial.arguments)).model_dump()
    said = []
    if options["groups"] == "muon":
        key = groups.flag(type(made.optimizer)) or "use_muon"
        hidden, rest = groups.FLAGS[key]
        said.append(f"hidden matrices in a group with {key}={hidden}, the rest in one with {key}={rest}")
    elif options["routing"] == "hidden":
        said.append("hidden matrices alone, AdamW moves the rest")
    if options["named"]:
        said.append("parameters with their names")
    kinds = dict.fromkeys(zip(made.scales, groups.decays(made), strict=False))
    if len(kinds) > 1 and trial.arguments.get("own_rate") is not True:
        parts = (_group(scale, decay) for scale, decay in kinds)
        said.append(f"{len(made.optimizer.param_groups)} groups: {'; '.join(parts)}")
    return ", ".join(said)


def _group(scale: float | None, decay: float | None) -> str:
    of_decay = "" if decay is None else ", the card's weight decay" if decay == DECAY else f", weight decay {decay:g}"
    return ("its own rate" if scale is None else f"rate x {scale:g}") + of_decay
