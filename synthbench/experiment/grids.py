"""What a card asks of each stage: its optimizers, updates and learning rates; and these rates in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from synthbench.cards import RunnerCard, StageCard
from synthbench.cards.axis import value_text
from synthbench.cards.runner import VariantCard
from synthbench.experiment.brackets import reads_between_rates, reads_chosen_rate
from synthbench.experiment.runs import Cell, Run
from synthbench.generators import Task
from synthbench.plugins.registry import FACTORS
from synthbench.trainer.optimizers import OPTIMIZERS

RATE = 1e-3  # torch.optim's default for AdamW, Muon and SGD
NO_RATE = 1.0  # in the runs of an optimizer that sets its rate itself


class StageSettings(NamedTuple):
    """A stage's settings for one task and optimizer. lr_factor: what the rates of its grid are multiplied by."""

    steps: int
    weight_decay: float
    size: float
    update: Sequence[str]
    lr_factor: float


def settings(card: RunnerCard, stage: StageCard, task: str, name: str) -> StageSettings:
    """A stage's settings, with what its table `for` says of a task, an optimizer (the registered one, then its name on the
    card) or both."""
    steps, decay, size, update, factor = stage.steps, stage.weight_decay, stage.size, stage.update, 1.0
    names = dict.fromkeys((card.optimizer_of(name), name))
    keys = (task, *names, *(f"{task}/{optimizer}" for optimizer in names))
    for override in (stage.overrides[key] for key in keys if key in stage.overrides):
        steps = override.steps or steps
        decay = override.weight_decay if override.weight_decay is not None else decay
        size = override.size or size
        update = override.update or update
        factor *= override.lr_factor
    return StageSettings(steps, decay, size, update, factor)


def every_optimizer(card: RunnerCard) -> list[str]:
    """Every optimizer that some stage runs, by its name on the card."""
    crossed = [name for stage in card.stages if stage.optimizer != "same" for name in stage.optimizer]
    crossed += [name for stage in card.stages for one in stage.overrides.values() for name in one.optimizer or ()]
    return list(dict.fromkeys([*card.optimizers, *map(card.root, card.optimizers), *crossed]))


def optimizers_after(card: RunnerCard, stage: StageCard, base: Sequence[str], task: str = "") -> list[str]:
    """The optimizers that a stage runs on a task after those of the stages before it (base). Variants that share what
    their optimizer pretrained appear in the last stage."""
    keys = (f"{task}/{base[-1]}", base[-1]) if base else ()
    after = next((named for key in keys if key in stage.overrides and (named := stage.overrides[key].optimizer)), None)
    if after or stage.optimizer != "same":
        names = list(after or stage.optimizer)
    elif stage is card.stages[-1]:
        names = [name for name in card.optimizers if not base or card.root(name) == base[-1]]
    else:
        names = list(base[-1:]) or list(dict.fromkeys(map(card.root, card.optimizers)))
    # a variant with a share of a tuned rate waits for that rate
    return sorted(names, key=lambda name: name in card.variants and card.variants[name].of_tuned is not None)


def variant_in(card: RunnerCard, stage: StageCard, optimizer: str) -> VariantCard | None:
    """The variant of this name where the stage is the last one, in which alone its rates and updates count."""
    return card.variants.get(optimizer) if stage is card.stages[-1] else None


def updates(card: RunnerCard, stage: StageCard, task: str, optimizer: str) -> Sequence[str]:
    """The updates of a stage for an optimizer."""
    variant = variant_in(card, stage, optimizer)
    return variant.update if variant and variant.update else settings(card, stage, task, optimizer).update


def grid(card: RunnerCard, stage: StageCard, optimizer: str, update: str) -> list[float]:
    """The learning rates of a stage for one optimizer and update."""
    variant = variant_in(card, stage, optimizer)
    if variant and variant.lr:
        return list(variant.lr)
    name = card.optimizer_of(optimizer)
    if isinstance(stage.lr, dict) and name not in stage.lr:
        return usual(name)
    rates: Any = stage.lr[name] if isinstance(stage.lr, dict) else stage.lr
    if isinstance(rates, dict):
        rates = rates[update if update in rates else kind_of(update)]
    return list(rates)


