"""A fleet that does not fit is halved; a run that does not fit reports a batch that fits; dead workers are given up."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from synthbench.execution.executor import Died, Message, Slot
from tests import inprocess, tiny
from tests.calling import Caller
from tests.reliability import program

LIMIT = 3 * 2**20  # KiB: torch alone takes about a third
# a step of one run takes about a quarter of a gigabyte
LARGE = ("stages.pretrain.batch=65536", "stages.pretrain.steps=1", "stages.finetune.lr=[1e-3]")
limited = pytest.mark.skipif(
    sys.platform != "linux" or torch.version.cuda is not None,
    reason="memory is limited by ulimit -v; CUDA's address space is larger than any limit that bites",
)


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return tiny.write(tmp_path)


@pytest.mark.slow
@limited
def test_a_fleet_that_does_not_fit_is_halved_until_it_fits(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    # on the native path a fleet takes little more memory than one of its runs
    options = ("--seeds", "8", "--fleet-size", "8", "--jobs", "1", "--path", "torch")
    with program.started(card, out, *options, settings=LARGE, limit=LIMIT) as process:
        _, err = program.wait_for_exit(process)
    assert "8 runs" in err
    sizes = Counter(result.fleet_size for result in program.results(out).values())
    assert sizes.total() == 16
    assert sizes[8] == 8  # finetuning has small batches, so its fleets are not halved
    with program.started(card, tmp_path / "wide", *options, settings=LARGE) as process:
        program.wait_for_exit(process)
    assert program.numbers(program.results(out)) == program.numbers(program.results(tmp_path / "wide"))


@pytest.mark.slow
@limited
def test_a_run_that_does_not_fit_alone_reports_a_batch_that_fits(card: Path, tmp_path: Path) -> None:
    large = ("stages.pretrain.batch=1048576", *LARGE[1:])
    with program.started(card, tmp_path / "out", "--seeds", "2", "--jobs", "2", settings=large, limit=LIMIT) as process:
        _, err = program.wait_for_exit(process, 4)
    assert "1 of the workers" in err
    message = err.strip().splitlines()[-1]
    assert "pretrain" in message
    assert "1048576" in message
    fitting = message.rpartition("--set ")[2]
    with program.started(
        card, tmp_path / "out", "--seeds", "1", "--jobs", "1", settings=(*large, fitting), limit=LIMIT
    ) as process:
        program.wait_for_exit(process)


def test_workers_that_die_at_their_start_are_given_up(card: Path, tmp_path: Path) -> None:
    (tmp_path / "fatal" / "torch").mkdir(parents=True)
    (tmp_path / "fatal" / "torch" / "__init__.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    path = {"PYTHONPATH": f"{tmp_path / 'fatal'}:{program.ROOT}"}
    with program.started(card, tmp_path / "out", "--seeds", "1", "--jobs", "1", env=path) as process:
        _, err = program.wait_for_exit(process, 4)
    assert "-9" in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) <= 5


def test_a_run_on_which_every_worker_dies_is_given_up(
    card: Path, tmp_path: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(inprocess.InProcess):
        def restart(self, slot: Slot) -> None:
            slot.is_ready = False

        def messages(self, seconds: float) -> Iterator[tuple[Slot, Message]]:
            busy = [slot for slot in self.slots if slot.job]
            yield from [(slot, Died(-9)) for slot in busy] or super().messages(seconds)

    monkeypatch.setattr("synthbench.execution.engine.local", lambda: Deadly)
    monkeypatch.setattr("synthbench.execution.scheduler.what_fits", lambda run, *_: f"batch {run.batch // 2} fits")
    code, out, err = call(f"run {card} --out {tmp_path / 'out'} --seeds 2 --jobs 2")
    assert (code, out) == (4, "")
    assert "-9" in err
    assert "batch 8 fits" in err
    assert "Traceback" not in err
    assert not program.results(tmp_path / "out")
