"""The program on a small card: every result is stored, no run is trained twice, no process is left, and results do not
depend on fleets, interruptions or processes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import synthbench
from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.store.members import cells
from synthbench.store.results import Store
from tests import tiny
from tests.calling import Caller
from tests.reliability.program import (
    ROOT,
    TIMEOUT,
    children,
    descendants,
    has_results,
    is_running,
    kill,
    numbers,
    results,
    started,
    status,
    wait_for_exit,
    wait_until,
)

UPDATES = "stages.finetune.update=['full', 'lora-4']"
RUN = f"run {{}} --out {{}} --quiet --jobs 1 --set {shlex.quote(UPDATES)}"
LONG = ("stages.finetune.steps=100000",)
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")
# Ctrl-C, which reaches workers as well, as soon as the second result is stored
INTERRUPTED = """
import os, signal
from synthbench.interface.outcome import main
from synthbench.store.results import Store
calls, keep = [], Store.keep_all
def keep_and_interrupt(*args, **options):
    keep(*args, **options)
    calls.append(args)
    if len(calls) == 2:
        os.killpg(0, signal.SIGINT)
Store.keep_all = keep_and_interrupt
main()
"""


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("end-to-end"))


@pytest.fixture(scope="module")
def trained_alone(card: Path) -> Path:
    """Results of the card in fleets of one run."""
    out, updates = card.parent / "alone", {"stages.finetune.update": ["full", "lora-4"]}
    synthbench.run(card, settings=updates, device="cpu", out=out, fleet_size=1, quiet=True)
    return out


def session(pid: int) -> list[int]:
    """The running processes of the session that this process leads."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [member for member in pids if is_running(member) and status(member)[3:4] == [str(pid)]]


def test_every_run_is_stored_with_scores_path_and_the_chosen_weights(card: Path, trained_alone: Path) -> None:
    experiment = resolve(RunRequest(str(card), settings=[UPDATES], device="cpu"))
    planned = {run.id: run for run in Plan(experiment, {}).remaining()}
    stored = results(trained_alone)
    assert {result.status for result in stored.values()} == {"ok"}
    stages = [planned[run].stage if run in planned else "finetune" for run in stored]
    assert (stages.count("pretrain"), stages.count("finetune")) == (2, 8)
    with closing(Store.read(trained_alone)) as store:
        identities = store.identities()
        (recorded,) = store.experiments()
        assert recorded.finished
        members = store.members(recorded.id)
        chosen = {run for choices in cells(recorded.id, store, stored).chosen.values() for run in choices}
        assert members.keys() == stored.keys() == identities.keys()
        for run, result in stored.items():
            steps, points = identities[run]["steps"], identities[run]["points"]
            assert sorted(result.path) == [round(steps * i / points) for i in range(points + 1)]
            assert {"fact_recall", "rule_accuracy", "rote_gap", "learning", "kl_new"} <= result.scores.keys()
            is_parent = identities[run]["parent"] is None
            assert ("forgetting" in result.scores) != is_parent
            assert (store.valid_weights(result) is not None) == (is_parent or run in chosen)
        weight_files = {result.weights for result in stored.values() if result.weights}
        assert {path.name for path in store.weights.iterdir()} == weight_files


def test_forgetting_and_update_norms_are_exactly_zero_at_step_0(trained_alone: Path) -> None:
    for result in results(trained_alone).values():
        start = result.path[0]
        zeros = [name for name in start if "forgetting" in name or name.startswith(("kl_new", "update_norm"))]
        assert {"kl_new", "update_norm.hidden"} <= set(zeros)
        assert all(start[name] == 0 for name in zeros)
        assert result.scores["update_norm.hidden"] > 0
        assert result.scores["kl_new"] > 0


@linux
def test_an_interrupt_keeps_finished_runs_and_a_rerun_in_fleets_equals_training_alone(
    card: Path, trained_alone: Path, call: Caller
) -> None:
    out = card.parent / "interrupted"
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *shlex.split(RUN.format(card, out))], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        try:
            _, err = wait_for_exit(process, 130)
            wait_until(lambda: not session(process.pid))
        finally:
            for pid in session(process.pid):
                kill(pid)
    interrupted = results(out)
    assert 2 <= len(interrupted) < 10
    assert f"{len(interrupted)} of 10" in err
    assert str(out) in err
    assert len(err.strip().splitlines()) == 1
    assert call(RUN.format(card, out) + " --fleet-size 4").code == 0
    finished = results(out)
    assert 4 in {result.fleet_size for result in finished.values()}
    assert {result.fleet_size for result in results(trained_alone).values()} == {1}
    assert numbers(finished) == numbers(results(trained_alone))
    assert all(
        finished[run] == result for run, result in interrupted.items() if result.weights == finished[run].weights
    )
    assert all(finished[run].started == result.started for run, result in interrupted.items())
    with closing(Store.read(out)) as store:
        assert store.interrupted(store.experiments()[0].id) == []


@contextmanager
def pretrained(card: Path, name: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process whose worker trains a long fleet after pretraining, and the processes that it started."""
    out = card.parent / name
    with started(card, out, "--quiet", "--jobs", "1", "--seeds", "1", settings=LONG) as process:
        wait_until(has_results(out, 1))
        workers = descendants(process.pid)
        assert workers
        try:
            yield process, workers
        finally:
            for worker in workers:
                kill(worker)


@linux
@pytest.mark.timed
@pytest.mark.parametrize(("name", "send"), [("interrupt", os.killpg), ("death of the parent", os.kill)])
def test_no_process_is_left_after_an_interrupt_or_the_parents_death(
    card: Path, name: str, send: Callable[[int, int], None], measured: Callable[[str, float, float], None]
) -> None:
    with pretrained(card, name) as (process, workers):
        send(process.pid, signal.SIGINT if name == "interrupt" else signal.SIGKILL)
        seconds = wait_until(lambda: process.poll() is not None, TIMEOUT)
        seconds += wait_until(lambda: not any(map(is_running, workers)))
        measured(f"after the {name} every process ends", seconds, 5.0)


@linux
@pytest.mark.timed
def test_an_interrupt_while_workers_start_prints_one_line(
    card: Path, measured: Callable[[str, float, float], None]
) -> None:
    """Python itself prints a traceback in every process that is interrupted while it starts."""
    with started(card, card.parent / "at-once", "--quiet", "--jobs", "2") as process:
        wait_until(lambda: len(children(process.pid)) >= 2)  # the server of workers and the resource tracker
        os.killpg(process.pid, signal.SIGINT)
        measured("an interrupt while workers start", wait_until(lambda: process.poll() is not None), 5.0)
        _, err = wait_for_exit(process, 130)
    assert "0 of 6" in err
    assert len(err.strip().splitlines()) == 1
