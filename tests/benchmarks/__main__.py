"""How fast runs are trained, beside other programs and beside what the machine can do: reports/performance.*

    python -m tests.benchmarks                 every part, at most fifteen minutes on an idle machine of two cores
    python -m tests.benchmarks --part quick    parts whose names start so; the others stay as they were measured
    python -m tests.benchmarks --tiny --out F  the same in small, to try it

It writes performance.json, and the page performance.md from it, after each part. The extra `bench` installs the other
programs; one that is absent is named as not measured. It runs on Linux.
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
from itertools import product
from pathlib import Path
from typing import Any

from docs.performance import performance_page
from synthbench.experiment import identity
from tests.benchmarks.peers import HAS_NATIVE, PATHS, PEERS
from tests.benchmarks.race import ALONE, TOGETHER, Entry, Refused, Stable
from tests.benchmarks.shapes import SHAPES, Shape

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900.0  # seconds after which no part starts
SIZES, FEWER = (1, 4, 8, 16), (1, 4, 16)
PACKAGES = ("torch", "numpy", "jax", "transformers", "peft")
Parts = dict[str, Callable[[], Any]]


def contest(shape: str, optimizer: str, update: str, *peers: str, sizes: Sequence[int] = SIZES) -> list[Entry]:
    """Our fleets on every path, and these peers, at every size where they train several runs."""
    return [
        Entry(peer, SHAPES[shape], optimizer, update, runs)
        for peer in (*PATHS, *peers)
        for runs in (sizes if PEERS[peer].is_batched else (1,))
    ]


def contests(tiny: bool) -> dict[str, list[Entry]]:
    """By name: the comparisons."""
    if tiny:
        return {
            "quick, adamw full": contest("quick", "adamw", "full", "plain loop", "JAX jit + vmap", sizes=(1, 2)),
            "compact, 64 tokens, adamw full": contest("compact, 64 tokens", "adamw", "full", "plain loop", sizes=(1,)),
        }
    every = ("plain loop", "torch.compile", "torch.func vmap", "JAX jit + vmap", "JAX jit + vmap + scan")
    muon = ("plain loop", "torch.optim.Muon")
    gpt2 = "quick, GPT-2 style"
    return {
        "quick, adamw full": contest("quick", "adamw", "full", *every),
        "quick, adamw lora-16": contest("quick", "adamw", "lora-16", "plain loop", sizes=FEWER),
        "quick, muon full": contest("quick", "muon", "full", *muon, sizes=FEWER),
        f"{gpt2}, adamw full": contest(gpt2, "adamw", "full", "Hugging Face GPT-2", sizes=FEWER),
        f"{gpt2}, adamw lora-16": contest(gpt2, "adamw", "lora-16", "Hugging Face + PEFT", sizes=FEWER),
        "compact, adamw full": contest("compact", "adamw", "full", *every),
        "compact, muon full": contest("compact", "muon", "full", *muon, sizes=(1, 4)),
        **{
            f"{shape}, adamw full": contest(shape, "adamw", "full", "plain loop")
            for shape in SHAPES if shape.startswith("compact,")
        },
    }  # fmt: skip


def raced(stable: Stable, entries: Sequence[Entry], tiny: bool) -> dict[str, Any]:
    """Rates of every way."""
    return {"ways": stable.race(entries, *((2, 0.02) if tiny else (5, 0.2)))}


def growth(stable: Stable, tiny: bool) -> dict[str, Any]:
    """Run-steps a second of one process as one size grows, the others being `quick`'s at K = 4."""
    quick, runs = SHAPES["quick"], 1 if tiny else 4
    wide = {f"width {width}": (quick.of(width=width), runs) for width in (32, 64, 128, 256)}
    deep = {f"layers {layers}": (quick.of(layers=layers), runs) for layers in (1, 2, 4, 8)}
    long = {f"examples {batch}": (quick.of(batch=batch), runs) for batch in (16, 64, 256, 1024)}
    longer = {f"tokens {length}": (quick.of(length=length, first=length // 2), runs) for length in (8, 16, 32, 64)}
    many = {f"K {count}": (quick, count) for count in (1, 2, 4, 8, 16, 32, 64)}
    cases: dict[str, tuple[Shape, int]] = many | wide | deep | long | longer
    if tiny:
        cases = {name: cases[name] for name in ("K 1", "width 32", "layers 1", "examples 16")}
    found: dict[str, Any] = {path: {} for path in PATHS}
    for name, (shape, count) in cases.items():
        entries = [Entry(path, shape, "adamw", "full", count) for path in PATHS]
        of_case = stable.race(entries, *((1, 0.02) if tiny else (3, 0.2)))
        for entry in entries:
            found[entry.peer][name] = of_case[entry.label]
    return found


def command(arguments: Sequence[str], cores: Sequence[int]) -> tuple[float, float, str]:
    """Seconds and core-seconds of Python with these arguments on these cores, and what it printed."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *(path for path in sys.path if path)])}
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.usage", sys.executable, *arguments], env=environment, check=True,
        text=True, stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )  # fmt: skip
    *printed, usage = done.stdout.splitlines(keepends=True)
    seconds, used = json.loads(usage)
    return seconds, used, "".join(printed)


def paths() -> tuple[str, ...]:
    """Values of `--path`; empty where there is one path alone, and no such option."""
    return ("torch", "native") if HAS_NATIVE else ("",)


def options(path: str, tiny: bool) -> list[str]:
    few = ["--set", "stages.pretrain.steps=20", "--set", "stages.finetune.steps=20"] if tiny else []
    return ["--optimizer", "muon", "--quiet", *few, *(["--path", path] if path else [])]


def quick(cores: Sequence[int], tiny: bool) -> dict[str, Any]:
    """`synthbench run --optimizer muon` as a user types it, with 3 seeds and with 8, on each path, by turns."""
    found: dict[str, Any] = {}
    for turn in range(1 if tiny else 3):
        for path, seeds in product(paths(), (1,) if tiny else (3, 8)):
            if turn and path == "torch":
                continue  # a minute each, and no target is of it
            with tempfile.TemporaryDirectory() as folder:
                words = ["run", *options(path, tiny), "--seeds", str(seeds), "--out", folder]
                seconds, used, _ = command(["-m", "synthbench", *words], cores)
                _, _, exported = command(["-m", "synthbench", "export", "--out", folder, "--format", "jsonl"], cores)
            steps = sum(json.loads(line)["steps"] for line in exported.splitlines() if line.startswith("{"))
            name = " ".join(["--seeds", str(seeds), *(["--path", path] if path else [])])
            one = found.setdefault(name, {"seeds": seeds, "seconds": [], "core-seconds": [], "run-steps": steps})
            one["seconds"].append(seconds)
            one["core-seconds"].append(used)
    return found


def phases(cores: Sequence[int], tiny: bool) -> dict[str, dict[str, float]]:
    """Core-seconds of the phases of `synthbench run --optimizer muon --seeds 1`, by path."""
    spent = {}
    for path in paths():
        with tempfile.TemporaryDirectory() as folder:
            words = [*options(path, tiny), "--seeds", "1", "--out", folder]
            _, _, text = command(["-m", "tests.benchmarks.phases", *words], cores)
        spent[path] = json.loads(text.splitlines()[-1])
    return spent


def runs(cores: Sequence[int], tiny: bool) -> dict[str, float]:
    """Seconds of a dry run of `quick`, by seeds."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "synthbench", "run", "--optimizer", "muon", "--dry-run", "--out", folder, "--seeds"]
        return {str(seeds): command([*words, str(seeds)], cores)[0] for seeds in ((1,) if tiny else (1, 8, 64, 512))}


def machine(cores: Sequence[int]) -> dict[str, Any]:
    return {
        "device": identity.device_name("cpu"), "cores": len(cores), "python": platform.python_version(),
        "packages": {name: identity.installed(name) for name in PACKAGES},
        "load before": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def parts(stable: Stable, cores: Sequence[int], tiny: bool) -> Parts:
    """What is measured, by name."""
    seconds = 0.1 if tiny else 1.0
    return {
        "machine": lambda: machine(cores),
        "limits": lambda: {
            mode: stable.ask("fleet", count, "limits", seconds) for mode, count in ((ALONE, 1), (TOGETHER, len(cores)))
        },
        "command quick": lambda: quick(cores, tiny),
        **{name: lambda entries=entries: raced(stable, entries, tiny) for name, entries in contests(tiny).items()},
        "growth": lambda: growth(stable, tiny),
        "phases of quick": lambda: phases(cores, tiny),
        "dry run": lambda: runs(cores, tiny),
    }  # type: ignore[misc]  # fmt: skip


def measure(out: Path, chosen: Sequence[str], tiny: bool) -> Mapping[str, Any]:
    """Measures parts, all or those whose names start with one of these, and writes both files after each."""
    file, page, began = out / "performance.json", out / "performance.md", time.monotonic()
    found: dict[str, Any] = json.loads(file.read_text()) if chosen and file.exists() else {}
    cores = sorted(os.sched_getaffinity(0))[:2]
    out.mkdir(parents=True, exist_ok=True)
    with Stable(cores) as stable:
        for name, part in parts(stable, cores, tiny).items():
            if chosen and not name.startswith(tuple(chosen)):
                continue
            start = time.monotonic()
            if start - began > PATIENCE and not tiny:
                found[name] = f"not measured: {PATIENCE:.0f} s had passed"
            else:
                try:
                    found[name] = part()
                except (Refused, subprocess.CalledProcessError) as error:
                    found[name] = f"not measured: {error}"
            file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            page.write_text(performance_page(found).rstrip() + "\n", encoding="utf-8")
            print(f"[{time.monotonic() - began:.0f} s] {name}: {time.monotonic() - start:.1f} s", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("--part", action="append", default=[], help="only parts whose names start so; repeatable")
    parser.add_argument("--out", type=Path, default=ROOT / "reports", help="folder of both files")
    parser.add_argument("--tiny", action="store_true", help="few steps, to try it; the figures mean nothing")
    options = parser.parse_args()
    measure(options.out, options.part, options.tiny)


if __name__ == "__main__":
    main()
