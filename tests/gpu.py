"""What a GPU shows: equality, invariance, throughput beside plain loops, whole commands, memory.

    python -m tests.gpu FOLDER               writes FOLDER/gpu.json after each part; at most eight minutes
    python -m tests.gpu FOLDER --tiny        the same on any machine, with few steps, to try it

A machine without a package registry needs the wheels of pydantic only, beside torch, numpy, scipy, rich, typer, tabulate,
safetensors and cloudpickle. What cannot be measured is recorded with its reason. Shapes as in `trainer/transformer.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import numpy as np
import torch
from numpy.typing import NDArray

from synthbench.cards import MODELS, ModelCard
from synthbench.experiment import identity
from synthbench.trainer.loop import EAGER, CapturedSteps, Steps, train
from synthbench.trainer.optimizer import FleetOptimizer
from synthbench.trainer.schedule import Schedule
from tests import gpu_peers
from tests.benchmarks.shapes import RATES, Shape, data, fleet

PATIENCE, TRIED = 450.0, 3600.0  # seconds of the whole command; of --tiny, which may run on a busy machine
OPTIMIZERS = ("adamw", "muon", "sgd")


def model(width: int, layers: int) -> ModelCard:
    return ModelCard(width=width, layers=layers, head_width=32)


SHAPES = {
    "quick": Shape(MODELS["tiny"], 64, 8, 37, 4),
    "A": Shape(model(64, 2), 32, 32, 64, 0),
    "B": Shape(model(128, 2), 32, 128, 64, 0),
    "C": Shape(model(128, 4), 16, 128, 64, 0),
    "E": Shape(model(64, 2), 2, 32, 64, 0),
}


def steps(shape: Shape, runs: int, optimizer: str, update: str, device: str, length: int) -> Steps:
    moved, seeds_K = fleet(shape, range(runs), update, device), range(runs)
    rates = [RATES[optimizer]] * runs, [0.1] * runs
    return Steps(FleetOptimizer(optimizer, moved), data(shape, seeds_K, length), Schedule(length, "cosine", 0.1), rates)


class Trained(NamedTuple):
    curve_TK: NDArray[np.float32]
    weights_KP: NDArray[np.float32]


def trained(
    optimizer: str, update: str, rates_K: Sequence[float], device: str, length: int, *, graph: bool = True
) -> Trained:
    """A fleet of `quick`'s shape after so many steps; run k has seed k. graph: as `train` does it, on a GPU as a graph."""
    shape, seeds_K = SHAPES["quick"], range(len(rates_K))
    moved = FleetOptimizer(optimizer, fleet(shape, seeds_K, update, device))
    schedule, rates = Schedule(length, "cosine", 0.1), (rates_K, [0.1 * (k % 2) for k in seeds_K])
    shown = data(shape, seeds_K, length)
    if graph:
        curve_TK = train(moved, shown, schedule, rates)
    else:
        of = Steps(moved, shown, schedule, rates)
        for step in range(length):
            of.take(torch.tensor([step], device=device))
        curve_TK = of.curve_TK.cpu().numpy()
    return Trained(curve_TK, moved.fleet.flat_KP.detach().cpu().numpy())


def equality(device: str, length: int, sizes: Sequence[int]) -> dict[str, Any]:
    """Of each optimizer and update: against the CPU, without a graph, in fleets of other sizes, beside a divergence."""
    found = {}
    for optimizer in OPTIMIZERS:
        for update in ("full", "lora-16"):
            rates_K = [RATES[optimizer] * (1 + k % 3) for k in range(max(sizes))]
            whole = trained(optimizer, update, rates_K, device, length)
            cpu = trained(optimizer, update, rates_K[:2], "cpu", length)
            eager = trained(optimizer, update, rates_K, device, length, graph=False)
            diverging = trained(optimizer, update, [float("inf"), *rates_K[1:]], device, length)
            others = {size: trained(optimizer, update, rates_K[:size], device, length) for size in sizes}
            found[f"{optimizer} {update}"] = {
                "largest relative difference of a loss from the CPU's": float(
                    np.abs(whole.curve_TK[:, :2] / cpu.curve_TK - 1).max()
                ),
                "bitwise the same without a graph": same(whole, eager, len(rates_K)),
                "bitwise the same beside a run at an infinite rate": same_rows(whole, diverging),
                "bitwise the same in fleets of": {str(size): same(whole, one, size) for size, one in others.items()},
                "largest difference of a weight in fleets of": {
                    str(size): float(np.abs(whole.weights_KP[:size] - one.weights_KP).max())
                    for size, one in others.items()
                },
            }
    return found


def same(whole: Trained, part: Trained, size: int) -> bool:
    return np.array_equal(whole.weights_KP[:size], part.weights_KP) and np.array_equal(
        whole.curve_TK[:, :size], part.curve_TK
    )


