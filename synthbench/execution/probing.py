"""Probing a fleet that was trained: its weights are read again, measured, and what is found added to its observations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from synthbench.execution.fleet_job import Job, Trained
from synthbench.execution.fleet_setup import build
from synthbench.generators import Task
from synthbench.scores import run_scores
from synthbench.store.observations import from_bytes, to_bytes
from synthbench.store.weights import read_weights

if TYPE_CHECKING:
    from synthbench.execution.probes.subject import Subject

TOGETHER = 16  # runs that are measured at once: a landscape holds three copies of their weights


def probed(job: Job, trained: Sequence[Trained], device: str) -> list[Trained]:
    """The outcome of each run with what the probes that its card asks for measure. A run that diverged has nothing to be
    measured."""
    outcome = list(trained)
    converged = [k for k, one in enumerate(trained) if one.weights is not None]
    for start in range(0, len(converged), TOGETHER):
        rows = converged[start : start + TOGETHER]
        subject = subject_of(job, [trained[k] for k in rows], rows, device)
        for k, values in zip(rows, measured(subject), strict=True):
            outcome[k] = with_values(trained[k], values)
    return outcome


def subject_of(job: Job, trained: Sequence[Trained], rows: Sequence[int], device: str) -> Subject:
    """The models of these rows of a job, before their stage and after it."""
    import torch

    from synthbench.execution.probes.subject import Subject
    from synthbench.trainer.fleet import pack, views

    runs, task = [job.runs[k] for k in rows], Task(job.task)
    fleet = build(task, runs, [job.parents[k] for k in rows], job.folder, torch.device(device))
    before = views(fleet.layout, fleet.base_KP)
    saved = [read_weights(job.folder, one.weights) for one in trained if one.weights is not None]
    with torch.no_grad():
        after = fleet.weights(pack(fleet.trainable, saved, fleet.flat_KP.device))
    return Subject(fleet, task, runs, before, after)


def measured(subject: Subject) -> list[dict[str, float]]:
    """What every probe of the runs finds, by score."""
    values: list[dict[str, float]] = [{} for _ in subject.runs]
    for name in subject.runs[0].probes:
        of_runs = import_module(f"synthbench.execution.probes.{name}").measure(subject)
        for known, found in zip(values, of_runs, strict=True):
            known |= found
    return values


def with_values(trained: Trained, values: dict[str, float]) -> Trained:
    """An outcome with measured values among the observations of its last point, and scored again."""
    observed = from_bytes(trained.observations)
    observed = observed._replace(end=observed.end._replace(moved={**observed.end.moved, **values}))
    path, ends = run_scores(observed)
    return trained._replace(result=replace(trained.result, scores=ends, path=path), observations=to_bytes(observed))
