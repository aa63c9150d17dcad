"""reports/gpu.md: what `python -m tests.gpu` measured, from reports/gpu.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docs.generated import STALE
from synthbench.experiment import identity
from synthbench.reporting.table import github

FOUND = Path(__file__).resolve().parent.parent / "reports" / "gpu.json"
WAYS = ("eager", "graph", "graph, TF32", "graph, bfloat16")
FROM_CPU = "largest relative difference of a loss from the CPU's"
SAME = ("bitwise the same without a graph", "bitwise the same beside a run at an infinite rate")
WEIGHTS = "largest difference of a weight in fleets of"
Found = Mapping[str, Any]

EQUALITY = """\
Fleets at `quick`'s shape after 50 steps: the largest relative difference of a loss from the CPU's; whether weights and
losses are bitwise the same without the CUDA graph, and beside a run at an infinite rate; the largest difference of a weight
between a fleet of 64 and fleets of K. A GPU's libraries choose other kernels for another number of runs, which round
otherwise: there a run is the same in every fleet to rounding, on a CPU it is so to the bit."""
COMMANDS = """\
From the command to its table, `--device cuda` against all cores of the same machine's CPU. The last column compares means
over seeds between the two: the largest of ten differences, in standard errors."""
THROUGHPUT = """\
Milliseconds a step of a fleet of K runs, in brackets run-steps a second; medians of rounds in turns. `eager`: every kernel
launched by itself. `graph`: the step as a CUDA graph, as `--device cuda` trains. `graph, TF32`: with products in TF32,
which no command uses; `graph, bfloat16`: with products in that type (`--path bfloat16`). Shapes: `quick` 64 examples of
8 tokens; A and E width 64 with 1024 and 64 tokens a step; B and C width 128 with 4096 and 2048 tokens a step, in 2 and 4
layers. Memory: the peak of all ways together."""
PEERS = """\
AdamW at `quick`'s shape. The plain loop is an `nn.Module` under torch's fused AdamW, one run at a time; JAX trains K runs
by `jit` and `vmap`. All products are in float32 (JAX's at its default precision, which may be TF32, in measurements without
a date). Synthbench's rows are those of its graph above."""


def gpu_page() -> str:
    """The page; every figure on it is measured."""
    found: Found = json.loads(FOUND.read_text())
    machine = found["machine"]
    versions = f"torch {machine['torch']}, CUDA {machine['cuda']}, Python {machine['python']}"
    parts = [
        "# On a GPU", STALE,
        f"{machine['gpu']}, {versions}, {machine['cores']} processor cores: one run of `python -m tests.gpu FOLDER`, "
        f"{made(machine)}. "
        "All it found is in [gpu.json](gpu.json).",
        "## Equal to the CPU, and in every fleet", EQUALITY, equality(found),
        "## Whole commands", COMMANDS, commands(found),
        "## Throughput", THROUGHPUT, throughput(found),
        "## Beside other programs", PEERS, peers(found),
    ]  # fmt: skip
    return "\n\n".join(parts)


def made(machine: Found) -> str:
    """When, and by which code: `2026-12-01, by the training code as it is`."""
    is_current = machine.get("code") == identity.package_fingerprint()
    age = "by the training code as it is" if is_current else "by earlier training code, which has changed since"
    return ", ".join(filter(None, [machine.get("date"), age]))


def equality(found: Found) -> str:
    sizes = next(iter(found["equality"].values()))[WEIGHTS]
    rows = [
        [name, f"{one[FROM_CPU]:.1e}", *("yes" if one[key] else "no" for key in SAME),
         *(f"{gap:.1e}" if gap else "0" for gap in one[WEIGHTS].values())]
        for name, one in found["equality"].items()
    ]  # fmt: skip
    heads = ["optimizer, update", "from the CPU", "same without graph", "same beside inf", *(f"K = {k}" for k in sizes)]
    return github(heads, rows)


def commands(found: Found) -> str:
    rows = []
    for name, one in found.items():
        if name.startswith("quick"):
            gap = max(abs(score["standard errors"]) for score in one["scores"].values())
            gpu, cpu = one["GPU"], one["CPU of the same machine"]
            rows.append([name, f"{gpu['run-steps']:,}", f"{gpu['seconds']} s", f"{cpu['seconds']} s", f"{gap:.1f}"])
    one = found["leaderboard, one seed"]
    rows.append(["leaderboard, one seed", f"{one['run-steps']:,}", f"{one['seconds']} s", "not measured", ""])
    return github(["command", "run-steps", "GPU", "CPU", "largest gap"], rows)


def throughput(found: Found) -> str:
    rows = []
    for name, one in found.items():
        if name.startswith("throughput"):
            shape, optimizer, runs = name.removeprefix("throughput ").split(", ")
            memory = f"{one['peak MiB, all ways together']:,.0f} MiB"
            speeds = [speed(one[way]) if way in one else "not measured" for way in WAYS]
            rows.append([shape, optimizer, runs.removeprefix("K = "), *speeds, memory])
    return github(["shape", "optimizer, update", "K", *WAYS, "memory"], rows)


def peers(found: Found) -> str:
    rows = {name: one if isinstance(one, str) else speed(one) for name, one in found["peers"].items()}
    rows |= {
        f"synthbench, {name.split(', ')[-1]}": speed(one["graph"])
        for name, one in found.items()
        if name.startswith("throughput quick, adamw full")
    }
    return github(
        ["program", "ms a step (run-steps a second)"], [[name, one.split("\n")[0]] for name, one in rows.items()]
    )


def speed(one: Mapping[str, float]) -> str:
    return f"{one['ms a step']:.2f} ({one['run-steps/s']:,.0f})"
