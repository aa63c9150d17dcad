"""The program as people start it, on a card that takes seconds: everything is kept, nothing is trained twice, no
process is left behind, and what comes out does not depend on fleets or interruptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from synthbench.experiment.members import cells
from synthbench.experiment.members import chosen as rate
from synthbench.experiment.plan import forecast
from synthbench.experiment.resolve import Asked, resolve
from synthbench.experiment.store import Store
from tests.experiment import tiny
from tests.reliability import program
from tests.reliability.program import PATIENCE, ROOT, children, ended, has_results, is_running, numbers, results, until

SETTINGS = ("stages.finetune.steps=40", "stages.finetune.update=['full', 'lora-4']")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")
started = partial(program.started, settings=SETTINGS)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("end-to-end"))


@pytest.fixture(scope="module")
def alone(card: Path) -> Path:
    """Results of the card, every run trained alone."""
    out = card.parent / "alone"
    with started(card, out, "--quiet", "--fleet-size", "1", "--jobs", "2") as process:
        ended(process)
    return out


def test_every_run_is_kept_with_scores_path_and_the_weights_that_are_asked_for(card: Path, alone: Path) -> None:
    experiment = resolve(Asked(str(card), settings=SETTINGS, device="cpu"))
    planned = {run.id: run for run in forecast(experiment, {})}
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
            assert (store.sound_weights(result) is not None) == (is_parent or run in chosen)
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


@pytest.mark.slow
def test_training_in_fleets_of_four_gives_bitwise_what_training_alone_gives(card: Path, alone: Path) -> None:
    out = card.parent / "fleets"
    with started(card, out, "--quiet", "--fleet-size", "4", "--jobs", "1") as process:
        ended(process)
    assert 4 in {result.fleet_size for result in results(out).values()}
    assert {result.fleet_size for result in results(alone).values()} == {1}
    assert numbers(results(out)) == numbers(results(alone))


def test_the_same_command_again_trains_nothing_and_does_without_torch(card: Path, alone: Path) -> None:
    before = results(alone)
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    code = "import sys; sys.modules['torch'] = None; from synthbench.cli import main; main()"
    again = subprocess.run(
        [sys.executable, "-c", code, "run", str(card), "--out", str(alone), "--quiet", *sets],
        capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert "adamw" in again.stdout
    assert results(alone) == before  # `started` and all


def test_workers_end_within_two_seconds_of_their_parents_death(card: Path) -> None:
    out = card.parent / "killed"
    long = ("stages.finetune.steps=100000",)
    with started(card, out, "--quiet", "--jobs", "1", "--seeds", "1", settings=long) as process:
        until(has_results(out, 1))  # the seed is pretrained: the worker is busy with a long fleet
        workers = children(process.pid)
        try:
            assert workers
            os.kill(process.pid, signal.SIGKILL)
            assert until(lambda: not any(map(is_running, workers))) < 2
        finally:
            for worker in workers:
                if is_running(worker):
                    os.kill(worker, signal.SIGKILL)


def test_an_interrupt_while_workers_start_says_one_line(card: Path) -> None:
    """Python processes that are interrupted while they start print a traceback each."""
    out = card.parent / "at-once"
    with started(card, out, "--quiet", "--jobs", "2") as process:
        until(lambda: len(children(process.pid)) >= 3)  # two workers, and what multiprocessing starts for itself
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        assert until(lambda: process.poll() is not None) < 2
        _, err = ended(process, 130)
    assert err.strip().startswith("Interrupted: 0 of 10 runs are finished")
    assert len(err.strip().splitlines()) == 1


def test_an_interrupt_ends_with_130_says_what_is_kept_and_the_rerun_ends_as_if_it_had_not_been(
    card: Path, alone: Path
) -> None:
    out = card.parent / "interrupted"
    with started(card, out, "--quiet", "--fleet-size", "1", "--jobs", "1") as process:
        until(has_results(out, 2))
        workers = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches workers as well
        took = until(lambda: process.poll() is not None)
        assert took + until(lambda: not any(map(is_running, workers))) < 2
        _, err = ended(process, 130)
    kept = results(out)
    assert 2 <= len(kept) < 10
    line = f"Interrupted: {len(kept)} of 10 runs are finished and kept in {out}; the same command goes on from there."
    assert err.strip() == line
    with started(card, out, "--quiet", "--fleet-size", "4", "--jobs", "1") as process:
        ended(process)
    finished = results(out)
    assert {result.fleet_size for result in finished.values()} == {1, 4}
    assert numbers(finished) == numbers(results(alone))
    assert all(finished[run] == result for run, result in kept.items() if result.weights == finished[run].weights)
    assert all(finished[run].started == result.started for run, result in kept.items())
    with closing(Store.read(out)) as store:
        assert store.interrupted(store.experiments()[0].id) == []
