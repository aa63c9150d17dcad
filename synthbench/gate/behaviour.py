"""What an experiment of one optimizer showed at its end, seed by seed, and how far chance moves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from statistics import fmean
from typing import Any

from synthbench.experiment.materials import Kept
from synthbench.experiment.store import Store
from synthbench.gate.baseline import BehaviourCard
from synthbench.gate.decision import bound
from synthbench.reporting.report import Report
from synthbench.scores import SCORES

NORM = "weight_norm"  # of all weights at the end: what dropped decay moves, and no score


def behaviour(report: Report) -> BehaviourCard:
    """Every score at the end that the experiment's last stage has, and the norm of the weights, by update and seed."""
    values: dict[str, dict[str, dict[int, float]]] = {}
    diverged: dict[str, list[int]] = {}
    norms = weight_norms(report)
    for row in report.rows:
        own = {name: by_seed for name, by_seed in row.values.items() if SCORES[name].level == "point" and by_seed}
        if norms.get(row.update):
            own[NORM] = norms[row.update]
        values[row.update] = {name: dict(sorted(by_seed.items())) for name, by_seed in own.items()}
        diverged[row.update] = sorted(set(report.card.seed_list) - set(row.seeds))
    bounds = {
        update: {name: _rounded(bound([*by_seed.values()], unit(name))) for name, by_seed in own.items()}
        for update, own in values.items()
    }
    groups = {update: {name: halves(by_seed) for name, by_seed in own.items()} for update, own in values.items()}
    return BehaviourCard(values=values, bounds=bounds, groups=groups, diverged=diverged)


def unit(name: str) -> str:
    return SCORES[name].unit if name in SCORES else "norm"


def halves(by_seed: Mapping[int, float]) -> tuple[float, float]:
    """Means over two independent halves of the seeds."""
    values = [value for _, value in sorted(by_seed.items())]
    parts: Sequence[list[float]] = values[::2], values[1::2] or values
    first, second = (_rounded(fmean(part)) for part in parts)
    return first, second


def weight_norms(report: Report) -> dict[str, dict[int, float]]:
    """The norm of all that was trained, at the end of the last stage, by update and seed: of weights that were kept."""
    from safetensors.numpy import load

    assert report.folder is not None
    found: dict[str, dict[int, float]] = {}
    with closing(Store.read(report.folder)) as store:
        members = store.members(report.experiment)
        results, identities = store.results(members, paths=False), store.identities()
        for run, (cell, *_) in members.items():
            kept: Kept | None = store.sound_weights(results[run])
            if cell.stage != report.card.stages[-1].name or kept is None:
                continue
            weights: dict[str, Any] = load((store.weights / kept.name).read_bytes())
            total = sum(float((value.astype("f8") ** 2).sum()) for value in weights.values()) ** 0.5
            found.setdefault(cell.update, {})[identities[run]["seed"]] = _rounded(total)
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
