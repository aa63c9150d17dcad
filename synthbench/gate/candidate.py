"""The experiment that a baseline records, and that of a candidate which is checked: one optimizer, every rate fixed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from synthbench import plugins
from synthbench.cards import RunnerCard, parse
from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.wording import listed, named
from synthbench.experiment import identity
from synthbench.experiment.grids import settings
from synthbench.experiment.plan import Experiment
from synthbench.experiment.resolve import RunRequest, experiment_of, runner
from synthbench.gate.baseline import Baseline
from synthbench.plugins import generators
from synthbench.trainer.optimizers import OPTIMIZERS


def to_record(request: RunRequest) -> Experiment:
    """The experiment whose behaviour is to be recorded: as `run` would have it, with one rate (its default) for an
    optimizer that the card has no rates for. Raises BadInput where it has several optimizers, tasks or variants."""
    card, origin = runner(request)
    if crossed := [stage.name for stage in card.stages if stage.optimizer != "same"]:
        raise BadInput(
            f"A baseline needs the same optimizer in all stages; stage {named(crossed[0])} of runner {named(card.name)} "
            "takes others."
        )
    if len(card.optimizers) > 1 or len(card.tasks) > 1 or card.variants:
        variants = f" and variants {listed(card.variants)}" if card.variants else ""
        raise BadInput(
            f"A baseline needs exactly one optimizer and one task, and no variants; got {listed(card.optimizers)} on "
            f"{listed(card.tasks)}{variants}: name one with --optimizer and one with --task."
        )
    (label,) = card.optimizers
    stages = [
        stage.model_copy(update={"lr": [default_rate(label)]})
        if isinstance(stage.lr, dict) and label not in stage.lr and label in OPTIMIZERS
        else stage
        for stage in card.stages
    ]
    experiment = experiment_of(card.model_copy(update={"stages": stages}), origin, request.device)
    (task,) = experiment.tasks.values()
    for stage in stages:
        of_stage = settings(stage, task.card.name, label)
        if len(of_stage.weight_decay) > 1 or len(of_stage.sizes) > 1:
            raise BadInput(
                f"A baseline needs one weight decay and one size; stage {named(stage.name)} of runner {named(card.name)} "
                f"has more: give one with --set stages.{named(stage.name)}.weight_decay=VALUE (or .sizes=[1])."
            )
    return experiment


def default_rate(label: str) -> float:
    """The middle of an optimizer's own grid: of a plug-in its constructor's default."""
    grid = OPTIMIZERS[label].grid
    return grid[len(grid) // 2]


class Candidate(NamedTuple):
    """What is checked, where it differs from what the baseline recorded. settings: `optimizer.ARG=value` and
    `routing=all|hidden`, as in `run`. seeds: some of those recorded."""

    optimizer: Any = None
    settings: Sequence[str] = ()
    device: str | None = None
    seeds: Sequence[int] | None = None


def to_check(baseline: Baseline, origin: str, asked: Candidate) -> tuple[Experiment, list[str]]:
    """The experiment that a baseline recorded, with its optimizer or another one at the same rates and arguments, and notes
    on it. Raises BadInput."""
    recorded, optimizer, seeds = baseline.spec.name, asked.optimizer, asked.seeds
    if optimizer is None and baseline.optimizer not in OPTIMIZERS:
        generators.announce(Path(origin), baseline.optimizer)  # a baseline may come from somebody else
    label = plugins.name_of(optimizer, "--optimizer") if optimizer else itself(baseline, origin)
    content = baseline.card.model_dump(mode="json", by_alias=True)
    content["optimizers"] = [label]
    for stage in content["stages"]:
        stage["lr"] = {label: stage["lr"][recorded]}
    arguments = dict(content["arguments"].get(recorded, {}))
    notes = []
    if label != recorded:
        left_out = [name for name in arguments if not accepts(label, name, arguments[name])]
        arguments = {name: value for name, value in arguments.items() if name not in left_out}
        if left_out:
            notes.append(f"{label} takes no {listed(left_out)}, which the baseline was given.")
        if plugins.plugin_of(label) and "routing" not in arguments:
            arguments["routing"] = _routing(baseline)
    content["arguments"] = {label: arguments}
    for setting in asked.settings:
        where, value = overrides.parse(setting)
        if not (where == ["routing"] or (len(where) == 2 and where[0] == "optimizer")):
            raise BadInput(
                f"--set {named(setting)}: a check changes nothing of what the baseline recorded but its optimizer; "
                "allowed are optimizer.ARG=value and routing=all|hidden."
            )
        if where == ["routing"] and not plugins.plugin_of(label):
            raise BadInput(f"--set {named(setting)} is for plug-ins; {label} has a fixed routing.")
        overrides.put(content, ["arguments", label, where[-1]], value, "--set")
    source = f"{origin} with --set" if asked.settings else origin
    if seeds is not None:
        content["seeds"] = list(seeds)
    there = baseline.device != "cuda" or identity.cuda_devices() > 0
    device = asked.device or (baseline.device if there else "cpu")
    return experiment_of(parse(RunnerCard, content, source), source, device), notes


def itself(baseline: Baseline, origin: str) -> str:
    """The label of the optimizer that a baseline names; raises BadInput where it is gone."""
    try:
        return plugins.name_of(baseline.optimizer, f"{origin}: optimizer")
    except BadInput as error:
        raise BadInput(f"{error} If it was renamed or moved, name it with --optimizer.") from None


def accepts(label: str, name: str, value: Any) -> bool:
    """Whether an optimizer takes an argument of this name and value."""
    try:
        OPTIMIZERS[label].arguments.model_validate({name: value})
    except ValidationError:
        return False
    return True


def _routing(baseline: Baseline) -> str:
    """`hidden` where the recorded optimizer left embeddings, head and vectors to another one, else `all`."""
    return "all" if len({spec for _, spec in baseline.spec.routing}) == 1 else "hidden"
