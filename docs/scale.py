"""reports/scale.md: what `python -m tests.benchmarks.scale` measured, from reports/scale.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from math import log
from pathlib import Path
from statistics import median
from typing import Any

from docs.generated import STALE
from synthbench.reporting.table import github

FOUND = Path(__file__).resolve().parent.parent / "reports" / "scale.json"
Found = Mapping[str, Any]
LABELS = {
    "walk": "engine, its walk alone", "engine": "engine, main process", "dry": "run --dry-run, nothing done",
    "resume": "run --dry-run, all done", "report": "report", "export": "export --format jsonl",
}  # fmt: skip
# What is aimed at, at 10^5 runs: most seconds, and most MB.
LARGE = 10**5
TARGETS = {"engine": (200.0, 2000.0), "dry": (5.0, None), "report": (5.0, 1000.0)}
RAY_SHARE = 0.9  # of the local engine's throughput, at least
PLAN_WITHIN = 0.2  # of what a plan said, at most

METHOD = """\
Studies without training: every run has a result with a path of 21 points and 15 scores. Seconds of the processor and peak
memory, each part in a process of its own; the import of Python's packages is left out of the seconds, not of the memory.
*ms a run* and *exponent* (1: linear) are between the two largest sizes. The engine hands fleets of 8 to 16 workers that
train in no time; what they would do is left out. Where other processes share the processor (the load, above), a part takes
more of its seconds than alone."""
RAY = """\
One command by turns on the local engine and on a Ray cluster of this machine that runs already, two fleets at a time on
both: run-steps a second, as the command says at its end, starting workers included. Ray's workers have the priority of
the local engine's (`RAY_worker_niceness=0`): by default they yield to every other process."""

PLANNED = """\
What `synthbench plan` said of the same command just before, with as many CPUs, and what it took on the cluster."""


def scale_page(found: Found | None = None) -> str:
    """The page, of what was published unless it is given; every figure on it is measured, and what is not says so."""
    found = found if found is not None else json.loads(FOUND.read_text())
    parts = ["# Scale", STALE]
    if found["figures"]:
        parts += [about(found["machine"]), METHOD, growth(found["figures"]), "## Targets", targets(found["figures"])]
    return "\n\n".join([*parts, "## Ray", *ray(found.get("ray"))])


def about(machine: Found) -> str:
    return (
        f"{machine['device']}, {machine['cores']} cores, Python {machine['python']}; {machine['date']}, load before "
        f"{machine['load']:.1f}. Made by `python -m tests.benchmarks.scale`; all it found is in [scale.json](scale.json)."
    )


def slopes(figures: Sequence[Found]) -> dict[str, tuple[float, float]]:
    """By part: milliseconds a run more between the two largest sizes, and the exponent of growth there (1: linear)."""
    found = {}
    for part in dict.fromkeys(figure["part"] for figure in figures):
        of_part = sorted((one["runs"], one["seconds"]) for one in figures if one["part"] == part)
        if len(of_part) > 1 and of_part[-1][1] > 0 < of_part[-2][1]:
            (few, less), (many, more) = of_part[-2:]
            found[part] = round(1000 * (more - less) / (many - few), 3), round(log(more / less) / log(many / few), 2)
    return found


def growth(figures: Sequence[Found]) -> str:
    """A line for each part, a column for each size."""
    sizes, found = sorted({figure["runs"] for figure in figures}), slopes(figures)
    known = {(one["part"], one["runs"]): f"{one['seconds']:g} s, {one['megabytes']:g} MB" for one in figures}
    rows = [
        [
            LABELS[part], *(known.get((part, size), "-") for size in sizes),
            *([f"{value:g}" for value in found[part]] if part in found else ["-", "-"]),
        ]
        for part in dict.fromkeys(figure["part"] for figure in figures)
    ]  # fmt: skip
    return github(["part", *(f"{size:,} runs" for size in sizes), "ms a run", "exponent"], rows)


def targets(figures: Sequence[Found]) -> str:
    """What is aimed at, beside what was measured of the study of 10^5 runs."""
    measured = {one["part"]: one for one in figures if abs(one["runs"] - LARGE) < 0.02 * LARGE}
    rows = []
    for part, limits in TARGETS.items():
        for unit, key, most in zip(("s", "MB"), ("seconds", "megabytes"), limits, strict=True):
            if most is not None:
                value = measured[part][key] if part in measured else None
                met = "not measured" if value is None else "yes" if value <= most else "no"
                rows.append([LABELS[part], f"{most:g} {unit}", "-" if value is None else f"{value:g} {unit}", met])
    return github([f"at {LARGE:,} runs", "at most", "measured", "met"], rows)


def ray(found: Found | str | None) -> Iterator[str]:
    if not isinstance(found, Mapping):
        yield "Not measured."
        return
    machine, rounds = found["machine"], list(zip(found["local"], found["ray"], strict=True))
    plans = list(zip(found["planned"], found["seconds"], strict=True))
    share = median(ray / local for local, ray in rounds)
    yield f"{RAY} Ray {found['version']}, {machine['date']}, load before {machine['load']:.1f}."
    yield f"`{found['command']}`"
    heads = ["round", "local", "ray", "ray / local"]
    yield github(heads, [[str(at), *(f"{one:.0f}" for one in both), f"{both[1] / both[0]:.2f}"]
                         for at, both in enumerate(rounds, start=1)])  # fmt: skip
    met = "met" if share >= RAY_SHARE else "missed"
    yield f"Median of the rounds: {share:.2f} of the local engine's; {RAY_SHARE:g} is aimed at, and {met}."
    yield PLANNED
    yield github(["round", "planned", "took", "took / planned"],
                 [[str(at), *(f"{one} s" for one in both), f"{both[1] / both[0]:.2f}"]
                  for at, both in enumerate(plans, start=1)])  # fmt: skip
    beyond = median(abs(took / planned - 1) for planned, took in plans)
    met = "met" if beyond <= PLAN_WITHIN else "missed"
    yield f"Median distance: {100 * beyond:.0f} %; {100 * PLAN_WITHIN:.0f} % is aimed at, and {met}."
