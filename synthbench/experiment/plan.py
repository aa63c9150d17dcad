"""The planner: from a card and what is done, the runs to do next. Called again until it returns nothing.

Resuming, choosing rates and starting children are all the same call: there is no other graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from synthbench.cards import RunnerCard, StageCard
from synthbench.experiment.runs import Cell, Environment, Result, RuleSpec, Run, RunId
from synthbench.generators import Task

TIE = 0.01  # of validation learning: rates this close to the best are equal
Done = Mapping[RunId, Result]


@dataclass(frozen=True)
class Experiment:
    """A resolved card: its tasks read, its optimizers specified. rules: by optimizer."""

    card: RunnerCard
    tasks: dict[str, Task]
    rules: dict[str, RuleSpec]
    environment: Environment


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


def walk(experiment: Experiment, done: Done) -> Walk:
    """Every cell whose runs are known so far, and the runs among them that are missing."""
    missing: list[Run] = []
    cells: dict[Cell, list[Run]] = {}
    for task in experiment.tasks.values():
        starts: list[Start] = [Start((), dict.fromkeys(experiment.card.seed_list))]
        for position, stage in enumerate(experiment.card.stages):
            found = [branch for start in starts for branch in _branches(experiment, task, position, start)]
            starts = []
            for cell, runs in found:
                cells[cell] = runs
                missing += [run for run in runs if run.id not in done]
                if position + 1 < len(experiment.card.stages):
                    starts.append(Start((*cell.base, cell.optimizer), _parents(runs, done, stage)))
    return Walk(missing, cells)


class Start(NamedTuple):
    """Where a stage begins: the optimizers so far, and for each seed the run to start from (None: from scratch)."""

    base: tuple[str, ...]
    parents: Mapping[int, RunId | None]


def _parents(runs: Sequence[Run], done: Done, stage: StageCard) -> dict[int, RunId | None]:
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


def _branches(experiment: Experiment, task: Task, position: int, start: Start) -> Iterator[tuple[Cell, list[Run]]]:
    """The cells that a stage makes of one start: its optimizers x updates x decays."""
    stage = experiment.card.stages[position]
    if stage.optimizer != "same":
        optimizers: Sequence[str] = stage.optimizer
    else:
        optimizers = start.base[-1:] or experiment.card.optimizers
    for optimizer in optimizers:
        training = settings(stage, optimizer)
        for update in stage.update:
            for decay in training.weight_decay:
                cell = Cell(task.card.name, stage.name, start.base, optimizer, update, decay)
                rates = grid(stage, optimizer, update)
                yield (
                    cell,
                    [
                        _run(experiment, task, position, cell, training.steps, lr, seed, parent)
                        for lr in rates
                        for seed, parent in start.parents.items()
                    ],
                )


class Training(NamedTuple):
    steps: int
    weight_decay: Sequence[float]


def settings(stage: StageCard, optimizer: str) -> Training:
    """Steps and decays of a stage for one optimizer."""
    own = stage.overrides.get(optimizer)
    steps = own.steps if own and own.steps else stage.steps
    decay = own.weight_decay if own and own.weight_decay is not None else stage.weight_decay
    return Training(steps, decay if isinstance(decay, list) else [decay])


def grid(stage: StageCard, optimizer: str, update: str) -> list[float]:
    """The learning rates of a stage for one optimizer and update."""
    rates: Any = stage.lr[optimizer] if isinstance(stage.lr, dict) else stage.lr
    if isinstance(rates, dict):
        rates = rates["lora" if update.startswith("lora") else "full"]
    return list(rates)


def _run(
    experiment: Experiment,
    task: Task,
    position: int,
    cell: Cell,
    steps: int,
    lr: float,
    seed: int,
    parent: RunId | None,
) -> Run:
    card, stage = experiment.card, experiment.card.stages[position]
    return Run(
        task=task.card.name,
        task_version=task.card.version,
        task_fingerprint=task.fingerprint,
        model=card.shape.model_dump(mode="json"),
        stage=stage.name,
        history=tuple(earlier.name for earlier in card.stages[:position]),
        rule=experiment.rules[cell.optimizer],
        lr=lr,
        weight_decay=cell.weight_decay,
        update=cell.update,
        steps=steps,
        batch=stage.batch,
        schedule=stage.schedule,
        warmup=stage.warmup,
        examples=task.card.size(stage.name) | stage.examples,
        points=stage.points,
        sample=card.reading.sample,
        seed=seed,
        parent=parent,
        environment=experiment.environment,
    )


def forecast(experiment: Experiment, done: Done) -> list[Run]:
    """Every run still to come if none diverges.

    Rates yet to be chosen are stood in for by any; where a parent must be trained again whose children are done, that
    may count too many.
    """
    known, coming = dict(done), list[Run]()
    while runs := next_runs(experiment, known):
        coming += runs
        known |= {run.id: Result(run.id, "ok", {"validation_learning": 0.0, "validation_loss": 0.0}) for run in runs}
    return coming
