"""Trains a stored run again in two ways: as a fleet of one, and as a plain PyTorch module in a plain loop."""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite
from typing import Any

from synthbench import plugins
from synthbench.cards import ModelCard, TaskCard, load
from synthbench.common.errors import BadInput
from synthbench.common.wording import named, shown
from synthbench.experiment.optimizers import spec_of
from synthbench.experiment.runs import Environment, OptimizerSpec, Run
from synthbench.generators import Task
from synthbench.plugins import generators, loading
from synthbench.store.results import Store
from synthbench.trainer.optimizers import OPTIMIZERS

CLOSE = 1e-5  # relative difference of losses up to which two ways are the same
ROUNDING = 1e-7  # relative, of one operation in float32
SUDDEN = 100  # times the largest difference before: rounding does not grow by more in one step


@dataclass(frozen=True)
class Curves:
    """The training loss of every step, in nats per answer token, of the fleet and of the plain PyTorch loop."""

    fleet: list[float]
    plain: list[float]

    @property
    def differences(self) -> list[float]:
        """Relative, by step; 0 where neither loss is finite."""
        pairs = zip(self.fleet, self.plain, strict=True)
        return [abs(a - b) / max(abs(b), 1e-12) if isfinite(a) or isfinite(b) else 0.0 for a, b in pairs]

    @property
    def diverges_at(self) -> int | None:
        """The first step (from 1) at which they differ by more than CLOSE, None if they never do."""
        return next((step for step, value in enumerate(self.differences, start=1) if not value <= CLOSE), None)

    @property
    def is_sudden(self) -> bool:
        """Whether the difference is large at once, and has not grown from rounding."""
        if self.diverges_at is None:
            return False
        before = max(self.differences[: self.diverges_at - 1], default=0.0)
        return not self.differences[self.diverges_at - 1] <= SUDDEN * max(before, ROUNDING)

    @property
    def meaning(self) -> str:
        """What the comparison shows, in a sentence."""
        step = self.diverges_at
        if step is None:
            return f"Both compute the same, up to rounding ({max(self.differences, default=0.0):.0e} at most)."
        if step == 1:
            return "The first loss differs, before any update: the model or its data differ, not the optimizer."
        if self.is_sudden:
            return (
                f"The difference is large at once and has not grown from rounding: either rounding flipped update "
                f"{step - 1} or one before it, which is not continuous (a sign, a sorting, a threshold), or the optimizer "
                "computes something else in a fleet than alone."
            )
        return (
            "The difference grows from step to step, as rounding does; nothing else differs between the two. Updates that "
            "are not continuous (a sign, a sorting, a threshold) diverge earlier than smooth ones."
        )


def read_run(store: Store, prefix: str, task: str | None = None) -> tuple[Run, TaskCard]:
    """The run whose id begins with a prefix, and the card of its task, by an experiment that the run belongs to.

    task: the name or path of the card, needed where it names code: what a store contains executes no code. Raises BadInput
    where there is no such run, more than one, or no card.
    """
    identities = store.identities()
    matches = [name for name in identities if name.startswith(prefix)] if prefix else []
    if len(matches) != 1:
        raise BadInput(
            f"verify {shown(prefix)}: the ids of {len(matches)} runs begin so; give one that synthbench export prints."
        )
    name, identity = matches[0], identities[matches[0]]
    spec, environment = OptimizerSpec(**identity["optimizer"]), Environment(**identity["environment"])
    run = Run(**{**identity, "optimizer": spec, "environment": environment})
    if task is not None:
        return run, generators.task(task).card
    experiments = [experiment for experiment in store.experiments() if name in store.members(experiment.id)]
    paths = [path for experiment in experiments for path in json.loads(experiment.card)["tasks"]]
    for card in (load(TaskCard, path) for path in paths):
        if run.task not in (card.name, card.origin):
            continue
        if generators.names_code(card):
            raise BadInput(f"verify: task {card.label} names code; give its card with --task.")
        if Task(card).name_in(run.stage) == run.task:
            return run, card
    raise BadInput(f"verify: run {name[:12]} never finished, or belongs to no experiment here.")


def load_optimizer(run: Run, optimizer: Any) -> None:
    """Loads the plug-in that a run was trained by. optimizer: its name as for `run`, or the object; not needed for an
    installed one. Raises BadInput where it is another optimizer, or has been edited since."""
    label, where = run.optimizer.name, f"verify: run {run.id[:12]} was trained by {named(run.optimizer.name)}"
    if optimizer is None and label not in OPTIMIZERS:
        if loading.SUFFIX + ":" in label or not plugins.is_plugin(label):
            raise BadInput(f"{where}, a plug-in; name it as for `run`, with its file: --optimizer path/{named(label)}.")
        optimizer = label
    if optimizer is not None:
        is_path = isinstance(optimizer, str) and plugins.is_plugin(optimizer)  # code that may have been edited since
        load_by_name = plugins.take if is_path else plugins.name_of
        if load_by_name(optimizer, "--optimizer") != label:
            raise BadInput(f"{where}, and --optimizer {shown(optimizer)} is another optimizer.")
        if not plugins.plugin_of(label):
            raise BadInput(f"{where}, which is built in; leave --optimizer out.")
    arguments = OPTIMIZERS[label].arguments.model_validate(run.optimizer.arguments)
    if spec_of(label, arguments).fingerprint != run.optimizer.fingerprint:
        raise BadInput(f"{where}, whose code has been edited since; run the experiment again, and verify a new run.")


def replay(store: Store, run: Run, card: TaskCard, steps: int) -> Curves:
    """Trains a run for its first steps in both ways. card: of its task.

    Raises BadInput where the weights that it started from are lost, its task has changed since, or no plain loop can train
    by its optimizer.
    """
    import torch

    from synthbench.execution.fleet_setup import build, data
    from synthbench.trainer.loop import train
    from synthbench.trainer.optimizer import FleetOptimizer
    from synthbench.trainer.schedule import Schedule
    from synthbench.verification import reference

    torch.set_num_threads(1)  # as in a worker
    task = Task(card)
    if task.fingerprint_to(run.stage) != run.task_fingerprint:
        raise BadInput(f"Task {named(run.task)} has changed since the run was trained; it cannot be compared.")
    parent = None
    if run.parent is not None:
        result = store.results([run.parent]).get(run.parent)
        parent = store.valid_weights(result) if result else None
        if parent is None:
            raise BadInput(
                f"verify: the weights that it started from (run {run.parent[:12]}) are lost; verify that run."
            )
    fleet = build(task, [run], [parent], store.weights, torch.device("cpu"))
    model = reference.load(ModelCard.model_validate(run.model), fleet.member(0), task.language.length - 1)
    if run.update.startswith("lora-"):
        reference.adapt(model, fleet.saved(0))
    elif run.update == "full-hidden":
        hidden = set(map(id, model.hidden()))
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in hidden)
    items, schedule, spec = data(task, [run]), Schedule(run.steps, run.schedule, run.warmup), run.optimizer
    first = items._replace(order_KTB=items.order_KTB[:, :steps])
    moving = reference.optimizers(spec.name, model, spec.arguments, weight_decay=run.weight_decay)
    plain_T = reference.train(model, moving, first, 0, lambda step: run.lr * schedule.factor(step))
    optimizer = FleetOptimizer(spec.name, fleet, spec.arguments, spec.routing)
    curve_TK = train(optimizer, items, schedule, ([run.lr], [run.weight_decay]))
    return Curves(curve_TK[:steps, 0].tolist(), plain_T)
