"""The planner: from a card and what is done, the runs to do next. Called again until it returns nothing.

Resuming, choosing rates and starting children are all the same call: there is no other graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from statistics import fmean
from typing import Any, NamedTuple

from synthbench.cards import RunnerCard, StageCard
from synthbench.experiment.runs import Cell, Environment, OptimizerSpec, Result, Run, RunId
from synthbench.generators import Task
from synthbench.trainer.optimizers import OPTIMIZERS

TIE = 0.01  # of validation learning: rates this close to the best are equal
Done = Mapping[RunId, Result]


@dataclass(frozen=True)
class Experiment:
    """A resolved card: its tasks read, its optimizers specified.

    optimizers: by their names on the card. planned: runs that were planned before, so that their ids are not hashed at every walk.
    """

    card: RunnerCard
    tasks: dict[str, Task]
    optimizers: dict[str, OptimizerSpec]
    environment: Environment
    planned: dict[Any, Run] = field(default_factory=dict, init=False, repr=False, compare=False)


class Choice(NamedTuple):
    """The rate that stands for a cell; edge: whether it lies at an end of its grid."""

    lr: float
    edge: bool


class Trial(NamedTuple):
    """A run as far as choosing a rate looks at it."""

    id: RunId
    lr: float


class Walk(NamedTuple):
    """missing: runs that could start now. cells: the runs of each cell, in order of rate and seed."""

    missing: list[Run]
    cells: dict[Cell, list[Run]]


def choose(runs: Sequence[Run] | Sequence[Trial], done: Done) -> Choice | None:
    """The best rate by mean `validation_learning` over seeds; ties within .01 go to the lower loss, then the lower rate.

    A diverged run counts as having learned nothing. None where every run diverged or none is done.
    """
    rates = sorted({run.lr for run in runs})
    results = {lr: [done[run.id] for run in runs if run.lr == lr and run.id in done] for lr in rates}
    sound = {lr: found for lr, found in results.items() if any(result.status == "ok" for result in found)}
    if not sound:
        return None
    learned = {lr: fmean(_learned(result) for result in found) for lr, found in sound.items()}
    tied = [lr for lr in sound if learned[lr] >= max(learned.values()) - TIE]
    lr = min(tied, key=lambda rate: (_loss(sound[rate]), rate))
    return Choice(lr, len(rates) > 1 and lr in (rates[0], rates[-1]))


def _learned(result: Result) -> float:
    return result.score("validation_learning") if result.status == "ok" else 0.0


def _loss(results: Sequence[Result]) -> float:
    return fmean(result.score("validation_loss") if result.status == "ok" else float("inf") for result in results)


def next_runs(experiment: Experiment, done: Done) -> list[Run]:
    """The runs that can start now: not done, their parents done and sound."""
    return walk(experiment, done).missing


def walk(experiment: Experiment, done: Done, real: Done | None = None) -> Walk:
    """Every cell whose runs are known so far, and the runs among them that are missing.

    Two tasks may share runs (variants of one, before the stage in which they differ). real: of what is done, what grids are
    extended by; all if none.
    """
    missing: dict[RunId, Run] = {}
    cells: dict[Cell, list[Run]] = {}
    for task in experiment.tasks.values():
        starts: list[Start] = [Start((), dict.fromkeys(experiment.card.seed_list))]
        for position, stage in enumerate(experiment.card.stages):
            found: dict[Cell, list[Run]] = {}
            for cell, parents in [one for start in starts for one in _branches(experiment, task, position, start)]:
                rates = tuned(experiment.card, stage, cell, found, done)
                if rates is None:
                    rates = rates_of(experiment.card, stage, task.card.name, cell)
                found[cell] = _grown(experiment, task, position, cell, rates, parents, done if real is None else real)
            starts = []
            for cell, runs in found.items():
                missing |= {run.id: run for run in runs if run.id not in done}
                if position + 1 < len(experiment.card.stages):
                    starts.append(Start((*cell.base, cell.optimizer), _parents(runs, done)))
            cells |= found
    return Walk(list(missing.values()), cells)


def _grown(
    experiment: Experiment, task: Task, position: int, cell: Cell, rates: Sequence[float],
    parents: Mapping[int, RunId | None], done: Done,
) -> list[Run]:  # fmt: skip
    """The runs of a cell at these rates, and at those beyond them that its stage extends its grid to."""
    runs = _runs(experiment, task, position, cell, rates, parents)
    for _ in range(experiment.card.stages[position].extend if len(rates) > 1 else 0):
        if any(run.id not in done for run in runs) or not (rate := beyond(runs, done)):
            break
        runs = [*runs, *_runs(experiment, task, position, cell, [rate], parents)]
    return runs


def tuned(
    card: RunnerCard, stage: StageCard, cell: Cell, known: Mapping[Cell, list[Run]], done: Done
) -> list[float] | None:
    """The rate of a variant that has a share of the one chosen for its optimizer, none while that is unknown; None where the
    variant has rates of its own."""
    variant = card.variants.get(cell.optimizer)
    if not (variant and variant.of_tuned and stage is card.stages[-1]):
        return None
    runs = known.get(cell._replace(optimizer=variant.of), [])
    choice = choose(runs, done) if runs and all(run.id in done for run in runs) else None
    return [float(f"{choice.lr * variant.of_tuned:.6g}")] if choice else []


def beyond(runs: Sequence[Run], done: Done) -> float | None:
    """The rate that would come next on a grid whose edge is chosen, by the grid's factor there; None if it is not."""
    choice, rates = choose(runs, done), sorted({run.lr for run in runs})
    if choice is None or not choice.edge:
        return None
    next_to = rates[1] if choice.lr == rates[0] else rates[-2]
    return float(f"{choice.lr**2 / next_to:.6g}")


