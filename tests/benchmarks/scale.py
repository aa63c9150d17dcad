"""How the program scales: reports/scale.*

    python -m tests.benchmarks.scale                    studies of 10^3 to 10^5 runs without training: what the engine's
                                                        main process, `--dry-run`, `report` and `export` take
    python -m tests.benchmarks.scale --sizes 1000000 --parts walk engine     some figures; the others stay as they were
    python -m tests.benchmarks.scale --parts ray        Ray's throughput beside the local engine's; needs the extra `ray`

Every figure is measured in a process of its own; seconds are of the processor, memory is the peak.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

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
from synthbench.store.leases import Leases
from synthbench.store.results import Store
from synthbench.store.weights import WeightFile
from tests.benchmarks import clustered, studies

ROOT = Path(__file__).parents[2]
SLOTS, FLEET = 16, 8
SIZES = (10**3, 10**4, 10**5)
RAY = "ray"  # a part that is measured once, by `clustered`


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
    return Figure(part, shape.runs, round(seconds, 2), round(peak()))


def peak() -> float:
    """MB of this process's memory at most. (Linux's `getrusage` counts what the process that started it had, too.)"""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


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
        print(f"{part}: {figures[-1].runs} runs, {figures[-1].seconds} s, {figures[-1].megabytes} MB", flush=True)
    return figures


def merged(figures: Sequence[Figure], record: Mapping[str, Any]) -> list[Figure]:
    """New figures and those of a record that were not measured again, by part and size."""
    every = {(figure.part, figure.runs): figure for figure in [Figure(**one) for one in record["figures"]] + [*figures]}
    return sorted(every.values(), key=lambda figure: ([*PARTS].index(figure.part), figure.runs))


def machine() -> dict[str, Any]:
    return {
        "device": processor.cpu(), "cores": os.cpu_count(), "python": platform.python_version(),
        "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, choices=sorted(studies.SHAPES))
    parser.add_argument("--parts", nargs="*", default=[*PARTS], choices=[*PARTS, RAY])
    parser.add_argument("--out", type=Path, default=ROOT / "reports", help="where scale.json and scale.md are written")
    for option, kind in (("--part", str), ("--folder", Path), ("--shape", json.loads)):
        parser.add_argument(option, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(measure(options.part, options.folder, studies.Shape(*options.shape))))
        return
    file = options.out / "scale.json"
    record = json.loads(file.read_text()) if file.exists() else {"figures": []}
    if parts := [part for part in options.parts if part != RAY]:
        about = machine()
        for size in options.sizes:
            with tempfile.TemporaryDirectory(prefix="synthbench-scale-") as folder:
                figures = every(studies.SHAPES[size], parts, Path(folder))
            record |= {"machine": about, "figures": [one._asdict() for one in merged(figures, record)]}
            write(record, options.out)
    if RAY in options.parts:
        write(record | {"ray": {"machine": machine()} | clustered.measure()}, options.out)


def write(record: Mapping[str, Any], out: Path) -> None:
    from docs.scale import scale_page  # it imports torch, whose memory none of the parts takes

    (out / "scale.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (out / "scale.md").write_text(scale_page(record).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
