"""Recording a baseline: an experiment of one optimizer is run, its rates are fixed, its traces are taken."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from synthbench.analysis.change_test import FEWEST
from synthbench.common.errors import BadInput, NotMeasured
from synthbench.execution.session import ExecutionOptions, perform
from synthbench.experiment import identity
from synthbench.experiment.choice import choose
from synthbench.experiment.grids import settings
from synthbench.experiment.plan import Experiment, Plan
from synthbench.gate.baseline import Baseline, BehaviourCard, OptimizerCard, TraceCard
from synthbench.gate.behaviour import behaviour
from synthbench.gate.ends import OF_WEIGHTS
from synthbench.reporting.report import of_folder
from synthbench.store.results import Store

if TYPE_CHECKING:
    from synthbench.gate.traces import Trace

TRACED = 2  # seeds that are traced
DRAWS = 3  # of perturbations, of which the floor is the largest: where signs flip, one draw may show little
DIGITS = 8  # of a traced number: float32 has no more
LEAST_FLOOR = 1e-5  # for other kernels of the same sums, on other processors (reports/gate.md tries some)


def record(experiment: Experiment, optimizer: str, options: ExecutionOptions) -> Baseline:
    """The baseline of an experiment with one optimizer. optimizer: as it was named. Raises BadInput for too few seeds,
    NotMeasured where all runs of an update diverged."""
    if (n := len(experiment.card.seed_list)) < FEWEST:
        raise BadInput(
            f"A baseline of {n} seed{'s' * (n != 1)} tells nothing of scores; give {FEWEST} or more with --seeds."
        )
    report = of_folder(options.out, experiment=perform(experiment, options))
    fixed = with_rates(experiment, options.out)
    seen = behaviour(options.out, fixed)
    sound(experiment, seen)
    (spec,) = experiment.optimizers.values()
    return Baseline(
        optimizer=optimizer, card=fixed.card, tasks=report.tasks, device=experiment.environment.device,
        spec=OptimizerCard.of(spec), machine=identity.device_name(experiment.environment.device), versions=report.versions,
        package=identity.package_fingerprint(), command=report.command, trace=trace(fixed),
        behaviour=seen,
    )  # fmt: skip


def sound(experiment: Experiment, seen: BehaviourCard) -> None:
    """Raises NotMeasured where too few runs are sound, or weights are lost, so that no check could ever decide."""
    seeds = len(experiment.card.seed_list)
    for where, own in seen.values.items():
        left = seeds - len(seen.diverged[where])
        if not left:
            raise lowered(where)
        if left < FEWEST:
            raise NotMeasured(
                f"Of {where} {left} of {seeds} seeds did not diverge, and a baseline needs {FEWEST}; try lower rates."
            )
        weighed = [len(by_seed) for name, by_seed in own.items() if name.startswith(OF_WEIGHTS)]
        if where.startswith(f"{experiment.card.stages[-1].name}/") and min(weighed, default=0) < left:
            raise NotMeasured(f"Not all weights of {where} were kept (--keep-weights all), and a baseline needs them.")


def with_rates(experiment: Experiment, folder: Path) -> Experiment:
    """The experiment with the rates that its own runs in a folder chose, and all that is the optimizer's own made the
    stages'."""
    card, (label,), (task,) = experiment.card, experiment.card.optimizers, experiment.tasks.values()
    with closing(Store.read(folder)) as store:
        done = store.results()
    chosen: dict[str, dict[str, list[float]]] = {}
    for cell, runs in Plan(experiment, done).cells().items():
        choice, rates = choose(runs, done), {run.lr for run in runs}
        if choice is None and (cell.stage != card.stages[-1].name or len(rates) > 1):
            raise lowered(f"{cell.stage}/{cell.update}")
        chosen.setdefault(cell.stage, {})[cell.update] = [choice.lr if choice else rates.pop()]
    stages = []
    for stage in card.stages:
        own = settings(stage, task.card.name, label)
        stages.append(stage.model_copy(update={
            "steps": own.steps, "weight_decay": list(own.weight_decay), "sizes": list(own.sizes), "extend": 0,
            "lr": {label: chosen[stage.name]}, "overrides": {},
        }))  # fmt: skip
    arguments = {label: card.arguments.get(label, {})}
    fixed = card.model_copy(update={"stages": stages, "arguments": arguments, "scales": {}})
    return Experiment(fixed, experiment.tasks, experiment.optimizers, experiment.environment)


def lowered(where: str) -> NotMeasured:
    return NotMeasured(f"All runs of {where} diverged, so there is nothing to record; try lower rates with --lr.")


def trace(experiment: Experiment, seeds: Sequence[int] = ()) -> TraceCard:
    """The traces of these seeds (none: of the first) of an experiment whose rates are fixed, and how far apart perturbed
    starts lead them."""
    from synthbench.gate.traces import FAR, deviations, traces

    seeds = list(seeds or experiment.card.seed_list[:TRACED])
    plain = traces(experiment, seeds)
    shaken = [
        deviations(*pair) for draw in range(DRAWS) for pair in zip(traces(experiment, seeds, draw), plain, strict=True)
    ]
    floors: dict[str, dict[str, float]] = {}
    for one, found in zip(plain * DRAWS, shaken, strict=True):
        of = floors.setdefault(one.name, {})
        of |= {name: float(f"{max(LEAST_FLOOR, of.get(name, 0.0), apart):.3g}") for name, apart in found.items()}
    for one in plain:  # what diverges has no size that a deviation could be relative to
        floors[one.name] |= {name: FAR for name, value_TK in one.values.items() if not isfinite(value_TK.sum())}
    return TraceCard(
        seeds=seeds, floors=floors, digests={one.name: list(one.digests) for one in plain},
        values={one.name: {name: by_seed(one, name) for name in one.values} for one in plain},
    )  # fmt: skip


def by_seed(trace: Trace, name: str) -> list[list[float | None]]:
    """A quantity's steps for each seed; None for what is no number."""
    rows: list[list[float]] = trace.values[name].T.tolist()
    return [[float(f"{value:.{DIGITS}g}") if isfinite(value) else None for value in row] for row in rows]
