"""Kills of the driver, a worker or a node of a Ray cluster at random moments: `killed.py`, on a cluster."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

from tests.reliability import program
from tests.reliability.campaign import Campaign
from tests.reliability.killed import QUICK, SETTINGS, Trial, killing

PROMISE = (
    "on a Ray cluster of three nodes on one machine no finished run is lost or retrained (its row keeps `started`); no row "
    "is incomplete; every weight file that a row names is valid; a command whose worker or node was killed ends by itself "
    "and trains what was missing once; scores are bitwise equal to those of an undisturbed run without Ray"
)
KINDS = ("driver", "worker", "node")


@dataclass
class OnCluster(Trial):
    """The same, trained on a cluster."""

    START: ClassVar[float] = 6.0  # joining the cluster, and starting workers on it
    cluster: Any = None

    def kill(self, kind: str, moment: float) -> tuple[str, list[str]]:
        before, address = len(self.finished), self.cluster.address
        options = (*QUICK[1:], "--engine", "ray", "--address", address, "--fleet-size", "2")
        with program.started(QUICK[0], self.out, *options, settings=SETTINGS) as process:
            start = time.monotonic()
            while time.monotonic() - start < moment and process.poll() is None:
                time.sleep(0.005)
            if process.poll() is not None:
                return "finished before the kill", self._check_end(process, before)
            context = f"{kind} killed after {moment:.2f} s"
            if kind == "driver":
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                return "driver killed", self.check(context)
            if kind == "worker":
                found = workers()
                if not found:
                    return "no worker yet", self._check_end(process, before)
                program.kill(random.Random(moment).choice(found))
            else:
                self.cluster.remove_node(
                    random.Random(moment).choice([*self.cluster.worker_nodes]), allow_graceful=False
                )
                self.cluster.add_node(num_cpus=1)
            return f"{kind} killed", [f"{context}: {one}" for one in self._check_end(process, before)]


def workers() -> list[int]:
    """Processes in which Ray trains fleets."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if program.read_proc(pid, "cmdline").startswith(b"ray::train")]


def campaign(folder: Path, trials: int, seed: int) -> Campaign:
    """Of a cluster of two nodes beside its head."""
    os.environ.setdefault("RAY_worker_niceness", "0")  # else they wait for whatever runs beside them
    cluster = import_module("ray.cluster_utils").Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )  # fmt: skip
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        make = partial(OnCluster, cluster=cluster)
        return killing(Campaign("clustered", PROMISE), folder, (trials, seed), KINDS, make)
    finally:
        cluster.shutdown()
