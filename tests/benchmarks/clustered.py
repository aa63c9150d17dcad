"""Throughput of `--engine ray` beside the local engine's: one command by turns on both, on the same cores; and what
`synthbench plan` says that it takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = ("run", "quick", "--optimizer", "muon", "--seeds", "8")
AT_A_TIME = 2  # fleets
ROUNDS = 3
END = re.compile(r"in (\d+) s \((\d+) run-steps/s\)")
PLANNED = re.compile(r"^about (\d+) s,", re.MULTILINE)


def measure(command: Sequence[str] = COMMAND, rounds: int = ROUNDS) -> dict[str, Any]:
    """Run-steps a second of every round, on the local engine and on a cluster of one node that runs already; of the
    cluster's the seconds, too, and those that were planned before. Of a command that takes less than 100 s."""
    os.environ.setdefault(
        "RAY_worker_niceness", "0"
    )  # by default Ray's workers yield to every other process, which ours do not
    words, utilities = [*command, "--device", "cpu", "--jobs", str(AT_A_TIME)], import_module("ray.cluster_utils")
    found: dict[str, Any] = {
        "command": " ".join(["synthbench", *words]),
        "local": [],
        "ray": [],
        "seconds": [],
        "planned": [],
    }
    cluster = utilities.Cluster(
        initialize_head=True, head_node_args={"num_cpus": AT_A_TIME, "include_dashboard": False}
    )  # fmt: skip
    try:
        for _ in range(rounds):
            plan = call(["plan", *command[1:], "--cpus", str(AT_A_TIME)]).stdout
            found["planned"].append(int(PLANNED.findall(plan)[-1]))
            for engine, options in (("local", ()), ("ray", ("--engine", "ray", "--address", cluster.address))):
                seconds, rate = map(int, END.findall(call([*words, *options]).stderr)[-1])
                found[engine].append(rate)
                print(f"{engine}: {rate} run-steps/s in {seconds} s", flush=True)
            found["seconds"].append(seconds)
    finally:
        cluster.shutdown()
    return found | {"version": import_module("ray").__version__}


def call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A command that ended well, with what it said."""
    with tempfile.TemporaryDirectory(prefix="synthbench-scale-") as folder:
        return subprocess.run(
            [sys.executable, "-m", "synthbench", *command, "--out", folder], check=True, text=True, capture_output=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
