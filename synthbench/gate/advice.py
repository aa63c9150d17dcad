"""What to do after a check that did not pass, in a sentence."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from math import ceil

from synthbench.analysis.statistics import MOST_SEEDS
from synthbench.gate.comparison import Level, Line, overall


def after(level: Level, lines: Sequence[Line], origin: str, is_other: bool, is_short: bool) -> str | None:
    """origin: the baseline's file. is_other: another implementation or other arguments than recorded were checked, so the
    baseline is right as it is. is_short: not all recorded seeds were taken."""
    file = shlex.quote(origin)
    verdict = overall(lines)
    if verdict == "unchanged":
        return None
    if verdict == "could not tell":
        return (
            _undecided(lines, file, is_short) if level == "behaviour" else "--level behaviour compares scores instead."
        )
    closer = {
        "exact": "--level trace tells whether by more than rounding.",
        "trace": "--level behaviour tells whether what is learned and forgotten changed, too.",
        "behaviour": "",
    }[level]
    meant = "" if is_other else f"Is the change meant: synthbench baseline -o {file} --update, and commit {file}."
    return " ".join(filter(None, (closer, meant))) or None


def _undecided(lines: Sequence[Line], file: str, is_short: bool) -> str | None:
    """More seeds, where so many can be had that they tell."""
    if is_short:
        return "Without --budget all recorded seeds are compared."
    needed = max(
        (line.seeds for line in lines if line.verdict == "could not tell" and line.seeds == line.seeds), default=0
    )
    if not 0 < needed <= MOST_SEEDS:
        return None
    return (
        f"More seeds would tell, once the baseline has them, recorded by the code from before the change: synthbench "
        f"baseline -o {file} --update --seeds {ceil(needed)}."
    )
