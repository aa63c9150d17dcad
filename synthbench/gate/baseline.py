"""A baseline: what an optimizer did, as a small JSON file that is made to be committed. It is sealed against edits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from synthbench.cards import Card, RunnerCard, TaskCard, fingerprint, is_path
from synthbench.cards.finding import split
from synthbench.common import files
from synthbench.common.errors import BadInput, NotMeasured
from synthbench.common.validation import message
from synthbench.common.wording import named, shown
from synthbench.experiment.runs import OptimizerSpec

FORMAT: Literal[2] = 2  # of the file
STEPS = 50  # the first steps of every stage, which are traced
MOST_BYTES = 2**24
BySeed = dict[int, float]


class TraceCard(Card):
    """Traces of every stage under every update (`STAGE/UPDATE`). values: by cell and quantity, for each seed its steps.
    floors: by cell and quantity, the deviation that starts perturbed by 1e-6 show. digests: for each seed."""

    seeds: list[int]
    values: dict[str, dict[str, list[list[float | None]]]]
    floors: dict[str, dict[str, float]]
    digests: dict[str, list[str]]


class BehaviourCard(Card):
    """Results by stage and update (`STAGE/UPDATE`). values: by score and seed. noise: how far apart the means of two
    independent halves of the seeds are (root mean square). diverged: seeds. undefined: by score, seeds in which it has
    no value. curves: training losses over equal parts of the stage, means over seeds."""

    values: dict[str, dict[str, BySeed]]
    noise: dict[str, dict[str, float]]
    diverged: dict[str, list[int]]
    undefined: dict[str, dict[str, list[int]]]
    curves: dict[str, list[float]]


class OptimizerCard(Card):
    """An optimizer: its registered name, routing table and arguments, sha256 of its code."""

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

    format: Literal[2] = FORMAT
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


def text(baseline: Baseline) -> str:
    """The file's text: JSON with each score and each trace on a line, for readers of a diff, and a seal."""
    content = baseline.model_dump(mode="json", by_alias=True)
    return _dump(content | {"seal": fingerprint(content)}, 0) + "\n"


def _dump(value: Any, depth: int) -> str:
    if not isinstance(value, Mapping) or not value or not any(isinstance(inner, Mapping) for inner in value.values()):
        return json.dumps(value, separators=(", ", ": "), allow_nan=False)
    indent = " " * (depth + 1)
    lines = [f"{indent}{json.dumps(str(key))}: {_dump(inner, depth + 1)}" for key, inner in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


def read(path: Path) -> Baseline:
    """A baseline's file; raises BadInput where it is none or was edited, NotMeasured where its format is not compared."""
    if not files.is_file(path):
        raise BadInput(
            f"{named(path)} is not a file; make one with: synthbench baseline --optimizer NAME -o {named(path)}."
        )
    try:
        content = json.loads(files.text(path, named(path), MOST_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{named(path)} is no baseline: it is not JSON ({error}).") from None
    number = content.get("format") if isinstance(content, dict) else None
    if isinstance(number, int) and number != FORMAT:
        raise NotMeasured(
            f"{named(path)} has format {shown(number)}, and this version compares format {FORMAT} only; record it again "
            "with this version, or check with the version that recorded it."
        )
    seal = content.pop("seal", None) if isinstance(content, dict) else None
    try:
        baseline = Baseline.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        raise BadInput(f"{named(path)} is no baseline: {named(where)}: {message(first['msg'])}.") from None
    if seal != fingerprint(content):
        raise BadInput(
            f"{named(path)} was edited or merged by hand: its seal does not match. Restore the recorded file, or record it "
            f"again: synthbench baseline --optimizer NAME -o {named(path)} --overwrite."
        )
    return _with_paths(baseline, lambda written: os.path.normpath(path.resolve().parent / written))


def write(baseline: Baseline, path: Path) -> None:
    """Writes a baseline, complete or not at all; paths in it are read from its own folder."""
    home = path.parent.resolve()
    files.write(path, text(_with_paths(baseline, lambda where: os.path.relpath(where, home))), f"-o {named(path)}")


def _with_paths(baseline: Baseline, change: Callable[[str], str]) -> Baseline:
    """A baseline whose paths (of a task's card, of an optimizer's file) are changed."""
    where, colon, name = baseline.optimizer.rpartition(":")
    optimizer = f"{change(where)}:{name}" if colon and where.endswith(".py") else baseline.optimizer
    tasks = []
    for task in baseline.card.tasks:
        name_or_path, variant = split(TaskCard, task)
        is_file = is_path(name_or_path)
        tasks.append(change(name_or_path) + (f":{variant}" if variant else "") if is_file else task)
    card = baseline.card.model_copy(update={"tasks": tasks})
    return baseline.model_copy(update={"optimizer": optimizer, "card": card})
