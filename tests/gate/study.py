"""How often the gate is wrong, and what it finds: `python -m tests.publish gate`.

Trains pools of independent seeds of the three built-in optimizers, and every regression of the library, into
`gate-results/`, so that an interrupted study goes on; then draws comparisons from them. Some hours on two cores.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from synthbench.execution.session import perform
from synthbench.experiment.plan import Experiment
from synthbench.experiment.resolve import RunRequest
from synthbench.gate import comparison
from synthbench.gate.baseline import BehaviourCard
from synthbench.gate.behaviour import behaviour, described
from synthbench.gate.commands import options
from synthbench.gate.comparison import Line
from synthbench.gate.record import DRAWS, to_record, trace, with_rates
from synthbench.gate.traces import traces
from tests.gate.regressions import REGRESSIONS, Regression

ROOT = Path(__file__).resolve().parents[2]
BASELINES = ROOT / "tests" / "gate" / "baselines"
OPTIMIZERS = ("adamw", "muon", "sgd")
SEEDS = 16  # of the default check
DRAWN = 100  # of seeds, for a share
NUMBERS = (5, 8, 16, 32)  # of seeds at which regressions are looked for


class Size(NamedTuple):
    """How much is trained and drawn. pool: independent seeds of an optimizer. held: the first of them,
    which the bound was chosen on, and which are in no comparison. comparisons: unchanged ones, of all of them
    together. traces: unchanged ones at the levels of traces. regressed: seeds of a regression."""

    pool: int = 320
    held: int = 96
    comparisons: int = 210
    traces: int = 51
    regressed: int = 32


def experiment(optimizer: str, seeds: int) -> Experiment:
    return to_record(RunRequest("gate", [optimizer], seeds=seeds, device="cpu"))


@contextmanager
def forked() -> Iterator[None]:
    """Workers that are forked, not spawned: they have what was patched in this process."""
    context = multiprocessing.get_context("fork")
    with patch("synthbench.execution.process_pool.multiprocessing.get_context", lambda kind: context):
        yield


def trained(optimizer: str, seeds: int, folder: Path, regression: Regression | None = None) -> BehaviourCard:
    """What so many seeds show; trained where the folder does not have them yet."""
    with forked(), regression.patch() if regression else nullcontext():
        own = experiment(optimizer, seeds)
        how = replace(options(None, False, "tests.gate.study"), out=folder)
        perform(own, how)
        return behaviour(folder, with_rates(own, folder))


def part(of: BehaviourCard, seeds: Sequence[int]) -> BehaviourCard:
    """Some of the seeds, called 0, 1, ... in this order, with the noise that they show."""
    names = {seed: place for place, seed in enumerate(seeds)}
    values = {
        where: {name: {names[s]: v for s, v in by_seed.items() if s in names} for name, by_seed in own.items()}
        for where, own in of.values.items()
    }
    diverged = {where: [names[seed] for seed in own if seed in names] for where, own in of.diverged.items()}
    return described(values, diverged, of.curves)


def unchanged(pool: BehaviourCard, seeds: Sequence[int], count: int, rng: np.random.Generator) -> Iterator[list[Line]]:
    """Comparisons of two groups of independent seeds of one optimizer, each group in one comparison of a shuffle."""
    assert len(seeds) >= 2 * SEEDS
    while True:
        order = rng.permutation(seeds).tolist()
        for start in range(0, len(seeds) - 2 * SEEDS + 1, 2 * SEEDS):
            if not count:
                return
            count -= 1
            one, other = order[start : start + SEEDS], order[start + SEEDS : start + 2 * SEEDS]
            yield comparison.behaviour(part(pool, one), part(pool, other), range(SEEDS))


def found(
    before: BehaviourCard, after: BehaviourCard, seeds: int, n: int, rng: np.random.Generator
) -> tuple[float, Counter[str]]:
    """The share of draws of n seeds in which a regression counts as changed (the same seeds on both sides, as in a check),
    and how often each line did."""
    draws = DRAWN if n < seeds else 1
    changed, lines = 0, Counter[str]()
    for _ in range(draws):
        own = sorted(rng.permutation(seeds)[:n].tolist())
        both = comparison.behaviour(part(before, own), part(after, own), range(n))
        seen = {line.what for line in both if line.verdict == "changed"}
        changed += bool(seen)
        lines.update(seen)
    return changed / draws, lines


def elsewhere(optimizer: str) -> list[Line]:
    """The committed baseline of an optimizer, checked with the kernels of a processor without AVX: the front door, in a
    process of its own."""
    command = [sys.executable, "-m", "synthbench", "check", str(BASELINES / f"{optimizer}.json"), "--format", "json"]
    kernels = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    done = subprocess.run(
        [*command, "--level", "trace", "--quiet"], text=True, capture_output=True, check=False, cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": str(ROOT), **kernels},
    )  # fmt: skip
    keys = ("where", "what", "verdict", "difference", "allowed", "n")
    return [Line(*(line[key] for key in keys)) for line in json.loads(done.stdout)["lines"]]


class Traced(NamedTuple):
    """exact, moved: verdicts of runs repeated, and of runs from starts perturbed by other draws than the floor's. worst:
    their largest deviation over what is allowed."""

    exact: Counter[str]
    moved: Counter[str]
    worst: float


def untouched(optimizer: str, count: int) -> Traced:
    """Traces of pairs of seeds against baselines of their own."""
    exact, moved, worst = Counter[str](), Counter[str](), 0.0
    for pair in range(count):
        own = experiment(optimizer, 2 * pair + 2)
        seeds = [2 * pair, 2 * pair + 1]
        recorded = trace(own, seeds)
        again = {one.name: one.digests for one in traces(own, seeds)}
        exact[comparison.overall(comparison.exact(recorded, again))] += 1
        lines = comparison.traces(recorded, traces(own, seeds, perturbed=DRAWS + pair))
        moved[comparison.overall(lines)] += 1
        worst = max([worst, *(line.difference / line.allowed for line in lines)])
    return Traced(exact, moved, worst)


def by_trace(regression: Regression, recorded: Any) -> list[Line]:
    """A regression at the level of traces, of the first two seeds."""
    with regression.patch():
        own = experiment(regression.optimizer, 2)
        return comparison.traces(recorded, traces(own, recorded.seeds))


WHOLE = Size()


def main(size: Size = WHOLE, folder: Path = ROOT / "gate-results") -> None:
    from tests.gate import page

    pools = {name: trained(name, size.pool, folder / name) for name in OPTIMIZERS}
    library = sha256((Path(__file__).parent / "regressions.py").read_bytes()).hexdigest()[:8]  # an edit is trained anew
    regressed = {}
    for one in REGRESSIONS:
        slug = re.sub(r"[^a-z0-9]+", "-", one.name.lower()).strip("-")
        regressed[one.name] = trained(one.optimizer, size.regressed, folder / f"{slug}-{library}", one)
    print(page.text(size, pools, regressed))


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    main()
