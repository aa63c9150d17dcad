"""One run trained again in two ways, side by side: as a fleet of one, and as a plain module in a plain loop."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from synthbench import plugins
from synthbench.cards import ModelCard, TaskCard, load
from synthbench.common.errors import BadInput
from synthbench.common.wording import named, shown
from synthbench.experiment.optimizers import spec_of
from synthbench.experiment.runs import Environment, OptimizerSpec, Run
from synthbench.generators import Task
from synthbench.plugins import generators, loading
from synthbench.store.results import Store
from synthbench.store.weights import WeightFile
from synthbench.trainer.optimizers import OPTIMIZERS

TOLD = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # steps that are shown
CLOSE = 1e-5  # relative difference of losses up to which two ways are the same
ROUNDING = 1e-7  # relative, of one operation in float32
EARLY = 3  # the first loss that tells of every part of an update, momentum among it
SUDDEN = 100  # times the largest difference before: what rounding does not grow by in one step


class Parting(NamedTuple):
    """fleet, plain: the training loss of every step, in nats per answer token. at: the first step (from 1) at which they
    differ by more than CLOSE, None if they never do."""

    fleet: list[float]
    plain: list[float]

    @property
    def differences(self) -> list[float]:
        """Relative, by step; 0 where neither is a number any more."""
        pairs = zip(self.fleet, self.plain, strict=True)
        return [
            abs(one - other) / max(abs(other), 1e-12) if isfinite(one) or isfinite(other) else 0.0
            for one, other in pairs
        ]

    @property
    def at(self) -> int | None:
        return next((step for step, one in enumerate(self.differences, start=1) if not one <= CLOSE), None)

    @property
    def is_sudden(self) -> bool:
        """Whether they part at once, and not by a difference that grew."""
        if self.at is None:
            return False
        before = max(self.differences[: self.at - 1], default=0.0)
        return not self.differences[self.at - 1] <= SUDDEN * max(before, ROUNDING)

    @property
    def verdict(self) -> str:
        """What that means, in a sentence."""
        if self.at is None:
            return f"Both ways compute the same, up to rounding ({max(self.differences, default=0.0):.0e} at most)."
        if self.at == 1:
            return (
                "The first loss is another one, before anything moved: the model or its data differ, not the optimizer."
            )
        if self.is_sudden and self.at > EARLY:
            return (
                f"Up to step {self.at - 1} they are the same; there the difference jumps. So it does where rounding turns "
                "an update that jumps (a sign, a sorting, a threshold), or where the optimizer computes something else "
                "from there on."
            )
        if self.is_sudden:
            return (
                "The difference is there at once and has not grown from rounding: the optimizer computes something else in "
                f"a fleet than alone (a loss tells of the updates before it, so look at update {self.at - 1} and earlier)."
            )
        return (
            "The difference grew from step to step, as rounding does: nothing says that the two ways compute something "
            "else. Updates that jump (a sign, a sorting, a threshold) part earlier than smooth ones."
        )


def run_of(identity: Mapping[str, Any]) -> Run:
    """A run from its identity as the store keeps it."""
    own = dict(identity)
    spec = own["optimizer"] | {"routing": tuple(map(tuple, own["optimizer"]["routing"]))}
    return Run(
        **own
        | {
            "optimizer": OptimizerSpec(**spec),
            "environment": Environment(**own["environment"]),
            "history": tuple(own["history"]),
        }
    )


def found(prefix: str, known: Collection[str]) -> str:
    """The run whose id begins with a prefix; raises BadInput where there is none, or more than one."""
    own = [name for name in known if name.startswith(prefix)] if prefix else []
    if not own:
        raise BadInput(f"verify {shown(prefix)}: no run here has an id that begins so; ids are in: synthbench export.")
    if len(own) > 1:
        raise BadInput(f"verify {shown(prefix)}: the ids of {len(own)} runs begin so; give more of one's id.")
    return own[0]


def stored(store: Store, name: str, given: str | None = None) -> tuple[Run, TaskCard]:
    """A run of the store and the card of its task, by an experiment that it belongs to; raises BadInput without one.

    given: the task's card. Where that names code it must be given: what a store says makes no code run.
    """
    run = run_of(store.identities()[name])
    if given is not None:
        return run, generators.task(given).card
    for recorded in store.experiments():
        if name in store.members(recorded.id):
            for task in json.loads(recorded.card)["tasks"]:
                card = load(TaskCard, task)
                if run.task not in (card.name, card.origin):
                    continue
                if generators.names_code(card):
                    raise BadInput(f"verify: task {card.label} names code of its own; give its card with --task.")
                if Task(card).name_in(run.stage) == run.task:
                    return run, card
    raise BadInput(f"verify: run {name[:12]} never finished, or belongs to no experiment here.")


def typed(store: Store, label: str) -> str:
    """How an optimizer of one's own was named on the command line of an experiment in the folder, else how to name it."""
    commands = [one.command for one in store.experiments()]
    words = [word for command in commands for word in re.split(r"[\s,'\"=]+", command)]
    return next((word for word in words if loading.SUFFIX in word and loading.label(word) == label), f"path/{label}")


