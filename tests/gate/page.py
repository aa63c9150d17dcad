"""reports/gate.md, from what the study trained."""

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
from tabulate import tabulate

from synthbench.analysis import change_test
from synthbench.experiment import identity
from synthbench.gate.baseline import BehaviourCard
from synthbench.gate.behaviour import findable
from synthbench.gate.commands import BUDGETS
from synthbench.gate.comparison import TRACE_TIMES, overall
from synthbench.gate.record import trace
from synthbench.gate.writers import number
from tests.gate import others, study
from tests.gate.regressions import REGRESSIONS

CHOSEN, ENOUGH = 300, 0.95  # comparisons, and the share of them that a bound should leave unchanged
SURE = 0.8  # of draws in which a regression is seen without a trace
# Where each regression was shipped: OWNER/REPOSITORY#NUMBER of GitHub, and what is not quite the same there, if anything.
SOURCES = {
    "Adam's bias correction missing": "google-research/bert#153",
    "Adam's epsilon inside the root": "FluxML/Flux.jl#448",
    "Adam's beta2 .95 in place of .999": "EleutherAI/gpt-neox#228",
    "Adam's second moment of the weights": "stockeh/mlx-optimizers#43",
    "AdamW's weight decay dropped": "kozistr/pytorch_optimizer#517",
    "AdamW's weight decay doubled": "nntrainer/nntrainer#218",
    "AdamW's weight decay coupled": "nntrainer/nntrainer#3565",
    "gradient clipping turned on": "deepspeedai/DeepSpeed#8439",
    "the warm-up left out": "allenai/open-instruct#579",
    "the schedule a step early": "Abe404/segmentation_of_roots_in_soil_with_unet#4",
    "LoRA's alpha ignored": "ostris/ai-toolkit#157",
    "LoRA's A and B swapped at the start": "microsoft/LoRA#114",
    "Newton-Schulz skipped": "deepspeedai/DeepSpeed#8441",
    "Newton-Schulz a step less": "pytorch/pytorch#185542 accepted no steps at all",
    "Newton-Schulz's cubic in place of its quintic": "NVIDIA-NeMo/Emerging-Optimizers#73 of another polynomial",
    "Muon's factor 0.2 sqrt(max) missing": "google-deepmind/optax#1249 another factor of the shape",
    "embeddings and head routed to Muon": "deepspeedai/DeepSpeed#7641",
    "Muon without nesterov": "bitsandbytes-foundation/bitsandbytes#2085 in SGD",
    "Muon's momentum lost": "kozistr/pytorch_optimizer#516",
    "weight decay dropped for hidden matrices": "tinygrad/tinygrad#17709",
    "SGD's dampening on": "ml-explore/mlx#473",
    "SGD with nesterov": "PaddlePaddle/Paddle#12231 nesterov with a wrong sign",
    "SGD's weight decay dropped": "PaddlePaddle/Paddle#5836",
    "SGD's weight decay decoupled": "pytorch/pytorch#13801",
}


def upper(times: int, of: int) -> float:
    """The upper 95 % limit (one-sided, Clopper-Pearson) of a share that was seen so often."""
    return float(beta.ppf(0.95, times + 1, of - times)) if times < of else 1.0


def text(size: study.Size, pools: Mapping[str, BehaviourCard], regressed: Mapping[str, BehaviourCard]) -> str:
    costs = tabulate(
        timings(), ["command", "seconds"], tablefmt="github", disable_numparse=True
    )  # before all else runs
    parts = [
        "# Is the gate right?",
        "Made by `python -m tests.publish gate` (two CPU cores, an hour and a half; what is trained is kept in "
        f"`gate-results/`) on {identity.device_name('cpu')}, torch {identity.installed('torch')}, on the runner `gate` "
        f"with {study.SEEDS} seeds. Its smaller version is `tests/gate/`.",
        "## What did not change",
        alarms(size, pools),
        "## What did",
        caught(size, pools, regressed),
        "## Optimizers from elsewhere",
        elsewhere(),
        "## What a check costs, and what that buys",
        costs,
        "Wall time of the whole command, two worker processes, on the device above, while nothing else ran.",
        bought(pools["adamw"], size),
    ]
    return "\n\n".join(parts)


