"""Throughput of `--engine ray` beside the local engine's: one command by turns on both, on the same cores."""

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
COMMAND = ("run", "quick", "--optimizer", "muon", "--seeds", "2", "--device", "cpu")
AT_A_TIME = 2  # fleets
ROUNDS = 3
RATE = re.compile(r"\((\d+) run-steps/s\)")


def measure(command: Sequence[str] = COMMAND, rounds: int = ROUNDS) -> dict[str, Any]:
    """Run-steps a second of every round, on the local engine and on a cluster of one node that runs already."""
    os.environ.setdefault(
        "RAY_worker_niceness", "0"
    )  # by default Ray's workers yield to every other process, which ours do not
    words, utilities = [*command, "--jobs", str(AT_A_TIME)], import_module("ray.cluster_utils")
    found: dict[str, Any] = {"command": " ".join(["synthbench", *words]), "local": [], "ray": []}
    cluster = utilities.Cluster(
        initialize_head=True, head_node_args={"num_cpus": AT_A_TIME, "include_dashboard": False}
    )  # fmt: skip
    try:
        for _ in range(rounds):
            for engine, options in (("local", ()), ("ray", ("--engine", "ray", "--address", cluster.address))):
                found[engine].append(rate([*words, *options]))
                print(f"{engine}: {found[engine][-1]} run-steps/s", flush=True)
    finally:
        cluster.shutdown()
    return found | {"version": import_module("ray").__version__}


def rate(command: Sequence[str]) -> int:
    """Run-steps a second of a command, as it says itself at its end."""
    with tempfile.TemporaryDirectory(prefix="synthbench-scale-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "synthbench", *command, "--out", folder], check=True, text=True, capture_output=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    return int(RATE.findall(done.stderr)[-1])
