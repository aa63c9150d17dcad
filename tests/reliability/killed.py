"""Kills: the main process, a worker, or all at once, at random moments; several processes on one folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from synthbench.experiment.runs import Result
from synthbench.store.database import DATABASE
from synthbench.store.results import Store
from tests.reliability import program
from tests.reliability.campaign import Campaign

PROMISE = (
    "no finished run is lost or trained again (its row keeps `started`), no worker is alive 2 s later, no row is half, "
    "every weight file that a row names is whole, and the resumed experiment ends with scores bitwise those of an "
    "undisturbed one"
)
SHARED = (
    "every process ends with exit code 0, the runs that they trained add up to the runs of the experiment, their tables "
    "are the same to the last digit, and scores are bitwise those of a process alone"
)
# `quick`, with fewer steps, so that a hundred kills take minutes: 2 + 12 runs
QUICK = ("quick", "--optimizer", "adamw", "--seeds", "2", "--device", "cpu")
SETTINGS = ("stages.pretrain.steps=60", "stages.finetune.steps=60", "stages.finetune.points=6")
START = 2.0  # seconds until anything is trained
KINDS = ("main process", "worker", "whole group")


@dataclass
class Trial:
    """An experiment that is killed and resumed until it is finished. expected: results of an undisturbed run."""

    out: Path
    expected: dict[str, Result]
    known: dict[str, Result] = field(default_factory=dict)  # finished runs, as they were when first seen

    def kill(self, kind: str, moment: float) -> tuple[str, list[str]]:
        """Starts or resumes the experiment, kills something after so many seconds; what happened, and what was broken."""
        before = len(self.known)
        with program.started(QUICK[0], self.out, *QUICK[1:], settings=SETTINGS) as process:
            began = time.monotonic()
            while time.monotonic() - began < moment and process.poll() is None:
                time.sleep(0.005)
            if process.poll() is not None:
                return "finished before the kill", self._finished(process, before)
            if kind == "worker":
                found = program.workers(process.pid)
                if not found:
                    return "no worker to kill yet", self._finished(process, before)
                os.kill(random.Random(moment).choice(found), signal.SIGKILL)
                return "worker killed", self._finished(process, before)
            left = program.children(process.pid)
            (os.killpg if kind == "whole group" else os.kill)(process.pid, signal.SIGKILL)
            took = program.until(lambda: not any(map(program.is_running, left)))
            broken = [f"{kind} killed after {moment:.2f} s: a worker lived for {took:.1f} s"] if took > 2 else []
            return f"{kind} killed", broken + self.check(f"{kind} killed after {moment:.2f} s")

    def check(self, what: str) -> list[str]:
        if not (self.out / DATABASE).exists():
            return [f"{what}: the database is gone"] if self.known else []
        with closing(Store.read(self.out)) as store:
            found = store.results()
            torn = [run for run, result in found.items() if result.weights and not store.valid_weights(result)]
        broken = [f"{what}: run {run[:8]} is lost" for run in self.known.keys() - found.keys()]
        broken += [f"{what}: weights of {run[:8]} are torn" for run in torn]
        for run, result in found.items():
            if program.numbers({run: result}) != program.numbers({run: self.expected[run]}):
                broken.append(f"{what}: run {run[:8]} has other numbers")
            if self.known.setdefault(run, result).started != result.started:
                broken.append(f"{what}: run {run[:8]} was trained again")
        return broken

    def _finished(self, process: subprocess.Popen[str], before: int) -> list[str]:
        _, err = process.communicate(timeout=program.PATIENCE)
        if process.returncode:
            return [f"exit code {process.returncode}: {err[-300:]}"]
        broken = self.check("finished")
        if before < len(self.expected) and program.trained(err) != len(self.expected) - before:
            broken.append(f"{program.trained(err)} runs were trained where {len(self.expected) - before} were missing")
        if self.known.keys() != self.expected.keys():
            broken.append("finished, yet runs are missing")
        return broken


def undisturbed(folder: Path) -> tuple[dict[str, Result], float]:
    """Results of the experiment left alone, and the seconds it took."""
    began = time.monotonic()
    with program.started(QUICK[0], folder / "undisturbed", *QUICK[1:], settings=SETTINGS) as process:
        program.ended(process)
    return program.results(folder / "undisturbed"), time.monotonic() - began


def campaign(folder: Path, trials: int, seed: int) -> Campaign:
    """So many kills, at moments uniform over the time that the experiment still needs; what ends before is no trial."""
    found, moments = Campaign("killed", PROMISE), random.Random(seed)
    expected, seconds = undisturbed(folder)
    trial = Trial(folder / "0", expected)
    while found.trials < trials:
        if len(trial.known) == len(expected):
            shutil.rmtree(trial.out)
            trial = Trial(folder / str(found.trials), expected)
        left = 1 - len(trial.known) / len(expected)
        outcome, broken = trial.kill(KINDS[found.trials % len(KINDS)], moments.uniform(0, START + left * seconds))
        if outcome.endswith("killed"):
            found.tried(outcome, *broken)
        else:
            found.broken += broken
    return found


def together(folder: Path, trials: int, seed: int = 0) -> Campaign:
    """Two processes at once, then five, and so on; in every third trial one of them is killed on the way."""
    found = Campaign("together", SHARED)
    expected, seconds = undisturbed(folder)
    for number in range(trials):
        count, is_killed = (2, 5)[number % 2], number % 3 == 2
        out = folder / str(number)
        with ExitStack() as stack:
            options = (*QUICK[1:], "--jobs", "1")
            processes = [
                stack.enter_context(program.started(QUICK[0], out, *options, settings=SETTINGS)) for _ in range(count)
            ]
            if is_killed:
                time.sleep(seconds / 2)
                is_killed = processes[0].poll() is None  # else it was too late
                processes[0].kill()
            ends = [process.communicate(timeout=program.PATIENCE) for process in processes]
        codes, results = [process.returncode for process in processes], program.results(out)
        broken = []
        if codes != [-signal.SIGKILL if is_killed and process is processes[0] else 0 for process in processes]:
            broken.append(f"exit codes {codes}: {[err[-300:] for _, err in ends]}")
        elif len({table for table, _ in ends if table}) != 1:
            broken.append("tables differ")
        elif not is_killed and sum(program.trained(err) for _, err in ends) != len(expected):
            broken.append(f"trained {[program.trained(err) for _, err in ends]} of {len(expected)} runs")
        if program.numbers(results) != program.numbers(expected):
            broken.append("scores differ from those of a process alone")
        found.tried(f"{count} at once" + (", one killed" if is_killed else ""), *broken)
    return found
