"""Progress: a bar on a terminal, plain log lines elsewhere. Both count run-steps, of which the plan knows the total."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from synthbench.execution.tracking import Tracker
from synthbench.experiment.runs import Result, Run


class Tally:
    """Counts what is done, and shows it when it changes. coming: the runs still to train. trackers: by name, what is told
    of runs that are kept here; one that fails is left out from then on."""

    def __init__(self, coming: Sequence[Run], show: Callable[[Tally], None] = lambda tally: None) -> None:
        self._show = show
        self.total = float(sum(run.steps for run in coming))
        self.done = 0.0
        self.finished_steps = 0.0
        self.totals = Counter(run.stage for run in coming)
        self.finished_runs: Counter[str] = Counter()
        self.diverged = 0
        self.trackers: dict[str, Tracker] = {}

    def advance(self, run_steps: float) -> None:
        self.done += run_steps
        self._show(self)

    def finished(self, run: Run, result: Result) -> None:
        self.finished_runs[run.stage] += 1
        self.diverged += result.status == "diverged"
        self.finished_steps += run.steps
        self._show(self)

    def kept(self, run: Run, result: Result) -> None:
        """Tells trackers of a run that was trained here."""
        for name, tracker in list(self.trackers.items()):
            with self.without_if_it_fails(name):
                tracker.finished(run, result)
                tracker.progress(self.finished_steps, self.total)

    @contextmanager
    def without_if_it_fails(self, name: str) -> Iterator[None]:
        """Within, a tracker is at work: another program, whose failure is no reason to lose runs."""
        try:
            yield
        except Exception as error:
            self.note(f"--track {name} failed and is left out from here on ({type(error).__name__}: {error}).")
            if failed := self.trackers.pop(name, None):
                with suppress(Exception):
                    failed.close()

    def expect(self, coming: Sequence[Run]) -> None:
        """Sets the runs still to train: fewer than at the start where some diverged, more where a grid grew."""
        left = Counter(run.stage for run in coming)
        self.totals = Counter({stage: self.finished_runs[stage] + left[stage] for stage in self.totals})
        self.total = self.finished_steps + sum(run.steps for run in coming)
        self._show(self)

    def note(self, text: str) -> None:
        """Prints a notice on standard error."""
        print(f"synthbench: {text}", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        parts = [f"{stage} {self.finished_runs[stage]}/{count}" for stage, count in self.totals.items()]
        return ", ".join(parts + ([f"{self.diverged} diverged"] if self.diverged else []))


def lines(every: float = 10.0) -> Callable[[Tally], None]:
    """A line to standard error every `every` seconds, and at the end: 100 % when every run is kept."""
    start = last = time.monotonic()
    ended_at = 0.0  # the total at which 100 % was printed; it grows where a grid is extended

    def show(tally: Tally) -> None:
        nonlocal last, ended_at
        is_end = tally.finished_steps >= tally.total
        if (is_end and tally.total > ended_at) or time.monotonic() - last >= every:
            last, ended_at = time.monotonic(), tally.total if is_end else ended_at
            percent = 100 if is_end else min(99, int(100 * tally.done / tally.total))
            print(f"{percent:3d}% after {last - start:.0f} s: {tally}", file=sys.stderr, flush=True)

    return show


@contextmanager
def watch(coming: Sequence[Run], *, quiet: bool) -> Iterator[Tally]:
    """The watcher that fits: a bar on a terminal, lines elsewhere, nothing when quiet or with nothing to train."""
    if quiet or not coming:
        yield Tally(coming)
    elif not sys.stderr.isatty():
        yield Tally(coming, lines())
    else:
        from rich import progress as rich
        from rich.console import Console

        columns = (
            rich.TextColumn("{task.description}"), rich.BarColumn(), rich.TaskProgressColumn(),
            rich.TimeElapsedColumn(), rich.TextColumn("<"), rich.TimeRemainingColumn(),
        )  # fmt: skip
        with rich.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None)
            yield Tally(coming, lambda t: bar.update(task, completed=t.done, total=t.total, description=str(t)))
