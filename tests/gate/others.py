"""Optimizers of other packages at the gate: each against its own baseline, and against a reference where there is one.

Needs the extra `optimizers`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from synthbench.experiment.plan import Experiment
from synthbench.experiment.resolve import RunRequest
from synthbench.gate import comparison
from synthbench.gate.comparison import Line
from synthbench.gate.record import to_record, trace
from synthbench.gate.traces import traces

ROOT = Path(__file__).resolve().parents[2]
LION, SIGNUM = (f"{ROOT}/examples/{file}" for file in ("ci/my_optimizers/__init__.py:Lion", "signum.py:Signum"))
# The same on both sides; the values do not matter.
RATES = ("stages.pretrain.lr=[1e-3]", "stages.finetune.lr=[3e-4]", "stages.pretrain.weight_decay=[0.01]",
         "stages.pretrain.for={}")  # fmt: skip
RUNNER = "gate"


class Implementation(NamedTuple):
    """An optimizer of another package. settings: with these it computes what its reference does. reference: another
    implementation, None where there is none. remark: with a reference, the difference that is expected."""

    name: str
    settings: tuple[str, ...] = ()
    reference: str | None = None
    reference_settings: tuple[str, ...] = ()
    remark: str = ""


IMPLEMENTATIONS = [
    Implementation("torch.optim:AdamW", (), "adamw"),
    Implementation("torch.optim:SGD", ("optimizer.momentum=0.9",), "sgd"),
    Implementation("torch.optim:Muon", ("optimizer.adjust_lr_fn=match_rms_adamw",), "muon", (),
                   "computes Newton-Schulz in bfloat16, the reference in float32"),
    Implementation("torch.optim:Muon", ("optimizer.adjust_lr_fn=match_rms_adamw",), "muon", ("optimizer.dtype=bfloat16",)),
    Implementation("torch.optim:Adafactor"),
    Implementation("pytorch_optimizer:Lion", (), LION),
    Implementation("pytorch_optimizer:RAdam", (), "torch.optim:RAdam", ("optimizer.decoupled_weight_decay=true",),
                   "does not move in the first steps, where the reference uses momentum"),
    Implementation("pytorch_optimizer:RAdam", ("optimizer.degenerated_to_sgd=true",), "torch.optim:RAdam",
                   ("optimizer.decoupled_weight_decay=true",)),
    Implementation("pytorch_optimizer:AdaMax", (), "torch.optim:Adamax"),
    Implementation("pytorch_optimizer:SignSGD", (), SIGNUM),
    Implementation("pytorch_optimizer:SGDW", ("optimizer.momentum=0.9",), "sgd", (), "decouples weight decay"),
    Implementation("pytorch_optimizer:StableAdamW", ("optimizer.betas=[0.9,0.999]",), "adamw", (),
                   "clips updates by their root mean square and debiases its betas"),
    Implementation("pytorch_optimizer:ADOPT"),
    Implementation("pytorch_optimizer:SOAP", remark="rounding error rotates its eigenbases; a check compares its scores"),
]  # fmt: skip


def make_experiment(name: str, settings: Sequence[str]) -> Experiment:
    return to_record(RunRequest(RUNNER, [name], settings=[*RATES, *settings], seeds=2, device="cpu"))


def against_itself(implementation: Implementation) -> list[Line]:
    """The trace of an implementation against its own baseline, from perturbed starts."""
    experiment = make_experiment(implementation.name, implementation.settings)
    recorded = trace(experiment)
    return comparison.traces(recorded, traces(experiment, recorded.seeds, perturbed=7))


def against_reference(implementation: Implementation) -> list[Line]:
    """The trace of an implementation against the baseline of its reference."""
    assert implementation.reference is not None
    recorded = trace(make_experiment(implementation.reference, implementation.reference_settings))
    experiment = make_experiment(implementation.name, implementation.settings)
    return comparison.traces(recorded, traces(experiment, recorded.seeds))


HEADS = [
    "optimizer",
    "own baseline, perturbed",
    "reference",
    "against reference",
    "largest deviation / allowed",
    "remark",
]


def rows() -> Iterator[list[str]]:
    """Rows of the page, under HEADS."""
    for implementation in IMPLEMENTATIONS:
        name = label(implementation.name, implementation.settings)
        itself = comparison.overall(against_itself(implementation))
        if implementation.reference is None:
            yield [name, itself, "-", "-", "-", implementation.remark]
            continue
        lines = against_reference(implementation)
        largest = max(line.difference / line.allowed for line in lines)
        reference = label(implementation.reference, implementation.reference_settings)
        yield [name, itself, reference, comparison.overall(lines), f"{largest:.3g}", implementation.remark]


def label(name: str, settings: Sequence[str]) -> str:
    arguments = ", ".join(setting.removeprefix("optimizer.") for setting in settings)
    return name.removeprefix(f"{ROOT}/") + (f" ({arguments})" if arguments else "")
