"""Optimizers from elsewhere at the gate: each against a baseline of its own, and against its reference where it has one.

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
# the same on both sides; any will do
RATES = ("stages.pretrain.lr=[1e-3]", "stages.finetune.lr=[3e-4]", "stages.pretrain.weight_decay=[0.01]",
         "stages.pretrain.for={}")  # fmt: skip
RUNNER = "gate"


class Other(NamedTuple):
    """An implementation. settings: what makes it compute what its reference does. reference: another one, none for itself
    alone. why: the difference, where one is meant."""

    name: str
    settings: tuple[str, ...] = ()
    reference: str | None = None
    of_reference: tuple[str, ...] = ()
    why: str = ""


OTHERS = [
    Other("torch.optim:AdamW", (), "adamw"),
    Other("torch.optim:SGD", ("optimizer.momentum=0.9",), "sgd"),
    Other("torch.optim:Muon", ("optimizer.adjust_lr_fn=match_rms_adamw",), "muon", (),
          "its Newton-Schulz computes in bfloat16, the reference in float32"),
    Other("torch.optim:Muon", ("optimizer.adjust_lr_fn=match_rms_adamw",), "muon", ("optimizer.dtype=bfloat16",)),
    Other("torch.optim:Adafactor"),
    Other("pytorch_optimizer:Lion", (), LION),
    Other("pytorch_optimizer:RAdam", (), "torch.optim:RAdam", ("optimizer.decoupled_weight_decay=true",),
          "it does not move in the first steps, where the reference takes steps of momentum"),
    Other("pytorch_optimizer:RAdam", ("optimizer.degenerated_to_sgd=true",), "torch.optim:RAdam",
          ("optimizer.decoupled_weight_decay=true",)),
    Other("pytorch_optimizer:AdaMax", (), "torch.optim:Adamax"),
    Other("pytorch_optimizer:SignSGD", (), SIGNUM),
    Other("pytorch_optimizer:SGDW", ("optimizer.momentum=0.9",), "sgd", (), "its weight decay is decoupled"),
    Other("pytorch_optimizer:StableAdamW", ("optimizer.betas=[0.9,0.999]",), "adamw", (),
          "it clips updates by their root mean square, and debiases its betas"),
    Other("pytorch_optimizer:ADOPT"),
    Other("pytorch_optimizer:SOAP", why="rounding turns its eigenbases, so a check takes the scores"),
]  # fmt: skip


def experiment(name: str, settings: Sequence[str]) -> Experiment:
    return to_record(RunRequest(RUNNER, [name], settings=[*RATES, *settings], seeds=2, device="cpu"))


def against_itself(other: Other) -> list[Line]:
    """The trace of an implementation, repeated from perturbed starts."""
    own = experiment(other.name, other.settings)
    recorded = trace(own)
    return comparison.traces(recorded, traces(own, recorded.seeds, perturbed=7))


def against_reference(other: Other) -> list[Line]:
    """Its trace against its reference's."""
    assert other.reference is not None
    reference = experiment(other.reference, other.of_reference)
    recorded = trace(reference)
    return comparison.traces(recorded, traces(experiment(other.name, other.settings), recorded.seeds))


def rows() -> Iterator[list[str]]:
    """For the page: name, verdict on itself, reference, verdict on it, largest deviation over what is allowed, why."""
    for other in OTHERS:
        itself, name = comparison.overall(against_itself(other)), named(other.name, other.settings)
        if other.reference is None:
            yield [name, itself, "-", "-", "-", other.why]
            continue
        lines = against_reference(other)
        worst = max(line.difference / line.allowed for line in lines)
        reference = named(other.reference, other.of_reference)
        yield [name, itself, reference, comparison.overall(lines), f"{worst:.3g}", other.why]


def named(name: str, settings: Sequence[str]) -> str:
    given = ", ".join(one.removeprefix("optimizer.") for one in settings)
    return name.removeprefix(f"{ROOT}/") + (f" ({given})" if given else "")
