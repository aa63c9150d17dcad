"""The numbers of a claim under one reading, each beside what is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.recompute.claims import Reading
from tests.recompute.contrasts import Verdict
from tests.recompute.runs import Object
from tests.recompute.scores import difference
from tests.recompute.turns import Turn

Compared = tuple[str, Any, Any, int | None]  # kind of number, mine, theirs, decimals


def compared(reading: Reading, shown: Object) -> Iterator[Compared]:
    yield "readings of claims", (reading.name, reading.kind), (shown["score"], shown["answer"]), None
    yield "readings of claims", reading.found.missing, {*shown["missing"]}, None
    yield "p-values", reading.p, shown["p"], None
    yield from _numbers("differences of claims", reading.pooled, reading.name, shown)
    yield from _beyond(reading, shown)
    yield from _verdicts("tasks of claims", reading.by(0), reading.name, shown["tasks"])
    pairs = reading.by(1) if reading.case.claim.get("matrix") else {}
    yield from _verdicts("pairs of a matrix", pairs, reading.name, shown["pairs"])
    yield from _verdicts("A/A of claims", reading.again(), reading.name, shown["again"])
    if reading.case.claim.get("kind") == "trend":
        is_shown = reading.found.units and not reading.name.endswith("@t")
        lines, scale = [*reading.found.units.values()], reading.case.claim.get("scale", "linear")
        yield "turns of trends", not is_shown or Turn(lines, reading.name, scale).agrees(shown["turn"]), True, None
    if reading.other:
        beside = shown["beside"]
        yield "readings of claims", reading.other, beside["score"], None
        yield "p-values", reading.p_beside, beside["p"], None
        yield from _numbers("differences of claims", reading.beside, reading.other, beside)
        yield from _verdicts("A/A of claims", reading.twins(reading.other), reading.other, beside["again"])


def _beyond(reading: Reading, shown: Object) -> Iterator[Compared]:
    """Margins, seeds for 80 % power, and what is found at other target steps, of what Student's t decides."""
    pooled = reading.pooled
    if pooled is None or reading.case.claim.get("kind") == "inversion" or reading.name.endswith("@t"):
        return
    yield "margins, seeds needed of claims", pooled.margin, shown["margin"], None
    yield "margins, seeds needed of claims", pooled.seeds, shown["seeds_needed"], None
    there = shown["elsewhere"]
    mine = {str(step): kind for step, (kind, _) in reading.elsewhere().items()}
    yield "claims at other target steps", mine, {step: one["verdict"] for step, one in there.items()}, None
    for step, (_, mean) in reading.elsewhere().items():
        if str(step) in there:
            yield "claims at other target steps", mean, there[str(step)]["difference"], 4


def _verdicts(kind: str, mine: Mapping[str, Verdict], name: str, shown: Object) -> Iterator[Compared]:
    yield kind, {*mine}, {*shown}, None
    for key in mine.keys() & shown.keys():
        yield kind, mine[key].kind, shown[key].get("verdict", mine[key].kind), None
        yield from _numbers(kind, mine[key], name, shown[key])


def _numbers(kind: str, mine: Verdict | None, name: str, shown: Object) -> Iterator[Compared]:
    found = mine.found if mine else None
    for column, value in difference(found, name).items():
        yield kind, value, shown[column], 4
    yield kind, not found or found.paired, shown["paired"], None
