"""Whether a baseline has all that its own card says: whoever edits one by hand, or merges two, must not make a check pass
that measured less."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from synthbench.analysis.change_test import noise
from synthbench.cards import RunnerCard
from synthbench.gate.baseline import STEPS, Baseline, BehaviourCard, TraceCard

ROUNDING = 1e-5  # of what is written with six digits


def lack(found: Baseline) -> str | None:
    """What is missing, as the end of a sentence, or nothing."""
    card = found.card
    if card.optimizers != [found.spec.name] or card.variants or len(card.tasks) != 1 or len(found.tasks) != 1:
        return "card must be of one task and of the optimizer that rule names"
    return _of_card(card, found.spec.name) or _of_trace(found.trace, card) or _of_behaviour(found.behaviour, card)


def _of_card(card: RunnerCard, optimizer: str) -> str | None:
    for stage in card.stages:
        rates = stage.lr.get(optimizer) if isinstance(stage.lr, dict) else None
        if (
            not isinstance(rates, dict)
            or rates.keys() != set(stage.update)
            or any(len(own) != 1 for own in rates.values())
        ):
            return f"card.stages.{stage.name}.lr must have one rate for each update"
        decays = stage.weight_decay if isinstance(stage.weight_decay, list) else [stage.weight_decay]
        if len(decays) != 1 or len(stage.sizes) != 1 or stage.overrides:
            return f"card.stages.{stage.name} must have one weight decay and one size, and nothing under for"
    return None


def _of_trace(trace: TraceCard, card: RunnerCard) -> str | None:
    cells = _cells(card)
    if trace.seeds != card.seed_list[: len(trace.seeds)] or not trace.seeds:
        return "trace.seeds must be the first of the card's"
    if wrong := _keys("trace", {"values": trace.values, "floors": trace.floors, "digests": trace.digests}, cells):
        return wrong
    for cell in sorted(cells):
        values, floors = trace.values[cell], trace.floors[cell]
        steps = {len(row) for rows in values.values() for row in rows}
        long = min(STEPS, next(stage.steps for stage in card.stages if cell.startswith(f"{stage.name}/")))
        if "loss" not in values or steps != {long} or any(len(rows) != len(trace.seeds) for rows in values.values()):
            return f"trace.values.{cell} must have a row of {long} steps for each seed"
        if floors.keys() != values.keys() or min(floors.values()) <= 0:
            return f"trace.floors.{cell} must have a floor above 0 for each quantity"
        if len(trace.digests[cell]) != len(trace.seeds):
            return f"trace.digests.{cell} must have one for each seed"
    return None


def _of_behaviour(found: BehaviourCard, card: RunnerCard) -> str | None:
    seeds = {*card.seed_list}
    tables: dict[str, Mapping[str, object]] = {
        "values": found.values, "noise": found.noise, "diverged": found.diverged,
        "undefined": found.undefined, "curves": found.curves,
    }  # fmt: skip
    if wrong := _keys("behaviour", tables, _cells(card)):
        return wrong
    for where, own in found.values.items():
        diverged = {*found.diverged[where]}
        if not own or own.keys() != found.noise[where].keys():
            return f"behaviour.values.{where} must have scores, each with its noise"
        for name, by_seed in own.items():
            floor = noise([*by_seed.values()])
            if abs(found.noise[where][name] - floor) > ROUNDING * floor:
                return f"behaviour.noise.{where} must be that of the values"
        if any({*by_seed, *found.undefined[where].get(name, [])} | diverged != seeds for name, by_seed in own.items()):
            return f"behaviour.values.{where} must have every seed that is not among the diverged or undefined"
    return None


def _cells(card: RunnerCard) -> set[str]:
    return {f"{stage.name}/{update}" for stage in card.stages for update in stage.update}


def _keys(part: str, tables: Mapping[str, Mapping[str, object]], wanted: Collection[str]) -> str | None:
    for name, table in tables.items():
        if table.keys() != set(wanted):
            return f"{part}.{name} must have {', '.join(sorted(wanted))}"
    return None
