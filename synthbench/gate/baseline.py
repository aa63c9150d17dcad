"""A baseline: what an optimizer did."""

from __future__ import annotations

from typing import Any, Literal

from synthbench.cards import Card, RunnerCard
from synthbench.experiment.runs import OptimizerSpec

FORMAT: Literal[1] = 1  # of the file
STEPS = 50  # of every stage, the first, that are traced
BySeed = dict[int, float]


class TraceCard(Card):
    """Traces of every stage under every update (`STAGE/UPDATE`). values: by cell and quantity, for each seed its steps.
    floors: by cell and quantity, the deviation that starts perturbed by 1e-6 show. digests: for each seed."""

    seeds: list[int]
    values: dict[str, dict[str, list[list[float | None]]]]
    floors: dict[str, dict[str, float]]
    digests: dict[str, list[str]]


class BehaviourCard(Card):
    """What runs showed, by stage and update (`STAGE/UPDATE`). values: by score and seed. noise: how far apart the means of
    two independent halves of the seeds are (root mean square). diverged: seeds.
    undefined: by score, seeds in which it has no value. curves: training losses over equal parts of the stage, means over
    seeds."""

    values: dict[str, dict[str, BySeed]]
    noise: dict[str, dict[str, float]]
    diverged: dict[str, list[int]]
    undefined: dict[str, dict[str, list[int]]]
    curves: dict[str, list[float]]


class OptimizerCard(Card):
    """What an optimizer is: the registered name, its routing table, the arguments that it runs with, sha256 of its code."""

    name: str
    routing: list[tuple[str, str]]
    arguments: dict[str, Any]
    source: str

    @classmethod
    def of(cls, spec: OptimizerSpec) -> OptimizerCard:
        return cls(name=spec.name, routing=list(spec.routing), arguments=spec.arguments, source=spec.source)


class Baseline(Card):
    """optimizer: as it was named. card: the experiment, of this optimizer alone, its rates chosen. package: sha256 of all
    code of ours that can change a number. tasks: fingerprints by label."""

    format: Literal[1] = FORMAT
    optimizer: str
    spec: OptimizerCard
    card: RunnerCard
    tasks: dict[str, str]
    device: str
    machine: str
    versions: dict[str, str]
    package: str
    command: str
    trace: TraceCard
    behaviour: BehaviourCard
