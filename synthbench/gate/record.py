"""Recording a baseline: an experiment of one optimizer is run, its rates are fixed, its traces are taken."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from synthbench import plugins
from synthbench.analysis.change_test import FEWEST
from synthbench.common.errors import BadInput, NotMeasured
from synthbench.common.wording import listed, named
from synthbench.execution.session import ExecutionOptions, perform
from synthbench.execution.trials import tried
from synthbench.experiment import identity
from synthbench.experiment.choice import choose
from synthbench.experiment.grids import settings
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import RunRequest, experiment_of, runner
from synthbench.gate.baseline import Baseline, BehaviourCard, OptimizerCard, TraceCard
from synthbench.gate.behaviour import OF_WEIGHTS, behaviour
from synthbench.store.results import Store
from synthbench.trainer.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from synthbench.gate.traces import Trace

TRACED = 2  # seeds that are traced
DRAWS = 3  # of perturbations, of which the floor is the largest: where signs flip, one draw may show little
DIGITS = 8  # of a traced number: float32 has no more
LEAST_FLOOR = 1e-5  # for other kernels of the same sums, on other processors (reports/gate.md tries some)


def to_record(request: RunRequest) -> Experiment:
    """The experiment whose behaviour is recorded: as `run` has it, with one rate (the middle of its grid) for an optimizer
    that the card has no rates for. Raises BadInput where it has several optimizers, tasks or variants."""
    card, origin = runner(request)
    for stage in card.stages:
        if stage.optimizer != "same":
            raise BadInput(
                f"A baseline needs the same optimizer in all stages; stage {named(stage.name)} of runner "
                f"{named(card.name)} takes others."
            )
    if len(card.optimizers) > 1 or len(card.tasks) > 1 or card.variants:
        variants = f" and variants {listed(card.variants)}" if card.variants else ""
        raise BadInput(
            f"A baseline needs exactly one optimizer and one task, and no variants; got {listed(card.optimizers)} on "
            f"{listed(card.tasks)}{variants}: name one with --optimizer and one with --task."
        )
    if card.axes:
        raise BadInput(
            f"A baseline is of one setting; runner {named(card.name)} has axes "
            f"({listed(axis.name for axis in card.axes)}): leave them out with --set axes=[]."
        )
    (label,) = card.optimizers
    stages = []
    for stage in card.stages:
        if isinstance(stage.lr, dict) and label not in stage.lr and label in OPTIMIZERS:
            grid = OPTIMIZERS[label].grid
            stage = stage.model_copy(update={"lr": [grid[len(grid) // 2]]})
        stages.append(stage)
    return tried(experiment_of(card.model_copy(update={"stages": stages}), origin, request.kind_of_device))


def provenance(experiment: Experiment) -> dict[str, Any]:
    """What a baseline records of the data, the optimizer, the code and the machine."""
    (spec,), device = experiment.optimizers.values(), experiment.environment.device
    return {
        "spec": OptimizerCard(name=spec.name, routing=list(spec.routing), arguments=spec.arguments, source=spec.source),
        "versions": identity.versions() | plugins.made_with(spec.name), "package": identity.package_fingerprint(),
        "device": device, "machine": identity.device_name(device),
        "tasks": {name: task.fingerprint for name, task in experiment.tasks.items()},
    }  # fmt: skip


def record(experiment: Experiment, options: ExecutionOptions, results: Path | None) -> Baseline:
    """The baseline of an experiment with one optimizer. results: a folder that keeps its runs. Raises BadInput for too few
    seeds, NotMeasured where too few runs of an update are valid."""
    options.check()
    if (n := len(experiment.card.seed_list)) < FEWEST:
        raise BadInput(
            f"A baseline of {n} seed{'s' * (n != 1)} has too few seeds; at least {FEWEST} are needed (--seeds)."
        )
    with TemporaryDirectory(prefix="synthbench-") as temporary:
        out = results or Path(temporary)
        perform(experiment, replace(options, out=out, is_temporary=results is None))
        fixed = with_rates(experiment, out)
        measured = behaviour(out, fixed)
    _check(experiment, measured)
    (label,) = experiment.card.optimizers
    plugin = plugins.plugin_of(label)
    return Baseline(
        optimizer=plugin.origin if plugin and isinstance(plugin.origin, str) else label, card=fixed.card,
        command=options.command, trace=trace(fixed), behaviour=measured, **provenance(experiment),
    )  # fmt: skip


def _check(experiment: Experiment, results: BehaviourCard) -> None:
    """Raises NotMeasured where too few runs are valid, or weights are lost, so that every check would be inconclusive."""
    seeds = len(experiment.card.seed_list)
    for where, scores in results.values.items():
        valid = seeds - len(results.diverged[where])
        if not valid:
            raise all_diverged(where)
        if valid < FEWEST:
            raise NotMeasured(
                f"{where}: {valid} of {seeds} seeds did not diverge, and a baseline needs {FEWEST}; try lower rates."
            )
        weighed = [len(by_seed) for name, by_seed in scores.items() if name.startswith(OF_WEIGHTS)]
        if where.startswith(f"{experiment.card.stages[-1].name}/") and min(weighed, default=0) < valid:
            raise NotMeasured(f"{where}: a baseline needs all weights (--keep-weights all), and some were not kept.")


def with_rates(experiment: Experiment, folder: Path) -> Experiment:
    """The experiment with the rates that its runs in a folder chose, and the settings of its optimizer as those of the
    stages."""
    card, (label,), (task,) = experiment.card, experiment.card.optimizers, experiment.tasks.values()
    with closing(Store.read(folder)) as store:
        done = store.results()
    chosen: dict[str, dict[str, list[float]]] = {}
    for cell, runs in Plan(experiment, done).cells().items():
        choice, rates = choose(runs, done), {run.lr for run in runs}
        if choice is None and (cell.stage != card.stages[-1].name or len(rates) > 1):
            raise all_diverged(f"{cell.stage}/{cell.update}")
        chosen.setdefault(cell.stage, {})[cell.update] = [choice.lr if choice else rates.pop()]
    stages = []
    for stage in card.stages:
        of_stage = settings(card, stage, task.card.name, label)
        stages.append(stage.model_copy(update={
            "steps": of_stage.steps, "weight_decay": of_stage.weight_decay, "size": of_stage.size,
            "extend": 0, "lr": {label: chosen[stage.name]}, "overrides": {},
        }))  # fmt: skip
    arguments = {label: card.arguments.get(label, {})}
    fixed = card.model_copy(update={"stages": stages, "arguments": arguments, "scales": {}})
    return experiment.at_one_point(fixed)


def all_diverged(where: str) -> NotMeasured:
    return NotMeasured(f"All runs of {where} diverged, so nothing can be recorded; try lower rates with --lr.")


def trace(experiment: Experiment, seeds: Sequence[int] = ()) -> TraceCard:
    """The traces of these seeds (none: of the first) of an experiment whose rates are fixed, and the largest deviations
    that perturbed starts show."""
    from synthbench.gate.traces import FAR, deviation, traces

    seeds = list(seeds or experiment.card.seed_list[:TRACED])
    plain = traces(experiment, seeds)
    floors = {trace.name: dict.fromkeys(trace.values, LEAST_FLOOR) for trace in plain}
    for draw in range(DRAWS):
        for shaken, trace in zip(traces(experiment, seeds, draw), plain, strict=True):
            for name, value_TK in trace.values.items():
                apart = float(deviation(shaken.values[name], value_TK).max())
                # a diverging quantity has no size that a deviation could be relative to
                floor = max(floors[trace.name][name], apart) if isfinite(value_TK.sum()) else FAR
                floors[trace.name][name] = float(f"{floor:.3g}")
    return TraceCard(
        seeds=seeds, floors=floors, digests={trace.name: list(trace.digests) for trace in plain},
        values={trace.name: {name: by_seed(trace, name) for name in trace.values} for trace in plain},
    )  # fmt: skip


def by_seed(trace: Trace, name: str) -> list[list[float | None]]:
    """A quantity's steps for each seed; None for NaN and infinity."""
    rows: list[list[float]] = trace.values[name].T.tolist()
    return [[float(f"{value:.{DIGITS}g}") if isfinite(value) else None for value in row] for row in rows]