def timings() -> Iterator[list[str]]:
    """Command and seconds: of AdamW and the others recorded, checked by default and by scores, and AdamW within budgets
    that a baseline of sixteen seeds has seeds for."""
    with tempfile.TemporaryDirectory() as folder:
        for name in study.OPTIMIZERS:
            yield timed(folder, f"baseline --optimizer {name} -o {name}.json")
            yield timed(folder, f"check {name}.json")
            yield timed(folder, f"check {name}.json --level behaviour")
        for budget in ("20s", "60s"):
            yield timed(folder, f"check adamw.json --budget {budget}")


def timed(folder: str, command: str) -> list[str]:
    """A command that must succeed, through the front door, and its seconds."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "synthbench", *command.split(), "--quiet"], cwd=folder, check=True,
        stdout=subprocess.DEVNULL, env={"PYTHONPATH": str(study.ROOT), "PATH": ""},
    )  # fmt: skip
    return [f"`synthbench {command}`", f"{time.monotonic() - began:.0f}"]


def alarms(size: study.Size, pools: Mapping[str, BehaviourCard]) -> str:
    """How often nothing was the matter, and what was said."""
    rng, disjoint = np.random.default_rng(0), (size.pool - size.held) // (2 * study.SEEDS)
    rows, whole, first, lines = [], Counter[str](), Counter[str](), Counter[str]()
    for name, pool in pools.items():
        found = list(study.unchanged(pool, range(size.held, size.pool), size.comparisons // len(pools), rng))
        verdicts = Counter(map(overall, found))
        whole += verdicts
        first += Counter(map(overall, found[:disjoint]))
        for one in found:
            lines.update({f"{line.where} {line.what}" for line in one if line.verdict != "unchanged"})
        rows.append([f"behaviour, {name}", sum(verdicts.values()), *_counts(verdicts), "-"])
    of = sum(whole.values())
    rows.append(["behaviour, together", of, *_counts(whole), "-"])
    for name in pools:
        traced = study.untouched(name, size.traces // len(pools))
        rows.append([f"exact, {name}", sum(traced.exact.values()), *_counts(traced.exact), "-"])
        worst = f"{traced.worst:.2f}"
        rows.append([f"trace, {name}", sum(traced.moved.values()), *_counts(traced.moved), worst])
        kernels = study.elsewhere(name)
        worst = f"{max(line.difference / line.allowed for line in kernels):.2g}"
        rows.append([f"trace, {name}, other kernels", 1, *_counts(Counter([overall(kernels)])), worst])
    heads = ["level, optimizer", "comparisons", "unchanged", "changed", "inconclusive", "largest deviation / allowed"]
    often = ", ".join(f"{what} ({count})" for what, count in lines.most_common(5)) or "none"
    limit = upper(whole["changed"], of)
    return "\n\n".join(
        [
            f"Behaviour: each comparison has a baseline of its own, {study.SEEDS} seeds, against {study.SEEDS} other "
            "seeds. (A check takes the same seeds, whose chance is partly shared: that is easier.) "
            f"{size.pool - size.held} independent seeds of each optimizer (not the {size.held} that the bound was chosen "
            f"on) are shuffled and cut into such pairs, {disjoint} a shuffle, so comparisons of different shuffles share "
            "seeds. Exact and trace: pairs of seeds, recorded, then repeated, and repeated from starts perturbed by 1e-6 "
            "in another way. Other kernels: the committed baselines, checked with ATen's kernels without AVX and MKL's "
            "for SSE4.2.",
            tabulate(rows, heads, tablefmt="github", disable_numparse=True),
            f"`changed` at the behaviour level: {whole['changed']} of {of}, upper 95 % limit {100 * limit:.1f} % if they "
            f"were independent; of the {sum(first.values())} that share no seed {first['changed']}, upper limit "
            f"{100 * upper(first['changed'], sum(first.values())):.1f} %. "
            f"`unchanged`: {100 * whole['unchanged'] / of:.0f} %. Lines that were not `unchanged` most often: {often}.",
            chosen(size, pools["adamw"]),
        ]
    )


def chosen(size: study.Size, pool: BehaviourCard) -> str:
    """How the bound was chosen."""
    shares, least = [], None
    for times in (5.0, 5.5, 6.0, 6.5):
        with patch.object(change_test, "BOUND_TIMES", times):
            found = list(study.unchanged(pool, range(size.held), CHOSEN, np.random.default_rng(0)))
        share = sum(overall(one) == "unchanged" for one in found) / CHOSEN
        least = times if least is None and share >= ENOUGH else least
        shares.append(f"{100 * share:.0f} % at {times:g}")
    return (
        f"The bound is {change_test.BOUND_TIMES:g} times the noise floor. The least multiple of a half that leaves "
        f"{100 * ENOUGH:.0f} % of {CHOSEN} comparisons of AdamW's first {size.held} seeds `unchanged` is "
        f"{'none of these' if least is None else f'{least:g}'}: {', '.join(shares)}."
    )


def bought(pool: BehaviourCard, size: study.Size) -> str:
    """The smallest changes that each budget finds."""
    own = study.part(pool, range(size.held, size.pool)[: max(BUDGETS.values())])
    least = [findable(own, n)["finetune/full"] for n in BUDGETS.values()]
    rows = [[name, *(number(found[name]) for found in least)] for name in own.values["finetune/full"]]
    heads = ["score", *(f"{budget}, {n} seeds" for budget, n in BUDGETS.items())]
    table = tabulate(rows, heads, tablefmt="github", disable_numparse=True)
    told = f"a baseline of {len(own.values['finetune/full']['early_loss'])} seeds of AdamW, full finetuning"
    return (
        f"The smallest change of a mean that is found with 80 % probability, against {told}, if seeds are spread normally "
        f"and the two sides share no chance:\n\n{table}"
    )


def elsewhere() -> str:
    heads = ["optimizer", "repeated, perturbed", "reference", "against it", "largest deviation / allowed", "why"]
    said = (
        "At the level of traces, the same rates on both sides: each against a baseline of its own, repeated from "
        "perturbed starts, and against another implementation where there is one."
    )
    return f"{said}\n\n{tabulate(others.rows(), heads, tablefmt='github', disable_numparse=True)}"


def _counts(verdicts: Counter[str]) -> list[int]:
    return [verdicts[verdict] for verdict in ("unchanged", "changed", "inconclusive")]


def caught(size: study.Size, pools: Mapping[str, BehaviourCard], regressed: Mapping[str, BehaviourCard]) -> str:
    """Every regression, at both levels."""
    recorded = {name: trace(study.experiment(name, 2)) for name in pools}
    numbers = [n for n in study.NUMBERS if n <= size.regressed]
    rng, rows = np.random.default_rng(1), []
    for one in REGRESSIONS:
        lines = study.by_trace(one, recorded[one.optimizer])
        worst = max(lines, key=lambda line: line.difference / line.allowed)
        before, after = pools[one.optimizer], regressed[one.name]
        shares, most, seen = [], "", {}
        for n in numbers:
            seen[n], what = study.found(before, after, size.regressed, n, rng)
            shares.append(f"{100 * seen[n]:.0f} %" if n < size.regressed else ("yes" if seen[n] else "no"))
            most = ", ".join(name for name, _ in what.most_common(2)) or most
        needs = "behaviour" if seen.get(study.SEEDS, 0.0) >= SURE else "trace"
        deviation = f"{number(worst.difference)} ({worst.difference / worst.allowed:.3g}x)"
        rows.append(
            [one.name, one.optimizer, said(SOURCES[one.name]), overall(lines), deviation, *shares, needs, most or "-"]
        )
    heads = [
        "regression", "of", "shipped in", "trace says", "largest deviation", *(f"n = {n}" for n in numbers), "takes",
        "seen in",
    ]  # fmt: skip
    return "\n\n".join(
        [
            f"Trace: two seeds; the largest relative deviation, and how many times what is allowed ({TRACE_TIMES} times "
            f"the floor) that is. Behaviour: the share of {study.DRAWN} draws of n of {size.regressed} seeds in which some "
            f"line changed (n = {size.regressed}: whether one did), and the lines that did most often. Takes: the level "
            f"that sees it, behaviour where {study.SEEDS} seeds do in {100 * SURE:.0f} % of draws or more. First losses, "
            "norms of weights and stable ranks were added to the lines after a first table of these regressions had shown "
            "what scores alone miss, so of a bug that is not here the table promises less.",
            tabulate(rows, heads, tablefmt="github", disable_numparse=True),
            "Shipped in: where GitHub has the bug; in brackets what is not quite the same there.",
        ]
    )


def said(source: str) -> str:
    place, _, differs = source.partition(" ")
    link = f"[{place}](https://github.com/{place.replace('#', '/issues/')})"
    return f"{link} ({differs})" if differs else link
