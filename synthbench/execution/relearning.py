"""Relearning: after a stage, half of the facts it destroyed are trained again, to see whether the other half comes back.

A copy of each model, adapters merged, is trained in full by AdamW at a fixed rate, whatever had trained it before: what
it measures is a property of the weights, not of an optimizer. (arXiv 2501.13453: recall can come back with brief training.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthbench.execution.observe import ItemSets, Observer
from synthbench.experiment.runs import Run
from synthbench.generators import SLICES, Examples, Place, Task, stream
from synthbench.scores import Point, RunObservations
from synthbench.scores.relearning import CONTROL, OTHER
from synthbench.trainer.fleet import Fleet, pack
from synthbench.trainer.loop import Data, order, train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule

LR, BATCH = 1e-3, 64
FACTS = "old/fact/train"


def relearn(
    task: Task, fleet: Fleet, runs: Sequence[Run], observed_K: Sequence[RunObservations]
) -> list[RunObservations]:
    """The observations of each run, with those after relearning; unchanged where a run has no old facts."""
    if not runs[0].relearn or FACTS not in observed_K[0].end.sets:
        return list(observed_K)
    copy = Fleet(
        fleet.model,
        fleet.layout,
        pack(fleet.layout, [fleet.member(k) for k in range(len(fleet))], fleet.flat_KP.device),
        native=fleet.native,
    )
    copy.in_bfloat16 = fleet.in_bfloat16
    drawn_K = [_facts(task, run) for run in runs]
    again_K, other_K = zip(*map(_halves, runs, observed_K), strict=True)
    most = (len(drawn_K[0][0]) + 1) // 2  # so many rows whatever is lost: a run's numbers do not depend on the fleet
    others = [facts.take(np.resize(_some(other), most)) for (facts, _), other in zip(drawn_K, other_K, strict=True)]
    no_floors = [0.0] * len(runs)
    sets = {OTHER: ItemSets(others, no_floors), CONTROL: ItemSets([control for _, control in drawn_K], no_floors)}
    observer = Observer(copy, sets)
    every = dict.fromkeys(sets, slice(None))
    before_K = observer.evaluate(every)
    train(
        FleetOptimizer("adamw", copy), _data(drawn_K, again_K, runs), Schedule(runs[0].relearn, "constant", 0.05),
        ([LR] * len(runs), [0.0] * len(runs)),
    )  # fmt: skip
    after_K = observer.evaluate(every)
    return [
        observed._replace(relearned=_point(before, after, len(other)) if len(again) and len(other) else Point({}, {}))
        for observed, before, after, again, other in zip(observed_K, before_K, after_K, again_K, other_K, strict=True)
    ]


def _facts(task: Task, run: Run) -> tuple[Examples, Examples]:
    """The facts of the stages before, in the order in which they are observed, and as many that were never trained."""
    facts = [
        splits for stage in run.history for splits in task.draw(stage, run.seed).values()
        if (splits.train.slice_N == SLICES.index("fact")).all()
    ]  # fmt: skip
    return facts[-1].train, facts[-1].test


def _halves(run: Run, observed: RunObservations) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lost facts (right before the stage, wrong after it), in two random halves: to be relearned, and the others."""
    lost = np.flatnonzero(observed.start.sets[FACTS].correct_N & ~observed.end.sets[FACTS].correct_N)
    shuffled = stream(Place(run.seed, run.task, run.stage, ""), "", "halves of what is lost").permutation(lost)
    return shuffled[: len(lost) // 2], shuffled[len(lost) // 2 :]


def _some(indices: NDArray[np.int64]) -> NDArray[np.int64]:
    """These, or the first item where there are none: what is then observed is not used."""
    return indices if len(indices) else np.zeros(1, dtype=np.int64)


def _data(
    drawn_K: Sequence[tuple[Examples, Examples]], again_K: Sequence[NDArray[np.int64]], runs: Sequence[Run]
) -> Data:
    orders = []
    for run, again in zip(runs, again_K, strict=True):
        of_run = stream(Place(run.seed, run.task, run.stage, ""), "", "order of relearning")
        shown = order({"fact": (np.ones(len(_some(again)), dtype=np.int64), BATCH)}, run.relearn, of_run)
        orders.append(_some(again)[shown].astype(np.int32))
    facts = [facts for facts, _ in drawn_K]
    return Data(
        np.stack([examples.tokens_NL for examples in facts]),
        np.stack([examples.answer_NL for examples in facts]),
        np.stack(orders),
    )


def _point(before: Point, after: Point, others: int) -> Point:
    """Both evaluations as one point: of the other half its items, of the control all."""
    counts = {OTHER: others, CONTROL: len(before.sets[CONTROL].correct_N)}
    evaluations = {"before": before, "after": after}
    return Point(
        {
            f"{name}/{when}": point.sets[name].first(count)
            for name, count in counts.items()
            for when, point in evaluations.items()
        },
        {},
    )
