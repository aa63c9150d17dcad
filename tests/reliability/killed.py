"""Kills of the main process, a worker or the process group at random moments; several processes in one folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from synthbench.experiment.runs import Result
from synthbench.store.database import DATABASE
from synthbench.store.results import Store
from tests.reliability import program
from tests.reliability.campaign import Campaign

PROMISE = (
    "no finished run is lost or retrained (its row keeps `started`); no worker is alive 2 s later; no row is incomplete; "
    "every weight file that a row names is valid; scores of the resumed experiment are bitwise equal to those of an "
    "undisturbed one"
)
TOGETHER_PROMISE = (
    "every process exits with code 0; the numbers of runs that they train sum to that of the experiment; their tables are "
    "identical; scores are bitwise equal to those of a single process"
)
# `quick` with fewer steps, so that a hundred kills take minutes: 2 + 12 runs
QUICK = ("quick", "--optimizer", "adamw", "--seeds", "2", "--device", "cpu")
SETTINGS = ("stages.pretrain.steps=60", "stages.finetune.steps=60", "stages.finetune.points=6")
KINDS = ("main process", "worker", "process group")


@dataclass
class Trial:
    """An experiment that is killed and resumed until it is finished. expected: results of an undisturbed run."""

    START: ClassVar[float] = 2.0  # seconds until training begins

    out: Path
    expected: dict[str, Result]
    finished: dict[str, Result] = field(default_factory=dict)  # finished runs, as they were first read

    def kill(self, kind: str, moment: float) -> tuple[str, list[str]]:
        """Starts or resumes the experiment and kills after `moment` seconds; returns the outcome and the violations."""
        before = len(self.finished)
        with program.started(QUICK[0], self.out, *QUICK[1:], settings=SETTINGS) as process:
            start = time.monotonic()
            while time.monotonic() - start < moment and process.poll() is None:
                time.sleep(0.005)
            if process.poll() is not None:
                return "finished before the kill", self._check_end(process, before)
            if kind == "worker":
                workers = program.workers(process.pid)
                if not workers:
                    return "no worker yet", self._check_end(process, before)
                os.kill(random.Random(moment).choice(workers), signal.SIGKILL)
                return "worker killed", self._check_end(process, before)
            children = program.descendants(process.pid)
            (os.killpg if kind == "process group" else os.kill)(process.pid, signal.SIGKILL)
            seconds = program.wait_until(lambda: not any(map(program.is_running, children)))
            context = f"{kind} killed after {moment:.2f} s"
            violations = [f"{context}: a worker lived for {seconds:.1f} s"] if seconds > 2 else []
            return f"{kind} killed", violations + self.check(context)

    def check(self, context: str) -> list[str]:
        if not (self.out / DATABASE).exists():
            return [f"{context}: the database is missing"] if self.finished else []
        with closing(Store.read(self.out)) as store:
            results = store.results()
            invalid = [run for run, result in results.items() if result.weights and not store.valid_weights(result)]
        violations = [f"{context}: run {run[:8]} is lost" for run in self.finished.keys() - results.keys()]
        violations += [f"{context}: weights of {run[:8]} are invalid" for run in invalid]
        for run, result in results.items():
            if program.numbers({run: result}) != program.numbers({run: self.expected[run]}):
                violations.append(f"{context}: run {run[:8]} has other numbers")
            if self.finished.setdefault(run, result).started != result.started:
                violations.append(f"{context}: run {run[:8]} was retrained")
        return violations

    def _check_end(self, process: subprocess.Popen[str], before: int) -> list[str]:
        _, err = process.communicate(timeout=program.TIMEOUT)
        if process.returncode:
            return [f"exit code {process.returncode}: {err[-300:]}"]
        violations = self.check("finished")
        trained, missing = program.count_trained(err), len(self.expected) - before
        if missing and trained != missing:
            violations.append(f"{trained} runs were trained where {missing} were missing")
        if self.finished.keys() != self.expected.keys():
            violations.append("finished, but runs are missing")
        return violations


def run_undisturbed(folder: Path) -> tuple[dict[str, Result], float]:
    """Results of an experiment without kills, and the seconds that it took."""
    start = time.monotonic()
    with program.started(QUICK[0], folder / "undisturbed", *QUICK[1:], settings=SETTINGS) as process:
        program.wait_for_exit(process)
    return program.results(folder / "undisturbed"), time.monotonic() - start


def campaign(folder: Path, trials: int, seed: int) -> Campaign:
    """Of the local engine."""
    return killing(Campaign("killed", PROMISE), folder, (trials, seed), KINDS, Trial)


def killing(
    result: Campaign, folder: Path, trials_and_seed: tuple[int, int], kinds: Sequence[str], make: Callable[..., Trial]
) -> Campaign:
    """Kills at moments uniform over the time that the experiment still needs; if it ends earlier, the trial is repeated."""
    trials, seed = trials_and_seed
    moments = random.Random(seed)
    expected, seconds = run_undisturbed(folder)
    trial = make(folder / "0", expected)
    while result.trials < trials:
        if len(trial.finished) == len(expected):
            shutil.rmtree(trial.out)
            trial = make(folder / str(result.trials), expected)
        remaining = 1 - len(trial.finished) / len(expected)
        kind, moment = kinds[result.trials % len(kinds)], moments.uniform(0, trial.START + remaining * seconds)
        outcome, violations = trial.kill(kind, moment)
        if outcome.endswith("killed"):
            result.record(outcome, *violations)
        else:
            result.violations += violations
    return result


def together(folder: Path, trials: int, seed: int = 0) -> Campaign:
    """Two processes in one folder, then five, by turns; in every third trial one of them is killed."""
    result = Campaign("together", TOGETHER_PROMISE)
    expected, seconds = run_undisturbed(folder)
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
                is_killed = processes[0].poll() is None  # otherwise it had ended
                processes[0].kill()
            outputs = [process.communicate(timeout=program.TIMEOUT) for process in processes]
        codes, results = [process.returncode for process in processes], program.results(out)
        violations = []
        if codes != [-signal.SIGKILL if is_killed and process is processes[0] else 0 for process in processes]:
            violations.append(f"exit codes {codes}: {[err[-300:] for _, err in outputs]}")
        elif len({table for table, _ in outputs if table}) != 1:
            violations.append("tables differ")
        elif not is_killed and sum(program.count_trained(err) for _, err in outputs) != len(expected):
            violations.append(f"trained {[program.count_trained(err) for _, err in outputs]} of {len(expected)} runs")
        if program.numbers(results) != program.numbers(expected):
            violations.append("scores differ from those of a single process")
        result.record(f"{count} processes" + (", one killed" if is_killed else ""), *violations)
    return result
