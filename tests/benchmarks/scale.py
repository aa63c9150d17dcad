"""How the program scales: `python -m tests.benchmarks.scale` makes studies of 10^3 to 10^5 runs without training, measures
what the engine's main process, `--dry-run`, `report` and `export` take, and writes reports/scale.json and reports/scale.md.

Every figure is measured in a process of its own, on an idle machine; seconds are of the processor, memory is the peak.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from math import log
from pathlib import Path
from typing import NamedTuple

from synthbench.execution import session
from synthbench.execution.executor import Message, Ready, Slot
from synthbench.execution.fleet_job import Job, Trained
from synthbench.execution.interrupt import Interrupt
from synthbench.execution.progress import Tally
from synthbench.execution.scheduler import Scheduler
from synthbench.experiment import processor
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import experiment_id
from synthbench.experiment.runs import Result
from synthbench.interface import commands
from synthbench.reporting.report import AS_IT_IS
from synthbench.reporting.table import github
from synthbench.store.leases import Leases
from synthbench.store.results import Store
from synthbench.store.weights import WeightFile
from tests.benchmarks import studies

ROOT = Path(__file__).parents[2]
SLOTS, FLEET = 16, 8
SIZES = (10**3, 10**4, 10**5)
LABELS = {
    "walk": "engine, its walk alone", "engine": "engine, main process", "dry": "run --dry-run, nothing done",
    "resume": "run --dry-run, all done", "report": "report", "export": "export --format jsonl",
}  # fmt: skip


class Figure(NamedTuple):
    """What one part took. seconds: of the processor. megabytes: peak of the process's memory."""

    part: str
    runs: int
    seconds: float
    megabytes: float


class Instant:
    """An executor whose fleets are trained at once. outside: seconds of the processor that making their results took."""

    def __init__(self, size: int) -> None:
        self.slots = [Slot() for _ in range(size)]
        self.outside = 0.0

    def __enter__(self) -> Instant:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, slot: Slot, job: Job) -> None:
        slot.job, slot.run_steps = job, 0

    def messages(self, seconds: float) -> Iterator[tuple[Slot, Message]]:
        for slot in self.slots:
            if not slot.is_ready:
                yield slot, Ready()
            elif isinstance(slot.job, Job):
                start = time.process_time()
                results = [studies.result_of(run) for run in slot.job.runs]
                self.outside += time.process_time() - start
                yield slot, [Trained(result, [1.0] * 100, None, b"") for result in results]


class Unchecked(Store):
    """A store whose weights are all there: nothing was trained."""

    def valid_weights(self, result: Result) -> WeightFile | None:
        return WeightFile("none", 0, "")


def walk(folder: Path, experiment: Experiment) -> float:
    """Seconds of following a study fleet by fleet, without storing anything."""
    start, done = time.process_time(), dict[str, Result]()
    following = Plan(experiment, done).walk()
    scored = Result("", "ok", {"validation_learning": 0.5, "validation_loss": 1.0})
    while following.ready:
        kind = next(iter(following.ready.kinds.values()))
        fleet = [run.id for run, _ in zip(kind.values(), range(FLEET), strict=False)]
        done |= dict.fromkeys(fleet, scored)
        following.finished(fleet)
    return time.process_time() - start


def engine(folder: Path, experiment: Experiment) -> float:
    """Seconds of the main process while fleets are trained elsewhere, in no time."""
    executor, start = Instant(SLOTS), time.process_time()
    with closing(Unchecked.create(folder / "trained")) as store, closing(Leases(store)) as leases:
        plan = Plan(experiment, {})
        scheduler = Scheduler(
            plan=plan, done=plan.done, experiment_id=experiment_id(experiment), leases=leases,  # type: ignore[arg-type]
            watcher=Tally(plan.remaining()), interrupt=Interrupt(), make_executor=lambda *_: executor,  # type: ignore[arg-type, return-value]
            slots=SLOTS, fleet_size=FLEET,
        )  # fmt: skip
        scheduler.execute()
    return time.process_time() - start - executor.outside


def _silently(call: Callable[[], object]) -> float:
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        call()
    return time.process_time() - start


def dry(folder: Path, experiment: Experiment) -> float:
    """Resolving the card and planning all of it, without the timed steps."""
    return _silently(lambda: Plan(studies.again(folder), {}).whole())


def resume(folder: Path, experiment: Experiment) -> float:
    options = session.ExecutionOptions(out=folder / "results")
    return _silently(lambda: commands._describe(studies.again(folder), options))