class Start(NamedTuple):
    """Where a stage begins: the optimizers so far, and for each seed the run to start from (None: from scratch)."""

    base: tuple[str, ...]
    parents: Mapping[int, RunId | None]


def _parents(runs: Sequence[Run], done: Done) -> dict[int, RunId | None]:
    """By seed the run that later stages start from; a seed is absent while unknown, or for good if it diverged."""
    several = len({run.lr for run in runs}) > 1
    if several and any(run.id not in done for run in runs):
        return {}
    choice = choose(runs, done)
    return {
        run.seed: run.id
        for run in runs
        if choice and run.lr == choice.lr and run.id in done and done[run.id].status == "ok"
    }


def _branches(
    experiment: Experiment, task: Task, position: int, start: Start
) -> Iterator[tuple[Cell, Mapping[int, RunId | None]]]:
    """The cells that a stage makes of one start: its optimizers x updates x decays x sizes; what each seed starts from."""
    card, stage = experiment.card, experiment.card.stages[position]
    for optimizer in optimizers(card, position, start.base):
        training = settings(stage, task.card.name, card.optimizer_of(optimizer))
        for (update, size), decay in product(updates(card, stage, task.card.name, optimizer), training.weight_decay):
            yield Cell(task.card.label, stage.name, start.base, optimizer, update, decay, size), start.parents


def optimizers(card: RunnerCard, position: int, base: Sequence[str]) -> list[str]:
    """The optimizers that a stage runs from a start; variants that share what their optimizer pretrained, in the last."""
    stage, is_last = card.stages[position], position + 1 == len(card.stages)
    if stage.optimizer != "same":
        return list(stage.optimizer)
    if is_last:
        own = [name for name in card.optimizers if not base or card.root(name) == base[-1]]
        return sorted(
            own, key=lambda name: name in card.variants and card.variants[name].of_tuned is not None
        )  # they wait
    return list(base[-1:]) or list(dict.fromkeys(map(card.root, card.optimizers)))


def updates(card: RunnerCard, stage: StageCard, task: str, optimizer: str) -> list[tuple[str, float]]:
    """The updates of a stage for an optimizer, each with a size: the first, and under the first of the updates the
    other ones, too (of a variant only the first)."""
    variant, is_last = card.variants.get(optimizer), stage is card.stages[-1]
    allowed = variant.update if variant and variant.update and is_last else stage.update
    first, *others = settings(stage, task, card.optimizer_of(optimizer)).sizes
    several = [(allowed[0], size) for size in (others if variant is None else ())]
    return [*((update, first) for update in allowed), *several]


class Training(NamedTuple):
    steps: int
    weight_decay: Sequence[float]
    sizes: Sequence[float]
    lr_factor: float


