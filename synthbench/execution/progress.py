"""Progress: a bar on a terminal, plain log lines elsewhere. Both count run-steps, of which the plan knows the total."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from synthbench.experiment.runs import Result, Run


class Tally:
    """Counts what is done. coming: the runs still to train."""

    def __init__(self, coming: Sequence[Run]) -> None:
        self.total = float(sum(run.steps for run in coming))
        self.done = 0.0
        self.totals = Counter(run.stage for run in coming)
        self.finished_runs: Counter[str] = Counter()
        self.diverged = 0
        self._finished = 0.0  # run-steps of finished runs

    def advance(self, run_steps: float) -> None:
        self.done += run_steps

    def finished(self, run: Run, result: Result) -> None:
        self.finished_runs[run.stage] += 1
        self.diverged += result.status == "diverged"
        self._finished += run.steps

    def expect(self, coming: Sequence[Run]) -> None:
        """Sets the runs still to train: fewer than at the start where some diverged, more where a grid grew."""
        left = Counter(run.stage for run in coming)
        self.totals = Counter({stage: self.finished_runs[stage] + left[stage] for stage in self.totals})
        self.total = self._finished + sum(run.steps for run in coming)

    def note(self, text: str) -> None:
        """Prints a notice on standard error."""
        print(f"synthbench: {text}", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        parts = [f"{stage} {self.finished_runs[stage]}/{count}" for stage, count in self.totals.items()]
        return ", ".join(parts + ([f"{self.diverged} diverged"] if self.diverged else []))


class Lines(Tally):
    """A line to standard error every `every` seconds, and at the end: 100 % when every run is kept."""

    def __init__(self, coming: Sequence[Run], every: float = 10.0) -> None:
        super().__init__(coming)
        self._every, self._start = every, time.monotonic()
        self._last = self._start

    def advance(self, run_steps: float) -> None:
        super().advance(run_steps)
        if time.monotonic() - self._last >= self._every:
            self._say(min(99, int(100 * self.done / self.total) if self.total else 0))

    def finished(self, run: Run, result: Result) -> None:
        super().finished(run, result)
        if self._finished >= self.total:
            self._say(100)

    def _say(self, percent: int) -> None:
        self._last = time.monotonic()
        print(f"{percent:3d}% after {self._last - self._start:.0f} s: {self}", file=sys.stderr, flush=True)


class Bar(Tally):
    """A rich progress bar on standard error."""

    def __init__(self, coming: Sequence[Run], progress: Any) -> None:
        super().__init__(coming)
        self._progress = progress
        self._task = progress.add_task(str(self), total=self.total)

    def advance(self, run_steps: float) -> None:
        super().advance(run_steps)
        self._progress.update(self._task, completed=self.done)

    def finished(self, run: Run, result: Result) -> None:
        super().finished(run, result)
        self._progress.update(self._task, description=str(self))

    def expect(self, coming: Sequence[Run]) -> None:
        super().expect(coming)
        self._progress.update(self._task, total=self.total, description=str(self))


@contextmanager
def watch(coming: Sequence[Run], *, quiet: bool) -> Iterator[Tally]:
    """The watcher that fits: a bar on a terminal, lines elsewhere, nothing when quiet or with nothing to train."""
    if quiet or not coming:
        yield Tally(coming)
    elif not sys.stderr.isatty():
        yield Lines(coming)
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn(),
            TextColumn("<"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            yield Bar(coming, progress)
