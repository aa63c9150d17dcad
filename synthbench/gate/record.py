"""Recording a baseline: an experiment of one optimizer is run, its rates are fixed, its traces are taken."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
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
from synthbench.gate.behaviour import OF_WEIGHTS, behaviour
from synthbench.reporting.report import of_folder
from synthbench.store.results import Store

if TYPE_CHECKING:
    from synthbench.gate.traces import Trace

TRACED = 2  # seeds that are traced
DRAWS = 3  # of perturbations, of which the floor is the largest: where signs flip, one draw may show little
DIGITS = 8  # of a traced number: float32 has no more
LEAST_FLOOR = 1e-5  # for other kernels of the same sums, on other processors (reports/gate.md tries some)


@contextmanager
def folder(results: Path | None) -> Iterator[Path]:
    """A folder for the runs of a baseline or a check: the given one, or one that is deleted, so that a check measures."""
    if results is not None:
        yield results
        return
    with tempfile.TemporaryDirectory(prefix="synthbench-") as temporary:
        yield Path(temporary)


def record(experiment: Experiment, optimizer: str, options: ExecutionOptions) -> Baseline:
    """The baseline of an experiment with one optimizer. optimizer: as it was named. Raises BadInput for too few seeds,
    NotMeasured where all runs of an update diverged."""
    if (n := len(experiment.card.seed_list)) < FEWEST:
        raise BadInput(
            f"A baseline of {n} seed{'s' * (n != 1)} has too few seeds; at least {FEWEST} are needed (--seeds)."
        )
    report = of_folder(options.out, experiment=perform(experiment, options))
    fixed = with_rates(experiment, options.out)
    results = behaviour(options.out, fixed)
    _check(experiment, results)
    (spec,) = experiment.optimizers.values()
    return Baseline(
        optimizer=optimizer, card=fixed.card, tasks=report.tasks, device=experiment.environment.device,
        spec=OptimizerCard.of(spec), machine=identity.device_name(experiment.environment.device), versions=report.versions,
        package=identity.package_fingerprint(), command=report.command, trace=trace(fixed), behaviour=results,
    )  # fmt: skip


def _check(experiment: Experiment, results: BehaviourCard) -> None:
    """Raises NotMeasured where too few runs are valid, or weights are lost, so that every check would be inconclusive."""
    seeds = len(experiment.card.seed_list)
    for where, scores in results.values.items():
        valid = seeds - len(results.diverged[where])
        if not valid:
            raise lowered(where)
        if valid < FEWEST:
            raise NotMeasured(
                f"{where}: {valid} of {seeds} seeds did not diverge, and a baseline needs {FEWEST}; try lower rates."
            )
        weighed = [len(by_seed) for name, by_seed in scores.items() if name.startswith(OF_WEIGHTS)]
        if where.startswith(f"{experiment.card.stages[-1].name}/") and min(weighed, default=0) < valid:
            raise NotMeasured(f"{where}: a baseline needs all weights (--keep-weights all), and some were not kept.")


def with_rates(experiment: Experiment, folder: Path) -> Experiment:
    """The experiment with the rates that its own runs in a folder chose, and the settings of its optimizer made those of
    the stages."""
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
        of_stage = settings(stage, task.card.name, label)
        stages.append(stage.model_copy(update={
            "steps": of_stage.steps, "weight_decay": list(of_stage.weight_decay), "sizes": list(of_stage.sizes),
            "extend": 0, "lr": {label: chosen[stage.name]}, "overrides": {},
        }))  # fmt: skip
    arguments = {label: card.arguments.get(label, {})}
    fixed = card.model_copy(update={"stages": stages, "arguments": arguments, "scales": {}})
    return Experiment(fixed, experiment.tasks, experiment.optimizers, experiment.environment)


def lowered(where: str) -> NotMeasured:
    return NotMeasured(f"All runs of {where} diverged, so nothing can be recorded; try lower rates with --lr.")


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
    for trace, apart in zip(plain * DRAWS, shaken, strict=True):
        floor = floors.setdefault(trace.name, {})
        floor |= {name: float(f"{max(LEAST_FLOOR, floor.get(name, 0.0), by):.3g}") for name, by in apart.items()}
    for trace in plain:  # a diverging quantity has no size that a deviation could be relative to
        floors[trace.name] |= {name: FAR for name, value_TK in trace.values.items() if not isfinite(value_TK.sum())}
    return TraceCard(
        seeds=seeds, floors=floors, digests={trace.name: list(trace.digests) for trace in plain},
        values={trace.name: {name: by_seed(trace, name) for name in trace.values} for trace in plain},
    )  # fmt: skip


def by_seed(trace: Trace, name: str) -> list[list[float | None]]:
    """A quantity's steps for each seed; None for NaN and infinity."""
    rows: list[list[float]] = trace.values[name].T.tolist()
    return [[float(f"{value:.{DIGITS}g}") if isfinite(value) else None for value in row] for row in rows]
