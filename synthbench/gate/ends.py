"""What runs leave beside their scores: how their loss began to fall, and the weights that they ended with.

A change of an update rule may show there and in no score: dropped decay in norms of weights, matrices routed to another
rule in the stable ranks of what they were changed by, a lost warm-up in the first losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthbench.cards import ModelCard, RunnerCard
from synthbench.experiment.runs import Cell, Result
from synthbench.experiment.store import Store
from synthbench.reporting.report import Report
from synthbench.trainer.layout import transformer

EARLY = "early_loss"  # the mean training loss over the first quarter of a stage
NORM = "weight_norm"  # of a group of parameters, at the end of a stage
RANK = "update_rank"  # mean stable rank of the changes of a group's matrices over a stage (adapters: of their factors)
UNITS = {EARLY: "nats/token", NORM: "norm", RANK: "rank"}
OF_WEIGHTS = (NORM, RANK)
QUARTER = 4

Weights = Mapping[str, NDArray[np.floating[Any]]]


class Ends(NamedTuple):
    """By cell (`STAGE/UPDATE`). values: by score and seed. curves: training losses over equal parts of a stage, means over
    seeds."""

    values: dict[str, dict[str, dict[int, float]]]
    curves: dict[str, list[float]]


def ends(report: Report, card: RunnerCard) -> Ends:
    """Of the sound runs of a card of one optimizer whose rates are fixed. Weights are looked at where they were kept, at
    the end of the last stage."""
    assert report.folder is not None
    values: dict[str, dict[str, dict[int, float]]] = {}
    losses: dict[str, list[list[float]]] = {}
    with closing(Store.read(report.folder)) as store:
        results = store.results(store.members(report.experiment))
        for cell, known, result in chosen(store, results, report.experiment, card):
            where, curve = f"{cell.stage}/{cell.update}", store.curve(result)
            losses.setdefault(where, []).append(curve)
            found = {EARLY: early(curve)}
            after = weights(store, result) if cell.stage == card.stages[-1].name else None
            if after is not None:
                parent = known["parent"]
                before = weights(store, results.get(parent)) if parent else {}
                found |= measures(before, after, ModelCard.model_validate(known["model"]))
            for name, value in found.items():
                values.setdefault(where, {}).setdefault(name, {})[known["seed"]] = value
    return Ends(values, {where: np.mean(own, axis=0).tolist() for where, own in losses.items()})


def chosen(
    store: Store, results: Mapping[str, Result], experiment: str, card: RunnerCard
) -> Iterator[tuple[Cell, dict[str, Any], Result]]:
    """The sound runs of the card's optimizer, seeds and rates: cell, identity, result."""
    rates = {stage.name: stage.lr[card.optimizers[0]] for stage in card.stages}  # type: ignore[call-overload]
    identities = store.identities()
    for run, cells in store.members(experiment).items():
        for cell in cells:
            known = identities[run]
            is_own = cell.optimizer == card.optimizers[0] and known["seed"] in card.seed_list
            if is_own and results[run].status == "ok" and rates[cell.stage][cell.update] == [known["lr"]]:  # type: ignore
                yield cell, known, results[run]


def weights(store: Store, result: Result | None) -> Weights | None:
    """What a run ended with, where it was kept."""
    from safetensors.numpy import load

    kept = store.sound_weights(result) if result else None
    return load((store.weights / kept.name).read_bytes()) if kept else None


def early(losses: list[float]) -> float:
    return float(np.mean(losses[: max(1, len(losses) // QUARTER)]))


def measures(before: Weights | None, after: Weights, model: ModelCard) -> dict[str, float]:
    """Norms of weights, and mean stable ranks of their changes, by group. before: what is not among it was nothing; None
    where it is not known, and then no ranks are."""
    groups = {name: parameter.group for name, parameter in transformer(model, 1, 1).parameters.items()}  # of any size
    squares: dict[str, float] = {}
    ranks: dict[str, list[float]] = {}
    for name, value in sorted(after.items()):
        factor = name.rpartition(".")[2]
        group = factor if factor in ("A", "B") else groups[name]
        squares[group] = squares.get(group, 0.0) + float((value.astype("f8") ** 2).sum())
        if value.ndim > 1 and before is not None:
            ranks.setdefault(group, []).extend(stable_ranks(value - before.get(name, np.float32(0))))
    norms = {f"{NORM}.{group}": square**0.5 for group, square in squares.items()}
    return norms | {f"{RANK}.{group}": float(np.mean(own)) for group, own in ranks.items()}


def stable_ranks(matrices: NDArray[np.floating[Any]]) -> list[float]:
    """The squared Frobenius norm over the squared largest singular value, of each matrix; of one that is 0, 0."""
    singular = np.linalg.svd(matrices.reshape(-1, *matrices.shape[-2:]).astype("f8"), compute_uv=False)
    largest = singular[:, 0] ** 2
    return ((singular**2).sum(-1) / np.where(largest > 0, largest, 1.0)).tolist()  # type: ignore[no-any-return]
