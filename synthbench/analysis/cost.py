"""What an experiment took: runs, steps and time, from its results."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from synthbench.cards import Card
from synthbench.experiment.runs import Result


class Spent(Card):
    """runs and steps (of runs) that were trained. seconds: of worker processes with a thread each, scoring included. span:
    seconds from the first start to the last end, pauses included."""

    runs: int = 0
    steps: int = 0
    seconds: float = 0.0
    span: float = 0.0

    @property
    def pace(self) -> float:
        """Seconds of one worker a run-step; 0 where nothing was measured."""
        return self.seconds / self.steps if self.steps else 0.0


def spent(results: Iterable[Result]) -> Spent:
    """The sum over results. A fleet's runs start together, and each has its share of the fleet's seconds."""
    timed = [result for result in results if result.seconds]
    starts = [datetime.fromisoformat(result.started) for result in timed]
    ends = [start + timedelta(seconds=result.seconds * result.fleet_size)
            for start, result in zip(starts, timed, strict=True)]  # fmt: skip
    return Spent(
        runs=len(timed), steps=sum(result.last_step for result in timed),
        seconds=round(sum(result.seconds for result in timed), 1),
        span=round((max(ends) - min(starts)).total_seconds(), 1) if timed else 0.0,
    )  # fmt: skip
