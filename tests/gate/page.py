"""reports/gate.md, from the results of the study."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from unittest.mock import patch

import numpy as np
from scipy.stats import beta

from synthbench.analysis import change_test
from synthbench.experiment import identity
from synthbench.gate.baseline import BehaviourCard
from synthbench.gate.behaviour import findable
from synthbench.gate.commands import BUDGETS
from synthbench.gate.comparison import TRACE_TIMES, overall
from synthbench.gate.record import trace
from synthbench.gate.writers import number
from synthbench.reporting.table import github
from tests.gate import others, study
from tests.gate.regressions import REGRESSIONS

CALIBRATION, UNCHANGED = 300, 0.95  # comparisons, and the least share of them that a bound leaves unchanged
POWER = 0.8  # the least detection rate with which level behaviour suffices
# Where each regression was reported: OWNER/REPOSITORY#NUMBER on GitHub, and how that bug differs, if it does.
SOURCES = {
    "Adam's bias correction missing": "google-research/bert#153",
    "Adam's epsilon inside the square root": "FluxML/Flux.jl#448",
    "Adam's beta2 .95 instead of .999": "EleutherAI/gpt-neox#228",
    "Adam's second moment of weights, not gradients": "stockeh/mlx-optimizers#43",
    "AdamW's weight decay dropped": "kozistr/pytorch_optimizer#517",
    "AdamW's weight decay doubled": "nntrainer/nntrainer#218",
    "AdamW's weight decay coupled": "nntrainer/nntrainer#3565",
    "gradient clipping turned on": "deepspeedai/DeepSpeed#8439",
    "warm-up missing": "allenai/open-instruct#579",
    "schedule one step early": "Abe404/segmentation_of_roots_in_soil_with_unet#4",
    "LoRA's alpha ignored": "ostris/ai-toolkit#157",
    "LoRA's A and B swapped at initialization": "microsoft/LoRA#114",
    "Newton-Schulz skipped": "deepspeedai/DeepSpeed#8441",
    "Newton-Schulz with one step fewer": "pytorch/pytorch#185542 accepted zero steps",
    "Newton-Schulz with a cubic, not a quintic polynomial": "NVIDIA-NeMo/Emerging-Optimizers#73 another polynomial",
    "Muon's factor 0.2 sqrt(max) missing": "google-deepmind/optax#1249 another factor of the shape",
    "embeddings and head routed to Muon": "deepspeedai/DeepSpeed#7641",
    "Muon without nesterov": "bitsandbytes-foundation/bitsandbytes#2085 in SGD",
    "Muon without momentum": "kozistr/pytorch_optimizer#516",
    "weight decay dropped for hidden matrices": "tinygrad/tinygrad#17709",
    "SGD with dampening": "ml-explore/mlx#473",
    "SGD with nesterov": "PaddlePaddle/Paddle#12231 nesterov with a wrong sign",
    "SGD's weight decay dropped": "PaddlePaddle/Paddle#5836",
    "SGD's weight decay decoupled": "pytorch/pytorch#13801",
}


def upper(count: int, total: int) -> float:
    """The one-sided upper 95 % limit (Clopper-Pearson) of a share, from count of total."""
    return float(beta.ppf(0.95, count + 1, total - count)) if count < total else 1.0


def text(size: study.Size, pools: Mapping[str, BehaviourCard], regressed: Mapping[str, BehaviourCard]) -> str:
    costs = github(["command", "seconds"], [*timings()])  # first, while nothing else runs
    sections = [
        "# Error rates of the gate",
        "Made by `python -m tests.publish gate` (two CPU cores, an hour and a half; runs are kept in `gate-results/`) on "
        f"{identity.device_name('cpu')}, torch {identity.installed('torch')}, with the runner `gate` and {study.SEEDS} "
        "seeds. `tests/gate/` runs a smaller version.",
        "## False alarms",
        false_alarms(size, pools),
        "## Regressions",
        regressions(size, pools, regressed),
        "## Optimizers of other packages",
        external(),
        "## Cost and power",
        costs,
        "Wall time of the whole command with two worker processes on the device above, while nothing else ran.",
        power(pools["adamw"], size),
    ]
    return "\n\n".join(sections)


def timings() -> Iterator[list[str]]:
    """Command and seconds: for each optimizer the recording, the default check and a check at level behaviour; for AdamW
    also checks within the budgets that sixteen seeds suffice for."""
    with tempfile.TemporaryDirectory() as folder:
        for name in study.OPTIMIZERS:
            yield timed(folder, f"baseline --optimizer {name} -o {name}.json")
            yield timed(folder, f"check {name}.json")
            yield timed(folder, f"check {name}.json --level behaviour")
        for budget in ("20s", "60s"):
            yield timed(folder, f"check adamw.json --budget {budget}")


def timed(folder: str, command: str) -> list[str]:
    """A command, which must succeed in its own process, and its seconds."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "synthbench", *command.split(), "--quiet"], cwd=folder, check=True,
        stdout=subprocess.DEVNULL, env={"PYTHONPATH": str(study.ROOT), "PATH": ""},
    )  # fmt: skip
    return [f"`synthbench {command}`", f"{time.monotonic() - began:.0f}"]


