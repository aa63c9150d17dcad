"""What planner's tests have in common: the cells of an experiment that is played to its end."""

from __future__ import annotations

from synthbench.experiment.plan import Experiment, walk
from synthbench.experiment.runs import Cell, Result, Run
from tests.experiment.test_plan import finished, ok


def cells(experiment: Experiment, stage: str) -> dict[Cell, list[Run]]:
    """The cells of a stage with their runs, once everything is done."""
    return {cell: runs for cell, runs in walk(experiment, finished(experiment)).cells.items() if cell.stage == stage}


def of(experiment: Experiment, optimizer: str, stage: str = "finetune") -> list[Run]:
    return [run for cell, runs in cells(experiment, stage).items() if cell.optimizer == optimizer for run in runs]


def rising(run: Run) -> Result:
    """The higher the rate, the more is learned."""
    return ok(run, min(1.0, 20 * run.lr))
