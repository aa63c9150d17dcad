"""A store of 10^5 runs: changed at many places, which SQLite does not notice, and its driver killed at many moments.

Nothing is trained: results follow from the ids of runs (`tests/benchmarks/studies.py`), so every one is known. A driver
is this module as a program: it continues the study of a folder, and notes the runs that it hands out.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from synthbench.execution.executor import Slot
from synthbench.execution.fleet_job import Job
from synthbench.execution.interrupt import Interrupt
from synthbench.execution.progress import Tally
from synthbench.execution.scheduler import Scheduler
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import experiment_id
from synthbench.experiment.runs import Run, RunId
from synthbench.store.database import DATABASE
from synthbench.store.leases import Leases
from synthbench.store.members import enlist, usable_results
from synthbench.store.results import Store
from tests.benchmarks import studies
from tests.benchmarks.scale import Instant, Unchecked
from tests.reliability import program
from tests.reliability.campaign import Campaign
from tests.reliability.program import invoke

SIZE = 10**5
CHANGED_PROMISE = (
    "values of a store of 10^5 runs are changed, each of another run, so that SQLite notices nothing: commands that read "
    "refuse in one plain sentence; the next `run` trains exactly these runs again, and then every run is as it was, and "
    "the report, too"
)
DRIVER_PROMISE = (
    "the driver of a study of 10^5 runs, whose fleets are trained in no time, is killed (-9) at moments after it began to "
    "hand out fleets: no finished run is lost, changed or handed out again, no row is incomplete, and the study ends with "
    "one attempt of every run, as it was trained"
)
# Columns, by table and the name of its run, that hold what was trained.
PLACES = [
    *(("runs", "id", of) for of in ("identity", "status", "device", "versions", "scores", "readings", "path_seal")),
    *(("paths", "run", column) for column in ("content", "losses")),
]  # fmt: skip
LEFT = 20_000  # runs that the killed drivers have to train
LONGEST = 1.0  # seconds at most from a driver's first fleet to its end
SLOTS, FLEET = 16, 8
PATIENCE = 900.0  # seconds for what reads or trains a whole study
Rows = set[tuple[RunId, int, str]]  # of runs: id, attempt, seal


class Noting(Instant):
    """Notes the runs of every fleet in a file before they are trained."""

    def __init__(self, size: int, log: Path) -> None:
        super().__init__(size)
        self._log = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def submit(self, slot: Slot, job: Job) -> None:
        super().submit(slot, job)
        os.write(self._log, "".join(f"{run.id}\n" for run in job.runs).encode())


def drive(folder: Path, log: Path) -> None:
    """Trains what is missing, as `run` does."""
    experiment = studies.again(folder)
    name = experiment_id(experiment)
    with closing(Unchecked.create(folder / "results")) as store, closing(Leases(store)) as leases:
        done = usable_results(experiment, store)
        enlist(experiment, name, store, done)
        plan = Plan(experiment, done)
        scheduler = Scheduler(
            plan=plan, done=done, experiment_id=name, leases=leases, watcher=Tally(plan.remaining()),
            interrupt=Interrupt(), make_executor=lambda *_: Noting(SLOTS, log),  # type: ignore[arg-type, return-value]
            slots=SLOTS, fleet_size=FLEET,
        )  # fmt: skip
        scheduler.execute()
        enlist(experiment, name, store, done)


def started(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.reliability.large", str(folder), str(log)]
    return subprocess.Popen(command, cwd=program.ROOT, env=os.environ | {"PYTHONPATH": str(program.ROOT)})


def noted(log: Path) -> list[RunId]:
    return log.read_text().splitlines() if log.exists() else []


def filled(folder: Path, size: int) -> tuple[Experiment, dict[RunId, Run]]:
    """A folder with a result for every run of a study, and its runs."""
    experiment = studies.study(folder, studies.SHAPES[size])
    studies.fill(folder / "results", experiment)
    return experiment, {run.id: run for runs in Plan(experiment, {}).whole().values() for run in runs}


def database(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "results" / DATABASE, isolation_level=None)


def changed(folder: Path, trials: int, seed: int, size: int = SIZE) -> Campaign:
    """trials: values."""
    result, rng, log = Campaign("large", CHANGED_PROMISE), random.Random(seed), folder / "log"
    _, runs = filled(folder, size)
    before = _report(folder)
    with closing(database(folder)) as db:
        places = {
            run: next(place for place in rng.sample(PLACES, len(PLACES)) if _change(db, run, place, rng))
            for run in rng.sample(sorted(runs), trials)
        }
    violations = []
    for command in ("report --format json", "export --format jsonl"):
        answer = invoke(command, "--out", str(folder / "results"))
        if answer.code != 2 or not answer.has_plain_error:
            violations.append(f"{command} of the changed store ended with {answer.code}: {answer.err[-300:]}")
    if code := started(folder, log).wait(PATIENCE):
        violations.append(f"the next driver ended with {code}")
    if sorted(noted(log)) != sorted(places):
        violations.append(f"{len(noted(log))} runs were trained where {len(places)} were changed, or others")
    violations += _unlike(folder, runs)
    if _report(folder) != before:
        violations.append("the report is another one")
    for table, _, column in places.values():
        result.record(f"{table}.{column} changed, trained again")
    result.violations += violations
    return result


def _report(folder: Path) -> Any:
    return invoke("report --format json", "--out", str(folder / "results"))


def _change(db: sqlite3.Connection, run: RunId, place: tuple[str, str, str], rng: random.Random) -> bool:
    """Flips a bit of a value; false where it is empty."""
    table, key, column = place
    ((value,),) = db.execute(f"SELECT {column} FROM {table} WHERE {key} = ?", (run,))
    content = bytearray(value if isinstance(value, bytes) else value.encode())
    if not content:
        return False
    content[rng.randrange(len(content))] ^= 1  # still ASCII where it is text
    new = bytes(content) if isinstance(value, bytes) else content.decode()
    return bool(db.execute(f"UPDATE {table} SET {column} = ? WHERE {key} = ?", (new, run)).rowcount)


def driver(folder: Path, trials: int, seed: int, size: int = SIZE, left: int = LEFT) -> Campaign:
    """trials: kills of a driver, each of which has begun to hand out fleets."""
    result, rng = Campaign("large driver", DRIVER_PROMISE), random.Random(seed)
    _, runs = filled(folder, size)
    with closing(database(folder)) as db:
        db.execute("DELETE FROM runs WHERE rowid > (SELECT max(rowid) FROM runs) - ?", (left,))
        for table in ("paths", "members"):
            db.execute(f"DELETE FROM {table} WHERE run NOT IN (SELECT id FROM runs)")
    kept = rows(folder)
    while result.trials < trials and len(kept) < len(runs):
        log = folder / f"log-{result.trials}"
        with started(folder, log) as process:
            program.wait_until(
                lambda log=log, process=process: bool(noted(log)) or process.poll() is not None, PATIENCE
            )  # type: ignore[misc]
            time.sleep(rng.uniform(0, LONGEST * left / LEFT))
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        violations = _lost(kept, now := rows(folder), noted(log))
        if process.returncode == -signal.SIGKILL:
            result.record("driver killed", *violations)
        kept = now
    log = folder / "last"
    if code := started(folder, log).wait(PATIENCE):
        result.violations.append(f"the last driver ended with {code}")
    result.violations += _lost(kept, rows(folder), noted(log)) + _unlike(folder, runs)
    return result


def rows(folder: Path) -> Rows:
    with closing(database(folder)) as db:
        return set(db.execute("SELECT id, attempt, seal FROM runs WHERE status != 'interrupted'"))


def _lost(before: Rows, after: Rows, trained: list[RunId]) -> list[str]:
    """What a driver did to the runs that were finished before it, and whether it handed any out twice."""
    again = {run for run, *_ in before} & set(trained)
    return [
        *([f"{len(before - after)} finished runs are lost or changed"] if before - after else []),
        *([f"{len(again)} finished runs were handed out again"] if again else []),
        *(["a run was handed out twice"] if len(set(trained)) < len(trained) else []),
    ]


def _unlike(folder: Path, runs: dict[RunId, Run]) -> list[str]:
    """The runs of a finished store that are not there once and as they were trained."""
    with closing(Store.read(folder / "results")) as store:
        ((count,),) = store.rows("SELECT count(*) FROM runs")
        results = store.results(paths=False)
        different = [run for run, one in results.items() if one != studies.result_of(runs[run])]  # their paths, too
    return [
        *([f"{count} rows of {len(runs)} runs"] if count != len(runs) or results.keys() != runs.keys() else []),
        *([f"{len(different)} runs have other numbers, {different[0][:8]} is the first"] if different else []),
    ]


if __name__ == "__main__":
    drive(Path(sys.argv[1]), Path(sys.argv[2]))