def false_alarms(size: study.Size, pools: Mapping[str, BehaviourCard]) -> str:
    """Verdicts on unchanged optimizers, at every level."""
    rng, disjoint = np.random.default_rng(0), (size.pool - size.calibration) // (2 * study.SEEDS)
    rows, verdicts, first, lines = [], Counter[str](), Counter[str](), Counter[str]()
    for name, pool in pools.items():
        seeds, count = range(size.calibration, size.pool), size.comparisons // len(pools)
        comparisons = list(study.null_comparisons(pool, seeds, count, rng))
        of_pool = Counter[str](map(overall, comparisons))
        verdicts += of_pool
        first += Counter(map(overall, comparisons[:disjoint]))
        for compared in comparisons:
            lines.update({f"{line.where} {line.what}" for line in compared if line.verdict != "unchanged"})
        rows.append([f"behaviour, {name}", *_counts(of_pool), "-"])
    total = verdicts.total()
    rows.append(["behaviour, all", *_counts(verdicts), "-"])
    for name in pools:
        repeated = study.repeat_traces(name, size.traces // len(pools))
        rows.append([f"exact, {name}", *_counts(repeated.exact), "-"])
        rows.append([f"trace, {name}", *_counts(repeated.perturbed), f"{repeated.largest:.2f}"])
        kernels = study.with_other_kernels(name)
        largest = max(line.difference / line.allowed for line in kernels)
        rows.append([f"trace, {name}, other kernels", *_counts(Counter([overall(kernels)])), f"{largest:.2g}"])
    heads = ["level, optimizer", "comparisons", "unchanged", "changed", "inconclusive", "largest deviation / allowed"]
    most = ", ".join(f"{what} ({count})" for what, count in lines.most_common(5)) or "none"
    limit, first_limit = upper(verdicts["changed"], total), upper(first["changed"], first.total())
    return "\n\n".join(
        [
            f"Behaviour: each comparison is of a baseline of {study.SEEDS} seeds with {study.SEEDS} other seeds. (A check "
            "takes the seeds of its baseline, which share part of the noise and are easier to compare.) The "
            f"{size.pool - size.calibration} independent seeds of each optimizer (without the {size.calibration} on which "
            f"the bound was chosen) are shuffled and cut into such pairs, {disjoint} per shuffle; comparisons of different "
            "shuffles share seeds. Exact and trace: pairs of seeds are recorded, repeated, and repeated from starts with "
            "another perturbation of 1e-6. Other kernels: the committed baselines are checked with ATen's kernels without "
            "AVX and MKL's kernels for SSE4.2.",
            github(heads, rows),
            f"`changed` at level behaviour: {verdicts['changed']} of {total}, upper 95 % limit {100 * limit:.1f} % if the "
            f"comparisons were independent; among the {first.total()} that share no seed {first['changed']}, upper limit "
            f"{100 * first_limit:.1f} %. `unchanged`: {100 * verdicts['unchanged'] / total:.0f} %. Lines most often not "
            f"`unchanged`: {most}.",
            bound(size, pools["adamw"]),
        ]
    )


def bound(size: study.Size, pool: BehaviourCard) -> str:
    """How the bound was chosen."""
    shares, least = [], None
    for times in (5.0, 5.5, 6.0, 6.5):
        with patch.object(change_test, "BOUND_TIMES", times):
            rng = np.random.default_rng(0)
            comparisons = list(study.null_comparisons(pool, range(size.calibration), CALIBRATION, rng))
        share = sum(overall(compared) == "unchanged" for compared in comparisons) / CALIBRATION
        least = times if least is None and share >= UNCHANGED else least
        shares.append(f"{100 * share:.0f} % at {times:g}")
    return (
        f"The bound is {change_test.BOUND_TIMES:g} times the noise floor. The smallest multiple of one half with "
        f"{100 * UNCHANGED:.0f} % or more of {CALIBRATION} comparisons of AdamW's first {size.calibration} seeds "
        f"`unchanged` is {'none of these' if least is None else f'{least:g}'}: {', '.join(shares)}."
    )


def power(pool: BehaviourCard, size: study.Size) -> str:
    """The smallest changes that each budget detects."""
    baseline = study.subset(pool, range(size.calibration, size.pool)[: max(BUDGETS.values())])
    cell = "finetune/full"
    least = [findable(baseline, n)[cell] for n in BUDGETS.values()]
    rows = [[name, *(number(changes[name]) for changes in least)] for name in baseline.values[cell]]
    heads = ["score", *(f"{budget}, {n} seeds" for budget, n in BUDGETS.items())]
    return (
        "The smallest change of a mean that is detected with 80 % power, against a baseline of "
        f"{len(baseline.values[cell]['early_loss'])} seeds of AdamW under full finetuning, if seeds are distributed "
        f"normally and the two sides share no noise:\n\n{github(heads, rows)}"
    )


def external() -> str:
    return (
        "At level trace, with the same learning rates on both sides: each optimizer against its own baseline, repeated "
        "from perturbed starts, and against a reference implementation where there is one.\n\n"
        f"{github(others.HEADS, [*others.rows()])}"
    )


def _counts(verdicts: Counter[str]) -> list[str]:
    """How many there are, and how many of each verdict."""
    counts = [verdicts[verdict] for verdict in ("unchanged", "changed", "inconclusive")]
    return [str(count) for count in (verdicts.total(), *counts)]


def regressions(size: study.Size, pools: Mapping[str, BehaviourCard], regressed: Mapping[str, BehaviourCard]) -> str:
    """Every regression, at levels trace and behaviour."""
    recorded = {name: trace(study.make_experiment(name, 2)) for name in pools}
    seed_counts = [n for n in study.SEED_COUNTS if n <= size.regressed]
    rng, rows = np.random.default_rng(1), []
    for regression in REGRESSIONS:
        name, optimizer = regression.name, regression.optimizer
        lines = study.by_trace(regression, recorded[optimizer])
        largest = max(lines, key=lambda line: line.difference / line.allowed)
        deviation = f"{number(largest.difference)} ({largest.difference / largest.allowed:.3g}x)"
        rates, shares, most = {}, [], ""
        for n in seed_counts:
            rates[n], counts = study.detection_rate(pools[optimizer], regressed[name], size.regressed, n, rng)
            shares.append(f"{100 * rates[n]:.0f} %" if n < size.regressed else ("yes" if rates[n] else "no"))
            most = ", ".join(what for what, _ in counts.most_common(2)) or most
        level = "behaviour" if rates.get(study.SEEDS, 0.0) >= POWER else "trace"
        rows.append([name, optimizer, source(SOURCES[name]), overall(lines), deviation, *shares, level, most or "-"])
    heads = [
        "regression", "optimizer", "reported in", "trace verdict", "largest deviation",
        *(f"n = {n}" for n in seed_counts), "level", "lines changed",
    ]  # fmt: skip
    return "\n\n".join(
        [
            f"Trace: two seeds; the largest relative deviation, and its ratio to the allowed one ({TRACE_TIMES} times the "
            f"floor). Behaviour: the share of {study.SAMPLES} samples of n of {size.regressed} seeds in which a line "
            f"changed (n = {size.regressed}: whether one did), and the lines that changed most often. Level: behaviour "
            f"where {study.SEEDS} seeds detect the regression in {100 * POWER:.0f} % of samples or more, else trace. First "
            "losses, norms of weights and stable ranks were added to the lines after a first table of these regressions "
            "had shown what scores alone miss; other regressions may be detected less often.",
            github(heads, rows),
            "Reported in: the bug on GitHub; in brackets, how it differs from the one here.",
        ]
    )


def source(entry: str) -> str:
    """An entry of SOURCES as a link."""
    issue, _, difference = entry.partition(" ")
    link = f"[{issue}](https://github.com/{issue.replace('#', '/issues/')})"
    return f"{link} ({difference})" if difference else link
