"""A baseline: what an optimizer did, as a small JSON file to be committed, sealed against edits."""

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

FORMAT: Literal[2] = 2  # of the file
STEPS = 50  # the first steps of every stage, which are traced
MOST_BYTES = 2**24
BySeed = dict[int, float]


class Edited(BadInput):
    """A baseline that does not match its seal."""


class TraceCard(Card):
    """Traces by cell (`STAGE/UPDATE`) and quantity. values: the steps of each seed. floors: the deviation that starts
    perturbed by 1e-6 show. digests: of each seed's trace and last weights."""

    seeds: list[int]
    values: dict[str, dict[str, list[list[float | None]]]]
    floors: dict[str, dict[str, float]]
    digests: dict[str, list[str]]


class BehaviourCard(Card):
    """Results by cell (`STAGE/UPDATE`). values: by score and seed. noise: by score, how far apart the means of two halves
    of the seeds are (root mean square). diverged: seeds. undefined: by score, valid seeds without a value. curves: training
    losses over equal parts of the stage, means over seeds."""

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


class Baseline(Card):
    """optimizer: as it was named. card: the experiment, of this optimizer alone, at the chosen rates. tasks: fingerprints
    by label. package: sha256 of the package's code that can change a number."""

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
    """The file's text: JSON with each score and each trace on a line, for readers of a diff, and the seal: sha256 of
    everything else as canonical JSON."""
    content = baseline.model_dump(mode="json", by_alias=True)
    return _dump(content | {"seal": fingerprint(content)}, 0) + "\n"


def _dump(value: Any, depth: int) -> str:
    if not isinstance(value, Mapping) or not value or not any(isinstance(inner, Mapping) for inner in value.values()):
        return json.dumps(value, separators=(", ", ": "), allow_nan=False)
    indent = " " * (depth + 1)
    lines = [f"{indent}{json.dumps(str(key))}: {_dump(inner, depth + 1)}" for key, inner in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + " " * depth + "}"


def read(path: Path) -> Baseline:
    """A baseline from its file. Raises BadInput where it is none (Edited where its seal does not match), NotMeasured where
    it has another format."""
    file = named(path)
    again = f"synthbench baseline --optimizer NAME -o {file}"
    if not files.is_file(path):
        raise BadInput(f"{file} is not a file; make one with: {again}.")
    text = files.text(path, file, MOST_BYTES)
    try:
        content = json.loads(text)
        is_sealed = isinstance(content, dict) and content.pop("seal", None) == fingerprint(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file} is no baseline: it is not JSON ({error}).") from None
    if not isinstance(content, dict):
        raise BadInput(f"{file} is no baseline: it is not a JSON object.")
    number = content.get("format")
    if isinstance(number, int) and number != FORMAT:
        raise NotMeasured(
            f"{file} has format {shown(number)}, and this version compares format {FORMAT} only; record it again with this "
            "version, or check with the version that recorded it."
        )
    try:
        baseline = Baseline.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = named(".".join(map(str, first["loc"])))
        raise BadInput(f"{file} is no baseline: {where}: {message(first['msg'])}.") from None
    if not is_sealed:
        raise Edited(f"{file} was edited or merged by hand; restore it, or record it again with: {again} --overwrite.")
    return _with_paths(baseline, lambda written: os.path.normpath(path.resolve().parent / written))


def write(baseline: Baseline, path: Path) -> None:
    """Writes a baseline, complete or not at all; paths in it are read from its own folder."""
    home = path.parent.resolve()
    files.write(path, text(_with_paths(baseline, lambda where: os.path.relpath(where, home))), f"-o {named(path)}")


def _with_paths(baseline: Baseline, change: Callable[[str], str]) -> Baseline:
    """A baseline whose paths (of tasks' cards, of an optimizer's file) are changed."""
    file, colon, name = baseline.optimizer.rpartition(":")
    optimizer = f"{change(file)}:{name}" if colon and file.endswith(".py") else baseline.optimizer
    tasks = []
    for task in baseline.card.tasks:
        path, variant = split(TaskCard, task)
        tasks.append(":".join(filter(None, (change(path), variant))) if is_path(path) else task)
    card = baseline.card.model_copy(update={"tasks": tasks})
    return baseline.model_copy(update={"optimizer": optimizer, "card": card})
