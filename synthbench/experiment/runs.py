"""Runs and their results, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from math import nan
from typing import Any, Literal, NamedTuple

from synthbench.cards import fingerprint
from synthbench.cards.axis import Value
from synthbench.experiment.readings import Readings, Wanted, read
from synthbench.trainer.native.path import TORCH

RunId = str
Status = Literal["ok", "diverged", "interrupted"]
Scores = Mapping[str, float]


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer with everything that can change how it moves weights. source: sha256 of its file."""

    name: str
    routing: tuple[tuple[str, str], ...]
    arguments: dict[str, Any]
    source: str

    @property
    def fingerprint(self) -> str:
        return fingerprint(asdict(self))

    @property
    def has_rate(self) -> bool:
        """Whether a learning rate can be set: some plug-ins set their own."""
        return not self.arguments.get("own_rate", False)

    @property
    def heeds_decay(self) -> bool:
        """Whether the card's weight decay is in force."""
        return str(self.arguments.get("decay_in_force", "card")).startswith("card")


@dataclass(frozen=True)
class Environment:
    """What a run's numbers depend on beside its settings: the hash of training and evaluation code, torch, device, and the
    path of its training steps."""

    source: str
    torch: str
    device: str
    dtype: str = "float32"
    path: str = TORCH

    @property
    def identity(self) -> dict[str, str]:
        """As ids hash it: torch's path, once the only one, goes without saying."""
        return {name: value for name, value in vars(self).items() if (name, value) != ("path", TORCH)}


OPTIONAL = (
    "probes",
    "remedy",
)  # fields of a run that stay out of its id where they are empty: runs without them keep theirs


@dataclass(frozen=True)
class Run:
    """One model trained through one stage. Its id hashes every input that affects its results.

    task_fingerprint: of the task as far as this stage. history: the stages that its parents went through. examples:
    trained items by slice. sample: items a set that are evaluated between the path's ends, bracket_sample: at the ends and
    around the steps at which fit first reaches one of the levels. relearn: steps of relearning after the last evaluation.
    salt: changes what is drawn beside the data. parent: the run whose weights it starts from. probes: what is measured
    after the stage. remedy: what is done against forgetting, by name. Fields of OPTIONAL are part of the id where they are
    given.
    """

    task: str
    task_version: str
    task_fingerprint: str
    model: dict[str, Any]
    stage: str
    history: tuple[str, ...]
    optimizer: OptimizerSpec
    lr: float
    weight_decay: float
    update: str
    steps: int
    batch: int
    schedule: str
    warmup: float
    examples: dict[str, int]
    points: int
    sample: int
    bracket_sample: int
    levels: tuple[float, ...]
    relearn: int
    seed: int
    salt: str
    parent: RunId | None
    environment: Environment
    probes: tuple[str, ...] = ()
    remedy: dict[str, float] = field(default_factory=dict)

    @cached_property
    def identity(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values = {name: value for name, value in values.items() if value or name not in OPTIONAL}
        return values | {"optimizer": vars(self.optimizer), "environment": self.environment.identity}

    @cached_property
    def id(self) -> RunId:
        return fingerprint(self.identity)

    @cached_property
    def kind(self) -> str:
        """What runs of one fleet have in common: everything but rate, decay, seed, salt and parent."""
        individual = {"lr", "weight_decay", "seed", "salt", "parent"}
        return fingerprint({key: value for key, value in self.identity.items() if key not in individual})


class Cell(NamedTuple):
    """A row of a table: runs that differ in rate and seed alone.

    task: its label. base: optimizers of earlier stages. size: trained items over those of the card. point: the values of
    the axes that it, or what it starts from, differs in, by label.
    """

    task: str
    stage: str
    base: tuple[str, ...]
    optimizer: str
    update: str
    weight_decay: float
    size: float = 1.0
    point: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True)
class Result:
    """The outcome of a run. scores: at the end, on all items. path: by step, on the sample. readings: of its path, where
    they are stored. steps: at the path's end, where that is stored."""

    run: RunId
    status: Status
    scores: Scores = field(default_factory=dict)
    path: Mapping[int, Scores] = field(default_factory=dict)
    attempt: int = 1
    weights: str | None = None
    fleet_size: int = 0
    seconds: float = 0.0
    started: str = ""
    device: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    readings: Readings | None = field(default=None, compare=False)
    steps: int | None = field(default=None, compare=False)

    def reading(self, of: Wanted) -> Readings:
        """What is read of its path: as stored, or computed now."""
        known = self.readings
        return known if known is not None and known.of == of else read(self.path, of)

    @property
    def last_step(self) -> int:
        """At its path's end."""
        return max(self.path, default=0) if self.steps is None else self.steps

    def score(self, name: str) -> float:
        """A score at the end, NaN where it was not measured."""
        return self.scores.get(name, nan)