def settings(stage: StageCard, task: str, registered: str) -> Training:
    """What a stage has of its own for one task and optimizer, named by its registered."""
    steps, decay, sizes, factor = stage.steps, stage.weight_decay, stage.sizes, 1.0
    for own in (
        stage.overrides[name] for name in (task, registered, f"{task}/{registered}") if name in stage.overrides
    ):
        steps = own.steps or steps
        decay = own.weight_decay if own.weight_decay is not None else decay
        sizes = own.sizes or sizes
        factor *= own.lr_factor
    return Training(steps, decay if isinstance(decay, list) else [decay], sizes, factor)


def grid(card: RunnerCard, stage: StageCard, optimizer: str, update: str) -> list[float]:
    """The learning rates of a stage for one optimizer and update."""
    variant = card.variants.get(optimizer)
    if variant and variant.lr and stage is card.stages[-1]:
        return list(variant.lr)
    registered = card.optimizer_of(optimizer)
    if isinstance(stage.lr, dict) and registered not in stage.lr:
        return list(OPTIMIZERS[registered].grid)
    rates: Any = stage.lr[registered] if isinstance(stage.lr, dict) else stage.lr
    if isinstance(rates, dict):
        rates = rates[update if update in rates else kind_of(update)]
    return list(rates)


def rates_of(card: RunnerCard, stage: StageCard, task: str, cell: Cell) -> list[float]:
    """The learning rates of a cell: its grid, times the factors of its task and optimizer; a variant's own as they are."""
    variant = card.variants.get(cell.optimizer)
    if variant and variant.lr and stage is card.stages[-1]:
        return list(variant.lr)
    factor = settings(stage, task, card.optimizer_of(cell.optimizer)).lr_factor
    rates = grid(card, stage, cell.optimizer, cell.update)
    return rates if factor == 1 else [float(f"{rate * factor:.6g}") for rate in rates]


def kind_of(update: str) -> str:
    """Which rates an update uses that has none of its own."""
    return "lora" if update.startswith("lora") else "full"


def _runs(
    experiment: Experiment, task: Task, position: int, cell: Cell, rates: Sequence[float],
    parents: Mapping[int, RunId | None],
) -> list[Run]:  # fmt: skip
    """The runs of a cell at these rates, rate after rate."""
    found = []
    for own in ((task.card.label, position, cell, lr, seed, parents[seed]) for lr in rates for seed in parents):
        if own not in experiment.planned:
            experiment.planned[own] = _run(experiment, task, *own[1:])
        found.append(experiment.planned[own])
    return found


def _run(
    experiment: Experiment, task: Task, position: int, cell: Cell, lr: float, seed: int, parent: RunId | None
) -> Run:
    card, stage = experiment.card, experiment.card.stages[position]
    variant = card.variants.get(cell.optimizer)
    return Run(
        task=task.name_in(stage.name),
        task_version=task.card.version if task.is_own(stage.name) else "",
        task_fingerprint=task.fingerprint_to(stage.name),
        model=card.shape.model_dump(mode="json"),
        stage=stage.name,
        history=tuple(earlier.name for earlier in card.stages[:position]),
        optimizer=experiment.optimizers[cell.optimizer],
        lr=lr,
        weight_decay=cell.weight_decay,
        update=cell.update,
        steps=scaled(settings(stage, task.card.name, card.optimizer_of(cell.optimizer)).steps, cell.size),
        batch=stage.batch,
        schedule=stage.schedule,
        warmup=stage.warmup,
        examples=sized(task, stage, cell.size),
        points=stage.points,
        sample=card.reading.sample,
        relearn=stage.relearn,
        seed=seed,
        salt=variant.salt if variant else "",
        parent=parent,
        environment=experiment.environment,
    )


def scaled(count: int, size: float) -> int:
    """A number of items, steps or the like for a finetuning set of this size; at least one."""
    return max(1, round(count * size))


def sized(task: Task, stage: StageCard, size: float) -> dict[str, int]:
    """Trained items by slice for a finetuning set of this size."""
    return {name: scaled(items, size) for name, items in (task.card.size(stage.name) | stage.examples).items()}


def forecast(experiment: Experiment, done: Done) -> list[Run]:
    """Every run still to come if none diverges and no grid is extended further.

    Rates yet to be chosen are stood in for by any; where a parent must be trained again whose children are done, that
    may count too many.
    """
    known, coming = dict(done), walk(experiment, done).missing
    found = coming
    while found:
        known |= {run.id: Result(run.id, "ok", {"validation_learning": 0.0, "validation_loss": 0.0}) for run in found}
        found = walk(experiment, known, done).missing
        coming = [*coming, *found]
    return coming
