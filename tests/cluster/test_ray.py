"""`--engine ray` on a real cluster of three nodes on this machine: the same results as here, whatever is lost."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import synthbench
from synthbench.store.results import Store
from tests import tiny
from tests.calling import Caller
from tests.reliability.clustered import workers
from tests.reliability.program import (
    count_trained,
    has_results,
    kill,
    numbers,
    results,
    retains,
    started,
    wait_for_exit,
    wait_until,
)

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.processes
UPDATES = "stages.finetune.update=['full', 'lora-4']"
RUNS = 10  # of the tiny card with two updates
STEPS = 2400
LONG = (UPDATES, f"stages.finetune.steps={STEPS}")
LONGEST = 12_000  # steps of a fleet that takes longer than a lost node's worker, which may finish what it is at


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head on which nothing is trained, and two nodes of one CPU."""
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def here(card: Path) -> Path:
    """Results of the long card, trained on this machine."""
    out = card.parent / "here"
    settings = dict(setting.split("=", 1) for setting in LONG)
    synthbench.run(
        card, settings=settings | {"stages.finetune.update": ["full", "lora-4"]}, device="cpu", out=out, quiet=True
    )
    return out


def few_results_here(card: Path) -> Path:
    """Results of full updates alone, which take longest, trained on this machine."""
    out = card.parent / "few"
    synthbench.run(card, settings={"stages.finetune.steps": LONGEST}, device="cpu", out=out, quiet=True)
    return out


def options(cluster: Any) -> tuple[str, ...]:
    return ("--engine", "ray", "--address", cluster.address)


def weights(out: Path) -> dict[str, str | None]:
    with closing(Store.read(out)) as store:
        files = {path.name for path in store.weights.iterdir()}
    assert files == {result.weights for result in results(out).values() if result.weights}
    return {run: result.weights for run, result in results(out).items()}


def test_results_equal_those_of_this_machine_and_are_resumed(
    card: Path, here: Path, cluster: Any, call: Caller
) -> None:
    out = card.parent / "ray"
    settings = " ".join(f"--set {shlex.quote(setting)}" for setting in LONG)
    command = f"run {card} {settings} --out {out} {' '.join(options(cluster))}"
    completed = call(command)
    assert completed.code == 0, completed.err
    assert count_trained(completed.err) == RUNS
    assert numbers(results(out)) == numbers(results(here))
    assert weights(out) == weights(here)  # their names hold the hashes of what is in them
    assert "nothing is trained" in call(command).err
    assert "ray" not in completed.err.lower().replace(str(out).lower(), "").replace("--engine ray", "")


def test_a_lost_node_repeats_its_fleets_alone(card: Path, cluster: Any) -> None:
    out, settings = card.parent / "lost-node", (f"stages.finetune.steps={LONGEST}",)
    with started(card, out, *options(cluster), "--fleet-size", "1", settings=settings) as process:
        wait_until(has_results(out, 2))
        wait_until(lambda: len(workers()) == 2)
        before = results(out)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        cluster.add_node(num_cpus=1)
        _, err = wait_for_exit(process)
    assert "is lost" in err
    assert retains(results(out), before)
    assert count_trained(err) == 6
    assert numbers(results(out)) == numbers(results(few_results_here(card)))


def test_killed_workers_repeat_their_fleets_alone(card: Path, here: Path, cluster: Any) -> None:
    out = card.parent / "killed"
    with started(card, out, *options(cluster), "--fleet-size", "1", settings=LONG) as process:
        wait_until(has_results(out, 4))
        wait_until(lambda: len(workers()) == 2)
        before = results(out)
        for worker in workers():  # one of them may have sent its outcome already
            kill(worker)
        _, err = wait_for_exit(process)
    assert "A worker died" in err
    assert retains(results(out), before)
    assert numbers(results(out)) == numbers(results(here))


def test_ctrl_c_keeps_what_is_finished_and_ends_what_is_in_training(card: Path, here: Path, cluster: Any) -> None:
    out = card.parent / "interrupted"
    with started(card, out, *options(cluster), settings=LONG) as process:
        wait_until(has_results(out, 2))
        os.killpg(process.pid, signal.SIGINT)
        _, err = wait_for_exit(process, 130)
    assert "rerun the command to resume" in err
    wait_until(lambda: not workers())
    before = {run: result for run, result in results(out).items() if result.status == "ok"}
    with started(card, out, *options(cluster), settings=LONG) as process:
        _, err = wait_for_exit(process)
    assert count_trained(err) == RUNS - len(before)
    assert retains(results(out), before)
    assert numbers(results(out)) == numbers(results(here))


def test_two_drivers_on_one_folder_share_the_work(card: Path, here: Path, cluster: Any) -> None:
    out = card.parent / "two"
    with (
        started(card, out, *options(cluster), "--fleet-size", "1", settings=LONG) as one,
        started(card, out, *options(cluster), "--fleet-size", "1", settings=LONG) as other,
    ):
        errors = [wait_for_exit(process)[1] for process in (one, other)]
    trained = [count_trained(err) if " run-steps in " in err else 0 for err in errors]
    assert sum(trained) == RUNS
    assert numbers(results(out)) == numbers(results(here))


def test_a_plug_in_of_a_file_travels_with_its_fleets(card: Path, cluster: Any, call: Caller, tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("SIGN = -1.0\n")
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import torch\nfrom helper import SIGN\n\n\nclass Mine(torch.optim.SGD):\n    def step(self, closure=None):\n"
        "        assert SIGN < 0\n        return super().step(closure)\n"
    )
    outs = [card.parent / name for name in ("plugin-here", "plugin-ray")]
    for out, engine in zip(outs, ("", " ".join(options(cluster))), strict=True):
        completed = call(f"run {card} --optimizer {plugin}:Mine,adamw --out {out} --quiet {engine}")
        assert completed.code == 0, completed.err
    assert numbers(results(outs[0])) == numbers(results(outs[1]))


def test_what_cannot_be_is_one_sentence(card: Path, cluster: Any, call: Caller, tmp_path: Path) -> None:
    command = f"run {card} --out {tmp_path / 'none'} --quiet"
    big = call(f"{command} {' '.join(options(cluster))} --fleet-cpus 64")
    assert (big.code, "no node of the cluster has 64 CPUs" in big.err) == (2, True)
    absent = call(f"{command} --engine ray --address 127.0.0.1:1")
    assert (absent.code, "no Ray cluster could be joined" in absent.err) == (2, True)
    assert "go with --engine ray" in call(f"{command} --address x").err
    assert "--fleet-gpus nan must be at least" in call(f"{command} --engine ray --fleet-gpus nan").err
    assert "allowed are local, ray" in call(f"{command} --engine slurm").err