def usual(optimizer: str) -> list[float]:
    """The learning rates of a registered optimizer where a card has none for it: FACTORS times its default."""
    return list(OPTIMIZERS[optimizer].grid) or [float(f"{RATE * factor:.6g}") for factor in FACTORS]


def rates_of(card: RunnerCard, stage: StageCard, task: str, cell: Cell) -> list[float]:
    """The learning rates of a cell: its grid, times the factors of its task and optimizer; a variant's as they are."""
    variant, rates = variant_in(card, stage, cell.optimizer), grid(card, stage, cell.optimizer, cell.update)
    factor = settings(card, stage, task, cell.optimizer).lr_factor
    is_as_written = factor == 1 or (variant and variant.lr)
    return rates if is_as_written else [float(f"{rate * factor:.6g}") for rate in rates]


def kind_of(update: str) -> str:
    """The kind of an update, whose rates it uses where it has none itself."""
    return "lora" if update.startswith("lora") else "full"


def scaled(count: int, size: float) -> int:
    """A number of items or steps for a finetuning set of this size; at least one."""
    return max(1, round(count * size))


def sized(task: Task, stage: StageCard, size: float) -> dict[str, int]:
    """Trained items by slice for a finetuning set of this size."""
    return {name: scaled(items, size) for name, items in (task.card.size(stage.name) | stage.examples).items()}


def label_of(cell: Cell, card: RunnerCard) -> str:
    """Its optimizer, with that of the stage before where it is another one: `muon on adamw`."""
    has_own_base = card.root(cell.optimizer) == cell.optimizer
    own = {cell.optimizer} if has_own_base else {cell.optimizer, card.optimizer_of(cell.optimizer)}
    base = [name for name in cell.base if name not in own]
    return " on ".join([cell.optimizer, *base[-1:]])


def update_at(cell: Cell) -> str:
    """Its update, and where on the axes it is: `full, pretrain-decay 0.1`."""
    return ", ".join([cell.update, *(f"{label} {value_text(value)}" for label, value in cell.point)])


def described(card: RunnerCard, cells: Mapping[Cell, Sequence[Run]]) -> dict[str, list[str]]:
    """By stage a line for each optimizer and update: the learning rates to be tried, by task where tasks differ. cells:
    of the whole plan."""
    tasks: dict[tuple[str, str], dict[str, dict[str, None]]] = {}  # by stage and row, by rates
    for cell, runs in cells.items():
        variant = variant_in(card, card.stage(cell.stage), cell.optimizer)
        rates = ", ".join(f"{rate:.6g}" for rate in sorted({run.lr for run in runs}))
        if not all(run.optimizer.has_rate for run in runs):
            rates = "its own"
        if variant and variant.of_tuned:
            rates = f"{variant.of_tuned:g} times the rate chosen for {variant.of}"
        row = tasks.setdefault((cell.stage, f"{label_of(cell, card)}, {update_at(cell)}"), {})
        row.setdefault(rates, {})[cell.task] = None
    lines: dict[str, list[str]] = {stage.name: [] for stage in card.stages}
    for (stage, name), by_rates in tasks.items():
        parts = (f"{rates} ({', '.join(of)})" if len(by_rates) > 1 else rates for rates, of in by_rates.items())
        lines[stage].append(f"{name}: lr {'; '.join(parts)}")
    for extended in (stage for stage in card.stages if stage.extend):
        is_last = extended is card.stages[-1]
        reasons = ["beyond the edge of a grid, where that is chosen"] * (not is_last or reads_chosen_rate(card))
        if is_last and reads_between_rates(card):
            reasons.append("where the fit is not reached both before and after a target step")
        lines[extended.name].append(f"and up to {extended.extend} more {', or '.join(reasons)}")
    return lines
