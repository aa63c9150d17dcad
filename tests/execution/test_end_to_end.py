"""The program on a card that takes moments: everything is kept, nothing is trained twice, no process is left behind, and
what comes out does not depend on fleets, interruptions or processes."""

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
from synthbench.store.members import chosen as rate
from synthbench.store.results import Store
from tests import tiny
from tests.calling import Caller
from tests.reliability.program import (
    PATIENCE,
    ROOT,
    children,
    ended,
    has_results,
    is_running,
    kill,
    numbers,
    results,
    started,
    status,
    until,
)

UPDATES = "stages.finetune.update=['full', 'lora-4']"
RUN = f"run {{}} --out {{}} --quiet --jobs 1 --set {shlex.quote(UPDATES)}"
LONG = ("stages.finetune.steps=100000",)
linux = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")
# Ctrl-C, which reaches workers as well, at the moment when the second result is kept
INTERRUPTED = """
import os, signal
from synthbench.interface.outcome import main
from synthbench.store.results import Store
kept, keep = [], Store.keep
def noted(*args, **options):
    keep(*args, **options)
    kept.append(args)
    if len(kept) == 2:
        os.killpg(0, signal.SIGINT)
Store.keep = noted
main()
"""


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("end-to-end"))


@pytest.fixture(scope="module")
def alone(card: Path) -> Path:
    """Results of the card, every run trained alone."""
    out, updates = card.parent / "alone", {"stages.finetune.update": ["full", "lora-4"]}
    synthbench.run(card, settings=updates, device="cpu", out=out, fleet_size=1, quiet=True)
    return out


def group(pid: int) -> list[int]:
    """The processes that run in the session that this one began."""
    found = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [one for one in found if is_running(one) and status(one)[3:4] == [str(pid)]]


def test_every_run_is_kept_with_scores_path_and_the_weights_that_are_asked_for(card: Path, alone: Path) -> None:
    experiment = resolve(RunRequest(str(card), settings=[UPDATES], device="cpu"))
    planned = {run.id: run for run in Plan(experiment, {}).remaining()}
    found = results(alone)
    assert {result.status for result in found.values()} == {"ok"}
    stages = [planned[run].stage if run in planned else "finetune" for run in found]
    assert (stages.count("pretrain"), stages.count("finetune")) == (2, 8)
    with closing(Store.read(alone)) as store:
        identities = store.identities()
        (recorded,) = store.experiments()
        assert recorded.finished
        members = store.members(recorded.id)
        chosen = {run for trials in cells(recorded.id, store, found).values() for run in rate(trials, found)}
        assert members.keys() == found.keys() == identities.keys()
        for run, result in found.items():
            steps, points = identities[run]["steps"], identities[run]["points"]
            assert sorted(result.path) == [round(steps * i / points) for i in range(points + 1)]
            assert {"fact_recall", "rule_accuracy", "rote_gap", "learning", "kl_new"} <= result.scores.keys()
            is_parent = identities[run]["parent"] is None
            assert ("forgetting" in result.scores) != is_parent
            assert (store.valid_weights(result) is not None) == (is_parent or run in chosen)
        kept = {result.weights for result in found.values() if result.weights}
        assert {path.name for path in store.weights.iterdir()} == kept


def test_the_first_point_of_a_path_has_forgotten_and_moved_exactly_nothing(alone: Path) -> None:
    for result in results(alone).values():
        start = result.path[0]
        still = [name for name in start if "forgetting" in name or name.startswith(("kl_new", "update_norm"))]
        assert {"kl_new", "update_norm.hidden"} <= set(still)
        assert all(start[name] == 0 for name in still)
        assert result.scores["update_norm.hidden"] > 0
        assert result.scores["kl_new"] > 0


@linux
def test_an_interrupt_loses_nothing_finished_and_the_rerun_in_fleets_ends_as_if_all_had_been_trained_alone(
    card: Path, alone: Path, call: Caller
) -> None:
    out = card.parent / "interrupted"
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *shlex.split(RUN.format(card, out))], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as running:  # fmt: skip
        try:
            _, err = ended(running, 130)
            until(lambda: not group(running.pid))
        finally:
            for pid in group(running.pid):
                kill(pid)
    kept = results(out)
    assert 2 <= len(kept) < 10
    assert f"{len(kept)} of 10" in err
    assert str(out) in err
    assert len(err.strip().splitlines()) == 1
    assert call(RUN.format(card, out) + " --fleet-size 4").code == 0
    finished = results(out)
    assert 4 in {result.fleet_size for result in finished.values()}
    assert {result.fleet_size for result in results(alone).values()} == {1}
    assert numbers(finished) == numbers(results(alone))
    assert all(finished[run] == result for run, result in kept.items() if result.weights == finished[run].weights)
    assert all(finished[run].started == result.started for run, result in kept.items())
    with closing(Store.read(out)) as store:
        assert store.interrupted(store.experiments()[0].id) == []


@contextmanager
def pretrained(card: Path, name: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process whose seed is pretrained, so that its worker is busy with a long fleet; and what it started."""
    out = card.parent / name
    with started(card, out, "--quiet", "--jobs", "1", "--seeds", "1", settings=LONG) as running:
        until(has_results(out, 1))
        workers = children(running.pid)
        assert workers
        try:
            yield running, workers
        finally:
            for worker in workers:
                kill(worker)


@linux
@pytest.mark.timed
@pytest.mark.parametrize(("name", "killed"), [("interrupt", os.killpg), ("death of the parent", os.kill)])
def test_soon_after_an_interrupt_and_after_the_parents_death_no_process_is_left(
    card: Path, name: str, killed: Callable[[int, int], None], measured: Callable[[str, float, float], None]
) -> None:
    with pretrained(card, name) as (running, workers):
        killed(running.pid, signal.SIGINT if name == "interrupt" else signal.SIGKILL)
        took = until(lambda: running.poll() is not None, PATIENCE)
        measured(f"after the {name} every process ends", took + until(lambda: not any(map(is_running, workers))), 5.0)


@linux
@pytest.mark.timed
def test_an_interrupt_while_workers_start_says_one_line(
    card: Path, measured: Callable[[str, float, float], None]
) -> None:
    """Python processes that are interrupted while they start print a traceback each."""
    with started(card, card.parent / "at-once", "--quiet", "--jobs", "2") as running:
        until(lambda: len(children(running.pid)) >= 3)  # two workers, and what multiprocessing starts for itself
        os.killpg(running.pid, signal.SIGINT)
        measured("an interrupt while workers start", until(lambda: running.poll() is not None), 5.0)
        _, err = ended(running, 130)
    assert "0 of 6" in err
    assert len(err.strip().splitlines()) == 1
