"""Whatever is killed at any moment: no finished run is lost or retrained, and the final results are the same."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from pathlib import Path

import pytest

from synthbench.store.results import Store
from tests.reliability import killed, program
from tests.reliability.program import Gate, descendants, invoke, is_running, numbers, results, wait_for_exit, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")


@pytest.mark.timed  # no worker lives two seconds later
def test_a_kill_at_any_moment_loses_nothing_and_results_are_the_same(tmp_path: Path) -> None:
    campaign = killed.campaign(tmp_path, 6, seed=6)
    assert campaign.trials == 6
    assert not campaign.violations


def test_kills_of_the_main_process_and_a_worker_lose_nothing_and_results_are_the_same(tmp_path: Path) -> None:
    """Each kill happens after pretraining, with a fleet of two runs at a worker."""
    card, out, gate = program.quick_card(tmp_path), tmp_path / "out", Gate(tmp_path / "gate")
    gate.close()
    with program.started(card, out, "--jobs", "1", "--fleet-size", "2", env=gate.env) as process:
        gate.wait(process)
        workers = descendants(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(is_running, workers)))
    finished = results(out)
    with closing(Store.read(out)) as store:
        assert (len(finished), len(store.rows("SELECT run FROM leases"))) == (1, 2)
    assert "(ok)" not in invoke("gc --out", str(out)).out  # an unfinished experiment uses its finished runs
    gate.close()
    with program.started(card, out, "--jobs", "1", "--fleet-size", "2", env=gate.env) as process:
        gate.wait(process)
        assert results(out) == finished
        (worker,) = program.workers(process.pid)
        os.kill(worker, signal.SIGKILL)
        gate.open()
        _, err = wait_for_exit(process)
    assert "-9" in err
    assert program.count_trained(err) == 2
    final = results(out)
    assert program.retains(final, finished)
    assert [result.fleet_size for result in final.values()] == [1] * 3  # the dead worker's fleet was halved
    assert invoke("run --jobs 1 --fleet-size 2", str(card), "--out", str(tmp_path / "undisturbed")).code == 0
    assert numbers(final) == numbers(results(tmp_path / "undisturbed"))
    with closing(Store.read(out)) as store:
        assert all(store.valid_weights(result) for result in final.values() if result.weights)
        referenced = {result.weights for result in final.values() if result.weights}
        assert {file.name for file in store.weights.iterdir()} == referenced
