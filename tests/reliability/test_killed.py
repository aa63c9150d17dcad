"""Whatever is killed, whenever: nothing finished is lost or trained again, and the end is the same."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from pathlib import Path

import pytest

from synthbench.store.results import Store
from tests.reliability import killed, program
from tests.reliability.program import Gate, children, ended, is_running, numbers, results, say, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")


@pytest.mark.timed  # no worker lives two seconds later
def test_a_kill_at_any_moment_loses_nothing_and_the_end_is_the_same(tmp_path: Path) -> None:
    found = killed.campaign(tmp_path, 6, seed=6)
    assert found.trials == 6
    assert not found.broken


def test_a_kill_of_the_main_process_and_then_of_a_worker_lose_nothing_and_the_end_is_the_same(tmp_path: Path) -> None:
    """Each kill comes when pretraining is finished and a fleet of two runs is with a worker."""
    card, out, gate = program.quick_card(tmp_path), tmp_path / "out", Gate(tmp_path / "gate")
    gate.close()
    with program.started(card, out, "--jobs", "1", "--fleet-size", "2", env=gate.env) as process:
        gate.wait(process)
        left = children(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        until(lambda: not any(map(is_running, left)))
    known = results(out)
    with closing(Store.read(out)) as store:
        assert (len(known), len(store.database.rows("SELECT run FROM leases"))) == (1, 2)
    assert "(ok)" not in say("gc --out", str(out)).out  # what is finished is used, before the experiment's end
    gate.close()
    with program.started(card, out, "--jobs", "1", "--fleet-size", "2", env=gate.env) as process:
        gate.wait(process)
        assert results(out) == known
        (worker,) = program.workers(process.pid)
        os.kill(worker, signal.SIGKILL)
        gate.open()
        _, err = ended(process)
    assert "-9" in err
    assert program.trained(err) == 2
    found = results(out)
    assert program.keeps(found, known)
    assert [result.fleet_size for result in found.values()] == [1] * 3  # the dead worker's fleet was halved
    assert say("run --jobs 1 --fleet-size 2", str(card), "--out", str(tmp_path / "whole")).code == 0
    assert numbers(found) == numbers(results(tmp_path / "whole"))
    with closing(Store.read(out)) as store:
        assert all(store.valid_weights(result) for result in found.values() if result.weights)
        kept = {result.weights for result in found.values() if result.weights}
        assert {file.name for file in store.weights.iterdir()} == kept