def load_rule(run: Run, optimizer: str | None, name: str = "path/file.py:Name") -> None:
    """Loads the plug-in that a run was trained by. optimizer: as it was named for `run`; not needed for an installed one.
    name: what it may be, to be said where it is missing.

    Raises BadInput where it is another spec than the run's, or has been edited since.
    """
    of_run, said = run.optimizer.name, f"verify: run {run.id[:12]} was trained by {named(run.optimizer.name)}"
    if of_run not in OPTIMIZERS and optimizer is None:
        if loading.SUFFIX + ":" in of_run or not plugins.is_plugin(of_run):
            raise BadInput(
                f"{said}, a spec of one's own; name it as for `run`, with its file: --optimizer {named(name)}."
            )
        optimizer = of_run
    if optimizer is not None:
        label = plugins.take(optimizer).label if plugins.is_plugin(optimizer) else optimizer
        if label != of_run:
            raise BadInput(f"{said}, and --optimizer {shown(optimizer)} names another spec than the run's.")
        if of_run not in plugins.TAKEN:
            raise BadInput(f"{said}, which is built in; leave --optimizer out.")
    arguments = OPTIMIZERS[of_run].arguments.model_validate(run.optimizer.arguments)
    if spec_of(of_run, arguments).fingerprint != run.optimizer.fingerprint:
        raise BadInput(f"{said}, whose code has been edited since; run the experiment again, and verify a new run.")


def parent_of(store: Store, run: Run) -> WeightFile | None:
    """The weights that a run started from, None from scratch; raises BadInput where they are no longer kept."""
    if run.parent is None:
        return None
    result = store.results([run.parent]).get(run.parent)
    kept = store.valid_weights(result) if result else None
    if kept is None:
        raise BadInput(
            f"verify: the weights that it started from (run {run.parent[:12]}) are not kept; verify that run."
        )
    return kept


def verify(run: Run, card: TaskCard, parent: WeightFile | None, folder: Path, steps: int) -> Parting:
    """Trains a run for so many of its steps in both ways. parent: its weights in the folder, None from scratch.

    Raises BadInput where its task has changed since, or its spec has no plain counterpart.
    """
    import torch

    from synthbench.execution.fleet_setup import build, data
    from synthbench.trainer.loop import train
    from synthbench.trainer.optimizer import FleetOptimizer
    from synthbench.trainer.schedule import Schedule
    from synthbench.verification import plain

    torch.set_num_threads(1)  # as a worker
    task = Task(card)
    if task.fingerprint_to(run.stage) != run.task_fingerprint:
        raise BadInput(f"Task {named(run.task)} is another one than when the run was made; nothing compares.")
    fleet = build(task, [run], [parent], folder, torch.device("cpu"))
    model = plain.load(ModelCard.model_validate(run.model), fleet.member(0), task.language.length - 1)
    if run.update.startswith("lora-"):
        plain.adapt(model, fleet.saved(0))
    elif run.update == "full-hidden":
        kept = set(map(id, model.hidden()))
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in kept)
    whole, schedule = data(task, [run]), Schedule(run.steps, run.schedule, run.warmup)
    shown_data = whole._replace(order_KTB=whole.order_KTB[:, :steps])
    moving = counterpart(run.optimizer, model, run.weight_decay)
    plain_T = plain.train(model, moving, shown_data, 0, lambda step: run.lr * schedule.factor(step), run.weight_decay)
    optimizer = FleetOptimizer(run.optimizer.name, fleet, run.optimizer.arguments, run.optimizer.routing)
    curve_TK = train(optimizer, shown_data, schedule, ([run.lr], [run.weight_decay]), (), lambda step: None)
    return Parting(curve_TK[:steps, 0].tolist(), plain_T)


def counterpart(spec: OptimizerSpec, model: Any, weight_decay: float) -> list[Any]:
    """The plain optimizers of a spec: torch's, or the plug-in's own."""
    import torch

    from synthbench.verification import plain

    if spec.name not in plugins.TAKEN:
        return plain.optimizers(spec.name, model, spec.arguments)
    given, ratio = spec.arguments, spec.arguments["aux_lr_ratio"]
    moved = [p for p in model.parameters() if p.requires_grad]
    if given["routing"] != "hidden":
        return [plain.Moving(by_itself(spec.name, moved, given, weight_decay))]
    hidden = model.hidden()
    matrices = set(map(id, hidden))
    rest = [p for p in moved if id(p) not in matrices]
    beside = [plain.Moving(torch.optim.AdamW(rest, lr=0.0), ratio)] if rest else []
    return [plain.Moving(by_itself(spec.name, hidden, given, weight_decay)), *beside]


def by_itself(name: str, parameters: list[Any], given: dict[str, Any], weight_decay: float) -> Any:
    """A plug-in as an optimizer of these parameters: its own class, or the loop over matrices of a spec for one."""
    from synthbench.plugins import torch_optim
    from synthbench.verification.looped import Looped

    thing = plugins.TAKEN[name].thing
    if not isinstance(thing, plugins.CustomOptimizer):
        return torch_optim.instance(thing, parameters, given, weight_decay)
    if thing.kept is None:
        raise BadInput(
            f"verify: {named(name)} moves the buffers of a fleet; there is no plain loop to compare it with."
        )
    return Looped(parameters, thing, given)
