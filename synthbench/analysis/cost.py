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
    spans = []
    for result in timed:
        if result.started:
            start = datetime.fromisoformat(result.started)
            spans.append((start, start + timedelta(seconds=result.seconds * result.fleet_size)))
    return Spent(
        runs=len(timed),
        steps=sum(max(result.path, default=0) for result in timed),
        seconds=round(sum(result.seconds for result in timed), 1),
        span=round((max(end for _, end in spans) - min(spans)[0]).total_seconds(), 1) if spans else 0.0,
    )
