"""What an experiment of one optimizer showed at its end, seed by seed, and how far chance moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from statistics import fmean
from typing import Any

from synthbench.cards import RunnerCard
from synthbench.experiment.store import Store
from synthbench.gate.baseline import BehaviourCard
from synthbench.gate.decision import bound
from synthbench.reporting.report import Report
from synthbench.scores import SCORES

NORM = "weight_norm"  # of all that was trained, at the end: what dropped decay moves, and no score
UPDATES = "update_norm."


def behaviour(report: Report, card: RunnerCard) -> BehaviourCard:
    """The card's scores at the end of its last stage, how far each group of parameters was moved, and the norm of what was
    trained, by update and seed.

    card: of one optimizer; a folder of results may have rows of others, and other seeds.
    """
    (label,), seeds = card.optimizers, set(card.seed_list)
    values: dict[str, dict[str, dict[int, float]]] = {}
    diverged: dict[str, list[int]] = {}
    norms = weight_norms(report, label)
    for row in report.rows:
        if row.optimizer != label or row.reference:
            continue
        own = {name: row.values.get(name, {}) for name in gated(card.columns)} | {NORM: norms.get(row.update, {})}
        kept = {name: {seed: by_seed[seed] for seed in sorted(seeds & by_seed.keys())} for name, by_seed in own.items()}
        values[row.update] = {name: by_seed for name, by_seed in kept.items() if by_seed}
        diverged[row.update] = sorted(seeds - {seed for by_seed in kept.values() for seed in by_seed})
    return described(values, diverged)


def described(values: dict[str, dict[str, dict[int, float]]], diverged: dict[str, list[int]]) -> BehaviourCard:
    """Values by update, score and seed, with what their spread allows."""
    bounds = {
        update: {name: _rounded(bound([*by_seed.values()], unit(name))) for name, by_seed in own.items()}
        for update, own in values.items()
    }
    groups = {update: {name: halves(by_seed) for name, by_seed in own.items()} for update, own in values.items()}
    return BehaviourCard(values=values, bounds=bounds, groups=groups, diverged=diverged)


def gated(columns: Sequence[str]) -> list[str]:
    """The scores that are compared: those of a card's columns that are read at the end, and the norms of updates."""
    own = [name for name in columns if SCORES[name].level == "point"]
    return list(dict.fromkeys([*own, *(name for name in SCORES if name.startswith(UPDATES) and "@" not in name)]))


def unit(name: str) -> str:
    return SCORES[name].unit if name in SCORES else "norm"


def halves(by_seed: Mapping[int, float]) -> tuple[float, float]:
    """Means over two independent halves of the seeds."""
    values = [value for _, value in sorted(by_seed.items())]
    parts: Sequence[list[float]] = values[::2], values[1::2] or values
    first, second = (_rounded(fmean(part)) for part in parts)
    return first, second


def weight_norms(report: Report, optimizer: str) -> dict[str, dict[int, float]]:
    """The norm of all that was trained, at the end of the last stage at the chosen rate, by update and seed: of weights
    that were kept."""
    from safetensors.numpy import load

    assert report.folder is not None
    found: dict[str, dict[int, float]] = {}
    rates = {row.update: row.lr for row in report.rows if row.optimizer == optimizer and not row.reference}
    with closing(Store.read(report.folder)) as store:
        members = store.members(report.experiment)
        results, identities = store.results(members, paths=False), store.identities()
        for run, (cell, *_) in members.items():
            kept = store.sound_weights(results[run])
            is_meant = cell.stage == report.card.stages[-1].name and cell.optimizer == optimizer
            if is_meant and identities[run]["lr"] == rates.get(cell.update) and kept is not None:
                weights: dict[str, Any] = load((store.weights / kept.name).read_bytes())
                total = sum(float((value.astype("f8") ** 2).sum()) for value in weights.values()) ** 0.5
                found.setdefault(cell.update, {})[identities[run]["seed"]] = _rounded(total)
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