def same_rows(whole: Trained, other: Trained) -> bool:
    """Whether all runs but the first are the same, and the first is NaN."""
    return np.array_equal(whole.weights_KP[1:], other.weights_KP[1:]) and not np.isfinite(other.weights_KP[0]).all()


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def milliseconds(
    ways: Mapping[str, Callable[[], None]], device: str, rounds: int, count: int
) -> dict[str, list[float]]:
    """Milliseconds a call of each way, in every round; the ways take turns. A way's first calls are not timed."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            for _ in range(3):
                way()
            synchronize(device)
            start = time.perf_counter()
            for _ in range(count):
                way()
            synchronize(device)
            spent[name].append(1e3 * (time.perf_counter() - start) / count)
    return spent


def cycled(take: Callable[[int], None], restart: Callable[[], None], length: int) -> Callable[[], None]:
    """Calls steps 0, 1, ..., length - 1 and from the start again."""
    step = -1

    def way() -> None:
        nonlocal step
        step = (step + 1) % length
        if step == 0:
            restart()
        take(step)

    return way


def captured(of: Steps, length: int) -> Callable[[], None]:
    graph = CapturedSteps(of)
    for step in range(length):
        graph(step)
    return cycled(lambda step: graph(step + EAGER), graph.restart, length - EAGER)  # replays alone


def throughput(shape: Shape, optimizer: str, update: str, runs: int, device: str, tiny: bool) -> dict[str, Any]:
    """Milliseconds a step, run-steps a second and the peak of memory of a fleet: kernel by kernel, as a graph, and as a
    graph with products in TF32, and in bfloat16 (`--path bfloat16`)."""
    length = 8 if tiny else 40
    ways: dict[str, Callable[[], None]] = {}
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    eager, rounded = (steps(shape, runs, optimizer, update, device, length) for _ in range(2))
    rounded.optimizer.fleet.in_bfloat16 = True
    ways["eager"] = cycled(eager.take, lambda: None, length)
    if device == "cuda":
        ways["graph"] = captured(steps(shape, runs, optimizer, update, device, length), length)
        torch.set_float32_matmul_precision("high")
        ways["graph, TF32"] = captured(steps(shape, runs, optimizer, update, device, length), length)
        torch.set_float32_matmul_precision("highest")
        ways["graph, bfloat16"] = captured(rounded, length)
    else:
        ways["eager, bfloat16"] = cycled(rounded.take, lambda: None, length)
    spent = milliseconds(ways, device, 2 if tiny else 3, 2 if tiny else 20)
    peak = {"peak MiB, all ways together": torch.cuda.max_memory_allocated() / 2**20} if device == "cuda" else {}
    return {name: rates(times, runs) for name, times in spent.items()} | peak


def rates(times: Sequence[float], runs: int) -> dict[str, float]:
    return {"ms a step": median(times), "run-steps/s": 1e3 * runs / median(times)}


def peers(device: str, tiny: bool) -> dict[str, Any]:
    """Plain loops and JAX at `quick`'s shape under AdamW: run-steps a second, taking turns."""
    shape, found, ways, sizes = SHAPES["quick"], {}, {}, {}
    for name, runs, make in gpu_peers.ways(shape, device, (1, 2) if tiny else (1, 8, 64, 256)):
        try:
            way = make()
            for _ in range(3):
                way()
            ways[name], sizes[name] = way, runs
        except Exception as error:
            found[name] = f"not measured: {type(error).__name__}: {str(error)[:200]}"
    spent = milliseconds(ways, device, 2 if tiny else 3, 2 if tiny else 20)
    return found | {name: rates(times, sizes[name]) for name, times in spent.items()}