def report(folder: Path, experiment: Experiment) -> float:
    print_it = partial(commands.report, folder / "results", None, AS_IT_IS, form="table")
    return _silently(partial(print_it, into=None, figures=None, assert_claims=False))


def export(folder: Path, experiment: Experiment) -> float:
    start = time.process_time()
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        commands.export(folder / "results", None, "jsonl")
    return time.process_time() - start


PARTS: dict[str, Callable[[Path, Experiment], float]] = {
    "walk": walk, "engine": engine, "dry": dry, "resume": resume, "report": report, "export": export,
}  # fmt: skip
STORED = {"resume", "report", "export"}  # of a folder with a result for every run


def measure(part: str, folder: Path, shape: studies.Shape) -> Figure:
    """One part, in this process."""
    experiment = studies.study(folder, shape) if part in ("walk", "engine") else None
    seconds = PARTS[part](folder, experiment)  # type: ignore[arg-type]
    scale = 2**20 if sys.platform == "darwin" else 2**10
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    return Figure(part, shape.runs, round(seconds, 2), round(megabytes))


def every(shape: studies.Shape, parts: Sequence[str], folder: Path) -> list[Figure]:
    """Every part for one size, each in a process of its own."""
    if STORED.intersection(parts):
        experiment = studies.study(folder, shape)
        studies.fill(folder / "results", experiment)
    figures = []
    for part in parts:
        command = [sys.executable, "-m", "tests.benchmarks.scale", "--part", part, "--folder", str(folder)]
        command += ["--shape", json.dumps(list(shape))]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        figures.append(Figure(*json.loads(done.stdout.splitlines()[-1])))
        print(
            f"{LABELS[part]}: {figures[-1].runs} runs, {figures[-1].seconds} s, {figures[-1].megabytes} MB", flush=True
        )
    return figures


def slopes(figures: Sequence[Figure]) -> dict[str, tuple[float, float]]:
    """By part: milliseconds a run more between the two largest sizes, and the exponent of growth there (1: linear)."""
    found = {}
    for part in dict.fromkeys(figure.part for figure in figures):
        of_part = sorted((figure for figure in figures if figure.part == part), key=lambda figure: figure.runs)
        if len(of_part) > 1 and of_part[-1].seconds > 0 < of_part[-2].seconds:
            less, more = of_part[-2:]
            each = 1000 * (more.seconds - less.seconds) / (more.runs - less.runs)
            found[part] = round(each, 3), round(log(more.seconds / less.seconds) / log(more.runs / less.runs), 2)
    return found


def page(figures: Sequence[Figure], device: str) -> str:
    """The page: a line for each part, a column for each size."""
    sizes = sorted({figure.runs for figure in figures})
    known, found = {(figure.part, figure.runs): figure for figure in figures}, slopes(figures)
    rows = []
    for part in dict.fromkeys(figure.part for figure in figures):
        cells = [f"{f.seconds:g} s, {f.megabytes:g} MB" if (f := known.get((part, size))) else "-" for size in sizes]
        slope = [f"{value:g}" for value in found[part]] if part in found else ["-", "-"]
        rows.append([LABELS[part], *cells, *slope])
    heads = ["part", *(f"{size:,} runs" for size in sizes), "ms a run", "exponent"]
    lines = [
        "# Scale", "",
        "Studies without training: every run has a result with a path of 21 points and 15 scores. Seconds of the processor "
        "and peak memory, each in a process of its own; the import of Python's packages is left out of the seconds. "
        "`ms a run` and `exponent` (1: linear) are between the two largest sizes.", "",
        github(heads, rows), "",
        f"The engine hands fleets of {FLEET} to {SLOTS} workers that train in no time; what they would do is left out.",
        "", "- Command: `python -m tests.benchmarks.scale`", f"- Device: {device}", "",
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, choices=sorted(studies.SHAPES))
    parser.add_argument("--parts", nargs="*", default=[*PARTS], choices=PARTS)
    parser.add_argument("--out", type=Path, default=ROOT / "reports", help="where scale.json and scale.md are written")
    for option, kind in (("--part", str), ("--folder", Path), ("--shape", json.loads)):
        parser.add_argument(option, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(measure(options.part, options.folder, studies.Shape(*options.shape))))
        return
    figures = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory(prefix="synthbench-scale-") as folder:
            figures += every(studies.SHAPES[size], options.parts, Path(folder))
    device = processor.cpu()
    record = {"device": device, "figures": [figure._asdict() for figure in figures], "slopes": slopes(figures)}
    (options.out / "scale.json").write_text(json.dumps(record, indent=1) + "\n")
    (options.out / "scale.md").write_text(page(figures, device))


if __name__ == "__main__":
    main()
