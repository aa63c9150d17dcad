"""A fleet that does not fit is halved and goes on; so is that of a worker that dies; a run that does not fit says what
would."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.experiment import tiny
from tests.reliability import program

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux", reason="memory is limited by ulimit -v, processes watched through /proc"
    ),
    pytest.mark.skipif(
        torch.version.cuda is not None, reason="CUDA's address space is larger than any limit that bites"
    ),
]
LIMIT = 3 * 2**20  # KiB: torch alone takes about a third
# a step of one run takes about a quarter of a gigabyte
LARGE = ("stages.pretrain.batch=65536", "stages.pretrain.steps=1", "stages.finetune.lr=[1e-3]")


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return tiny.write(tmp_path)


@pytest.mark.slow
def test_a_fleet_that_does_not_fit_is_halved_until_it_does(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--seeds", "8", "--fleet-size", "8", "--jobs", "1")
    with program.started(card, out, *options, settings=LARGE, limit=LIMIT) as process:
        _, err = program.ended(process)
    assert "A fleet did not fit in memory: its 8 runs are trained again, 4 at a time." in err
    sizes = Counter(result.fleet_size for result in program.results(out).values())
    assert sizes.total() == 16
    assert sizes[8] == 8  # finetuning, whose batches are small, is not held back
    with program.started(card, tmp_path / "wide", *options, settings=LARGE) as process:
        program.ended(process)
    assert program.numbers(program.results(out)) == program.numbers(program.results(tmp_path / "wide"))


@pytest.mark.slow
def test_a_run_that_does_not_fit_alone_ends_with_a_batch_that_does(card: Path, tmp_path: Path) -> None:
    large = ("stages.pretrain.batch=1048576", *LARGE[1:])
    with program.started(card, tmp_path / "out", "--seeds", "2", "--jobs", "2", settings=large, limit=LIMIT) as process:
        _, err = program.ended(process, 4)
    assert "going on with 1 of the workers" in err
    said = err.strip().splitlines()[-1]
    assert said.startswith(
        "synthbench: A run of stage pretrain does not fit in memory with batch = 1048576; a batch of "
    )
    fitting = said.rpartition("--set ")[2]
    with program.started(
        card, tmp_path / "out", "--seeds", "1", "--jobs", "1", settings=(*large, fitting), limit=LIMIT
    ) as process:
        program.ended(process)


def test_the_fleet_of_a_killed_worker_is_halved_and_trained_again(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    steps = ("stages.pretrain.steps=400",)
    with program.started(card, out, "--seeds", "4", "--fleet-size", "4", "--jobs", "1", settings=steps) as process:
        program.until(lambda: len(program.workers(process.pid)) == 1)
        (worker,) = program.workers(process.pid)
        program.until(lambda: len(program.claimed(out)) == 4)  # the fleet has been given to it
        os.kill(worker, signal.SIGKILL)
        _, err = program.ended(process)
    assert "A worker died (exit code -9): its 4 runs are trained again, 2 at a time." in err
    assert {result.fleet_size for result in program.results(out).values()} == {2, 4}
    assert program.trained(err) == 12


def test_a_run_on_which_every_worker_dies_is_given_up_with_a_sentence(card: Path, tmp_path: Path) -> None:
    with program.started(card, tmp_path / "out", "--seeds", "1", "--jobs", "1") as process:

        def kill_all() -> None:
            while process.poll() is None:
                for worker in program.workers(process.pid):
                    program.kill(worker)
                time.sleep(0.05)

        killer = threading.Thread(target=kill_all)
        killer.start()
        _, err = program.ended(process, 4)
        killer.join()
    assert "died (exit code -9)" in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 5