class Command:
    """`synthbench` as a program, with the packages of this process."""

    def __init__(self, tiny: bool) -> None:
        path = os.pathsep.join([str(Path.cwd()), *(entry for entry in sys.path if entry)])
        self._environment = os.environ | {"PYTHONPATH": path, "NO_COLOR": "1", "COLUMNS": "120"}
        self._small = ("--set", "stages.pretrain.steps=30", "--set", "stages.finetune.steps=20") if tiny else ()

    def run(self, *arguments: str, timeout: float) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """What a run took, and its rows."""
        with tempfile.TemporaryDirectory() as folder:
            start = time.monotonic()
            code, text = self._call("run", *arguments, *self._small, "--out", folder, timeout=timeout)
            seconds = time.monotonic() - start
            _, lines = self._call("export", "--out", folder, "--format", "jsonl", timeout=60)
        rows = [json.loads(line) for line in lines.splitlines() if line.startswith("{")]
        done = sum(row["steps"] or 0 for row in rows if row["status"] == "ok")
        took = {"exit": code, "seconds": round(seconds, 1), "run-steps": done, "run-steps/s": round(done / seconds)}
        return took | ({"said": text.strip().splitlines()[-3:]} if code else {}), rows

    def _call(self, *arguments: str, timeout: float) -> tuple[int, str]:
        command = [sys.executable, "-m", "synthbench", *arguments]
        try:
            done = subprocess.run(
                command,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=timeout,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return 124, f"longer than {timeout:.0f} s"
        return done.returncode, done.stdout + done.stderr


LEAST = 1e-9  # of an error: where no seed differs, any gap is many
SCORES = ("fact_recall", "rule_accuracy", "fact_forgetting", "skill_forgetting", "learning")


def scores(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Of the chosen rate of each update: a score of every seed."""
    found: dict[str, list[float]] = {}
    for row in rows:
        for name in SCORES if row["stage"] != "pretrain" and row["chosen"] else ():
            if row["scores"].get(name) is not None:
                found.setdefault(f"{row['trainable']} {name}", []).append(row["scores"][name])
    return found


def agreement(here: Mapping[str, list[float]], cpu: Mapping[str, list[float]]) -> dict[str, Any]:
    """Means on both devices, and their difference in standard errors."""
    found = {}
    for name in here.keys() & cpu.keys():
        one, two = here[name], cpu[name]
        error = (stdev(one) ** 2 / len(one) + stdev(two) ** 2 / len(two)) ** 0.5 if min(len(one), len(two)) > 1 else 0.0
        gap = fmean(one) - fmean(two)
        found[name] = {"GPU": fmean(one), "CPU": fmean(two), "n": len(one), "standard errors": gap / max(error, LEAST)}
    return dict(sorted(found.items()))


class Record:
    """The parts, written to FOLDER/gpu.json after each."""

    def __init__(self, folder: Path, parts: Sequence[str], patience: float) -> None:
        self._file, self._parts, self._began = folder / "gpu.json", parts, time.monotonic()
        self._patience = patience
        self._found: dict[str, Any] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def left(self) -> float:
        return self._patience - (time.monotonic() - self._began)

    def part(self, name: str, measure: Callable[[], Any], needs: float = 0) -> None:
        """Measures and writes a part, or says why not. needs: seconds that it takes at least."""
        if self._parts and not any(name.startswith(part) for part in self._parts):
            return
        start = time.monotonic()
        if self.left() < needs:
            self._found[name] = f"not measured: {self.left():.0f} s of {self._patience:.0f} were left"
        else:
            try:
                self._found[name] = measure()
            except Exception as error:
                self._found[name] = f"not measured: {type(error).__name__}: {str(error)[:300]}"
        self._file.write_text(json.dumps(self._found, indent=1) + "\n")
        print(f"[{time.monotonic() - self._began:.0f} s] {name}: {time.monotonic() - start:.1f} s", flush=True)
        print(f"    {json.dumps(self._found[name])[:1500]}", flush=True)


def leaderboard(command: Command, record: Record, device: str, tiny: bool) -> dict[str, Any]:
    few = ("--optimizer", "adamw", "--set", "stages.finetune.points=10") if tiny else ()
    return command.run("leaderboard", "--seeds", "1", "--quiet", *few, "--device", device, timeout=record.left())[0]


def machine(device: str) -> dict[str, Any]:
    return {
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "torch": torch.__version__,
        "cuda": torch.version.cuda, "python": platform.python_version(), "cores": os.cpu_count(),
        "date": time.strftime("%Y-%m-%d"), "code": identity.package_fingerprint(),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--part", action="append", default=[], help="only parts whose names start so")
    options = parser.parse_args()
    tiny = options.tiny
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)  # as workers have
    if device == "cpu" and not tiny:
        sys.exit("No CUDA device can be used here; --tiny tries the command on the CPU.")
    record = Record(options.folder, options.part, TRIED if tiny else PATIENCE)
    command, seeds = Command(tiny), "2" if tiny else "8"
    record.part("machine", lambda: machine(device))
    record.part("equality", lambda: equality(device, 6 if tiny else 50, (1, 2, 3) if tiny else (1, 2, 3, 8, 64)))
    for shape in SHAPES:
        sizes = (1, 2) if tiny else (1, 8, 64, 256) if shape in ("quick", "A", "E") else (1, 8, 64)
        for optimizer, update in (("adamw", "full"), ("muon", "full"), ("adamw", "lora-16"), ("sgd", "full")):
            for runs in sizes if shape == "quick" or (update == "full" and optimizer != "sgd") else ():
                record.part(
                    f"throughput {shape}, {optimizer} {update}, K = {runs}",
                    lambda s=SHAPES[shape], o=optimizer, u=update, k=runs: throughput(s, o, u, k, device, tiny),  # type: ignore[misc]
                )
    for optimizer in OPTIMIZERS[:1] if tiny else OPTIMIZERS:
        of = ("quick", "--optimizer", optimizer, "--seeds", seeds, "--quiet")

        def quick(of: Sequence[str] = of) -> dict[str, Any]:
            took, rows = command.run(*of, "--device", device, timeout=record.left())
            cpu, cpu_rows = command.run(*of, "--device", "cpu", timeout=record.left())
            return {"GPU": took, "CPU of the same machine": cpu, "scores": agreement(scores(rows), scores(cpu_rows))}

        record.part(f"quick, {optimizer}, {seeds} seeds", quick, 60)
    record.part("peers", lambda: peers(device, tiny))
    record.part("leaderboard, one seed", lambda: leaderboard(command, record, device, tiny), 90)


if __name__ == "__main__":
    main()
