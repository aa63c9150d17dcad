"""A schedule that is simulated: the fleets that the scheduler would train, one after the other, by their paces."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush
from typing import NamedTuple

from synthbench.execution.pace import Paces
from synthbench.execution.packing import pack_kinds
from synthbench.experiment.plan import IMAGINED, Experiment
from synthbench.experiment.runs import Result, Run, RunId
from synthbench.experiment.walk import Walk


class Schedule(NamedTuple):
    """What training takes. seconds: from the first fleet to the end. busy: of all slots together. slots: fleets at a time.
    fleets, runs: how many. moved: bytes of weights that travel to where they are needed, and back."""

    seconds: float
    busy: float
    slots: int
    fleets: int
    runs: int
    moved: float

    @property
    def idle(self) -> float:
        """The share of the slots' time in which nothing is trained."""
        return 1 - self.busy / (self.seconds * self.slots) if self.seconds else 0.0


def schedule(
    experiment: Experiment, done: Mapping[RunId, Result], paces: Paces, slots: int, fleet_size: int | None = None
) -> Schedule:
    """The schedule of what is not done, on so many slots alike, if no run diverges and no grid is extended."""
    known: dict[RunId, Result] = dict(done)
    walk = Walk(experiment, known, done)
    training: list[tuple[float, int, list[Run]]] = []  # by when they end
    now, busy, moved, fleets, count = 0.0, 0.0, 0.0, 0, 0
    while True:
        while len(training) < slots and (fleet := pack_kinds(walk.ready.kinds, len(walk.ready), slots, fleet_size)):
            for run in fleet:
                walk.ready.discard(run)
            seconds = sum(map(paces.seconds, fleet))
            heappush(training, (now + seconds, fleets, fleet))
            busy, fleets, count = busy + seconds, fleets + 1, count + len(fleet)
            moved += sum(paces.weights(run) * (1 + (run.parent is not None)) for run in fleet)
        if not training:
            return Schedule(now, busy, slots, fleets, count, moved)
        now, _, fleet = heappop(training)
        known |= dict.fromkeys((run.id for run in fleet), IMAGINED)
        walk.finished([run.id for run in fleet])
