"""Options that several commands have, and how their text is read."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from synthbench.common.errors import BadInput
from synthbench.common.wording import inert, shown

OUT = Path("synthbench-results")
WIDEST = 10_000  # seeds of a range
Out = Annotated[Path, Option("--out", help="Folder of results.", show_default=True)]
Runner = Annotated[str | None, Argument(help="A runner's name or the path of its card.", show_default=False)]
Assert = Annotated[bool, Option("--assert-claims", help="Exit 1 where a claim is refuted, 3 where one isn't measured.")]
Columns = Annotated[str | None, Option("--columns", help="Scores in place of the card's, such as fit,learning.")]
Settings = Annotated[list[str] | None, Option("--set", help="path=value in the card; repeatable.")]
Jobs = Annotated[int | None, Option(help="Worker processes.", show_default="one per core")]
Silent = Annotated[bool, Option("--quiet", help="No progress.")]
Budget = Annotated[str | None, Option(help="20s, 60s or 5m: time budget; sets the number of seeds.")]
Device = Annotated[str, Option(help="auto, cpu or cuda.")]
Seeds = Annotated[str | None, Option(help="How many seeds, or which: 0,4,7 or 100-131.")]
Optimizers = Annotated[str | None, Option(help="Optimizers, such as muon or adamw,sgd.")]
Tasks = Annotated[str | None, Option(help="Tasks, by name or path of a card.")]
Updates = Annotated[str | None, Option(help="Trainable weights: full, full-hidden, lora-R.")]
Axes = Annotated[list[str] | None, Option(help="PATH=a,b: values that are crossed with everything.")]
FleetCpus = Annotated[float, Option(help="CPUs of a node that a fleet takes, with --engine ray.")]
FleetGpus = Annotated[float, Option(help="GPUs of a node that a fleet takes, with --device cuda.")]
FleetSize = Annotated[int | None, Option(help="Runs trained as one batched model.")]
Path_ = Annotated[
    str, Option(help="Of training steps: torch, native (C++, on a CPU), bfloat16 (products, for GPUs), or auto.")
]
Lr = Annotated[str | None, Option(help="Learning rates of the last stage, such as 1e-3,3e-3.")]


def notice(renamed: str) -> None:
    print(f"synthbench: {renamed}; the old name is read until version 0.2.", file=sys.stderr)


def words(option: str, text: str | None) -> list[str] | None:
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise BadInput(f"{option} {shown(text)} has an empty entry; give names separated by commas.")
    return words


def numbers(option: str, text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(_ascii(word)) for word in text.split(",")]
    except ValueError:
        raise BadInput(f"{option} {shown(text)} must be numbers separated by commas, such as 1e-3,3e-3.") from None


def seeds(text: str | None) -> int | list[int] | None:
    """A count, or seeds and ranges of them separated by commas."""
    if text is None:
        return None
    which: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*([0-9]{1,19})(?:-([0-9]{1,19}))?\s*", part)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if not 0 <= last - first < WIDEST:
            raise BadInput(f"--seeds {shown(text)} must be a count, or seeds such as 0,4,7 or 100-131.")
        which += range(first, last + 1)
    return which if set(text) & set(",-") else which[0]


def _ascii(number: str) -> str:
    """The number; raises ValueError for what only Python reads as one: `1_0`, or digits of other scripts."""
    if "_" in number or not number.isascii():
        raise ValueError
    return number


def as_typed() -> str:
    """The command as typed, for the record."""
    return inert(shlex.join(["synthbench", *sys.argv[1:]]))
