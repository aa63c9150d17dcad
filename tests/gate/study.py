"""Error rates of the gate, and the regressions that it detects: `python -m tests.publish gate`.

Trains independent seeds of the three built-in optimizers, and every regression of the library, into `gate-results/`, where
an interrupted study resumes; then draws comparisons from them. Some hours on two cores.
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
SAMPLES = 100  # of seeds, for a detection rate
SEED_COUNTS = (5, 8, 16, 32)  # at which detection rates are estimated


class Size(NamedTuple):
    """How much is trained and drawn. pool: independent seeds of an optimizer. calibration: the first of them, which the
    bound was chosen on and no comparison uses. comparisons: of unchanged optimizers, all optimizers together. traces: pairs
    of seeds at the levels exact and trace. regressed: seeds of a regression."""

    pool: int = 320
    calibration: int = 96
    comparisons: int = 210
    traces: int = 51
    regressed: int = 32


def make_experiment(optimizer: str, seeds: int) -> Experiment:
    return to_record(RunRequest("gate", [optimizer], seeds=seeds, device="cpu"))


@contextmanager
def forked() -> Iterator[None]:
    """Worker processes are forked, not spawned, and so have the patches of this process."""
    context = multiprocessing.get_context("fork")
    with patch("synthbench.execution.process_pool.multiprocessing.get_context", lambda kind: context):
        yield


def trained(optimizer: str, seeds: int, folder: Path, regression: Regression | None = None) -> BehaviourCard:
    """The results of these seeds; those that the folder does not have are trained."""
    with forked(), regression.patch() if regression else nullcontext():
        experiment = make_experiment(optimizer, seeds)
        perform(experiment, replace(options(None, quiet=False, command="tests.gate.study"), out=folder))
        return behaviour(folder, with_rates(experiment, folder))


def subset(results: BehaviourCard, seeds: Sequence[int]) -> BehaviourCard:
    """The results of these seeds, renumbered 0, 1, ... in this order, with their own noise floors."""
    index = {seed: i for i, seed in enumerate(seeds)}
    values = {
        cell: {name: {index[s]: v for s, v in by_seed.items() if s in index} for name, by_seed in scores.items()}
        for cell, scores in results.values.items()
    }
    diverged = {cell: [index[seed] for seed in lost if seed in index] for cell, lost in results.diverged.items()}
    return described(values, diverged, results.curves)


def null_comparisons(
    pool: BehaviourCard, seeds: Sequence[int], count: int, rng: np.random.Generator
) -> Iterator[list[Line]]:
    """Comparisons of two groups of independent seeds of one optimizer; the groups of a shuffle share no seed."""
    assert len(seeds) >= 2 * SEEDS
    while True:
        order = rng.permutation(seeds).tolist()
        for start in range(0, len(seeds) - 2 * SEEDS + 1, 2 * SEEDS):
            if not count:
                return
            count -= 1
            before, after = order[start : start + SEEDS], order[start + SEEDS : start + 2 * SEEDS]
            yield comparison.behaviour(subset(pool, before), subset(pool, after), range(SEEDS))


def detection_rate(
    before: BehaviourCard, after: BehaviourCard, seeds: int, n: int, rng: np.random.Generator
) -> tuple[float, Counter[str]]:
    """The share of samples of n seeds in which a regression is `changed` (the same seeds on both sides, as in a check), and
    how often each line is."""
    samples = SAMPLES if n < seeds else 1
    detected, counts = 0, Counter[str]()
    for _ in range(samples):
        sample = sorted(rng.permutation(seeds)[:n].tolist())
        lines = comparison.behaviour(subset(before, sample), subset(after, sample), range(n))
        changed = {line.what for line in lines if line.verdict == "changed"}
        detected += bool(changed)
        counts.update(changed)
    return detected / samples, counts


def with_other_kernels(optimizer: str) -> list[Line]:
    """The committed baseline of an optimizer, checked by the command in a process with the kernels of a processor without
    AVX."""
    command = [sys.executable, "-m", "synthbench", "check", str(BASELINES / f"{optimizer}.json"), "--format", "json"]
    kernels = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    completed = subprocess.run(
        [*command, "--level", "trace", "--quiet"], text=True, capture_output=True, check=False, cwd=ROOT,
        env={"PATH": "", "PYTHONPATH": str(ROOT), **kernels},
    )  # fmt: skip
    keys = ("where", "what", "verdict", "difference", "allowed", "n")
    return [Line(*(line[key] for key in keys)) for line in json.loads(completed.stdout)["lines"]]


class RepeatedTraces(NamedTuple):
    """exact: verdicts on repeated runs. perturbed: verdicts on runs from starts perturbed by other draws than the floor's.
    largest: deviation of those over the allowed one."""

    exact: Counter[str]
    perturbed: Counter[str]
    largest: float


def repeat_traces(optimizer: str, count: int) -> RepeatedTraces:
    """Traces of so many pairs of seeds, each against its own baseline."""
    exact, perturbed, largest = Counter[str](), Counter[str](), 0.0
    for pair in range(count):
        experiment = make_experiment(optimizer, 2 * pair + 2)
        seeds = [2 * pair, 2 * pair + 1]
        recorded = trace(experiment, seeds)
        digests = {repeated.name: repeated.digests for repeated in traces(experiment, seeds)}
        exact[comparison.overall(comparison.exact(recorded, digests))] += 1
        lines = comparison.traces(recorded, traces(experiment, seeds, perturbed=DRAWS + pair))
        perturbed[comparison.overall(lines)] += 1
        largest = max([largest, *(line.difference / line.allowed for line in lines)])
    return RepeatedTraces(exact, perturbed, largest)


def by_trace(regression: Regression, recorded: Any) -> list[Line]:
    """The comparison of a regression at level trace, with the recorded seeds."""
    with regression.patch():
        experiment = make_experiment(regression.optimizer, 2)
        return comparison.traces(recorded, traces(experiment, recorded.seeds))


FULL_SIZE = Size()


def main(size: Size = FULL_SIZE, folder: Path = ROOT / "gate-results") -> None:
    from tests.gate import page

    pools = {name: trained(name, size.pool, folder / name) for name in OPTIMIZERS}
    library = sha256((Path(__file__).parent / "regressions.py").read_bytes()).hexdigest()[:8]  # edits retrain
    regressed = {}
    for regression in REGRESSIONS:
        slug = re.sub(r"[^a-z0-9]+", "-", regression.name.lower()).strip("-")
        target = folder / f"{slug}-{library}"
        regressed[regression.name] = trained(regression.optimizer, size.regressed, target, regression)
    print(page.text(size, pools, regressed))


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    main()
