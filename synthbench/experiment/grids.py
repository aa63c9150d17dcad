"""What a card asks of each stage: its optimizers, updates, sizes and learning rates, and how many runs that makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from synthbench.cards import RunnerCard, StageCard
from synthbench.cards.runner import VariantCard
from synthbench.experiment.runs import Cell
from synthbench.generators import Task
from synthbench.trainer.optimizers import OPTIMIZERS


class StageSettings(NamedTuple):
    """A stage's settings for one task and optimizer. lr_factor: what the rates of its grid are multiplied by."""

    steps: int
    weight_decay: Sequence[float]
    sizes: Sequence[float]
    lr_factor: float


def settings(stage: StageCard, task: str, optimizer: str) -> StageSettings:
    """A stage's settings, with what its table `for` says of a task, an optimizer (the registered one) or both."""
    steps, decay, sizes, factor = stage.steps, stage.weight_decay, stage.sizes, 1.0
    keys = (task, optimizer, f"{task}/{optimizer}")
    for override in (stage.overrides[key] for key in keys if key in stage.overrides):
        steps = override.steps or steps
        decay = override.weight_decay if override.weight_decay is not None else decay
        sizes = override.sizes or sizes
        factor *= override.lr_factor
    return StageSettings(steps, decay if isinstance(decay, list) else [decay], sizes, factor)


def every_optimizer(card: RunnerCard) -> list[str]:
    """Every optimizer that some stage runs, by its name on the card."""
    crossed = [name for stage in card.stages if stage.optimizer != "same" for name in stage.optimizer]
    return list(dict.fromkeys([*card.optimizers, *map(card.root, card.optimizers), *crossed]))


def optimizers_after(card: RunnerCard, stage: StageCard, base: Sequence[str]) -> list[str]:
    """The optimizers that a stage runs after those of the stages before it (base). Variants that share what their
    optimizer pretrained appear in the last stage."""
    if stage.optimizer != "same":
        return list(stage.optimizer)
    if stage is card.stages[-1]:
        names = [name for name in card.optimizers if not base or card.root(name) == base[-1]]
        # a variant with a share of a tuned rate waits for that rate
        return sorted(names, key=lambda name: name in card.variants and card.variants[name].of_tuned is not None)
    return list(base[-1:]) or list(dict.fromkeys(map(card.root, card.optimizers)))


def variant_in(card: RunnerCard, stage: StageCard, optimizer: str) -> VariantCard | None:
    """The variant of this name where the stage is the last one, in which alone its rates and updates count."""
    return card.variants.get(optimizer) if stage is card.stages[-1] else None


def updates(card: RunnerCard, stage: StageCard, task: str, optimizer: str) -> list[tuple[str, float]]:
    """The updates of a stage for an optimizer, each with a size: the first size with every update, and the other sizes
    with the first update (of a variant only the first size)."""
    variant = variant_in(card, stage, optimizer)
    allowed = variant.update if variant and variant.update else stage.update
    first, *others = settings(stage, task, card.optimizer_of(optimizer)).sizes
    crossed = [] if optimizer in card.variants else [(allowed[0], size) for size in others]
    return [*((update, first) for update in allowed), *crossed]


def grid(card: RunnerCard, stage: StageCard, optimizer: str, update: str) -> list[float]:
    """The learning rates of a stage for one optimizer and update."""
    variant = variant_in(card, stage, optimizer)
    if variant and variant.lr:
        return list(variant.lr)
    name = card.optimizer_of(optimizer)
    if isinstance(stage.lr, dict) and name not in stage.lr:
        return list(OPTIMIZERS[name].grid)
    rates: Any = stage.lr[name] if isinstance(stage.lr, dict) else stage.lr
    if isinstance(rates, dict):
        rates = rates[update if update in rates else kind_of(update)]
    return list(rates)


def rates_of(card: RunnerCard, stage: StageCard, task: str, cell: Cell) -> list[float]:
    """The learning rates of a cell: its grid, times the factors of its task and optimizer; a variant's as they are."""
    variant, rates = variant_in(card, stage, cell.optimizer), grid(card, stage, cell.optimizer, cell.update)
    factor = settings(stage, task, card.optimizer_of(cell.optimizer)).lr_factor
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


def count(card: RunnerCard, tasks: Sequence[str]) -> int:
    """How many runs a card asks for, without planning them or extending grids; variants of a task count apart."""
    return sum(_count(card, task) for task in tasks) * len(card.seed_list)


def _count(card: RunnerCard, task: str) -> int:
    """The runs of one task and seed."""
    runs, starts = 0, Counter[tuple[str, ...]]([()])  # ways to arrive at a stage, by the optimizer of the stage before
    for stage in card.stages:
        cells = Counter[tuple[str, ...]]()
        for before, ways in starts.items():
            for name in optimizers_after(card, stage, before):
                crossed = ways * len(settings(stage, task, card.optimizer_of(name)).weight_decay)
                of_stage = updates(card, stage, task, name)
                cells[name,] += crossed * len(of_stage)
                runs += crossed * sum(len(grid(card, stage, name, update)) for update, _ in of_stage)
        starts = cells
    return runs


def described(card: RunnerCard, tasks: Mapping[str, Task]) -> dict[str, list[str]]:
    """By stage a line for each optimizer and update: the learning rates to be tried, by task where tasks differ."""
    lines: dict[str, list[str]] = {}
    before: list[tuple[str, ...]] = [()]
    for stage in card.stages:
        names = dict.fromkeys(name for base in before for name in optimizers_after(card, stage, base))
        lines[stage.name] = [line for name in names for line in _of_optimizer(card, tasks, stage, name)]
        if stage.extend:
            lines[stage.name].append(f"and up to {stage.extend} more beyond the edge of a grid, where that is chosen")
        before = [(name,) for name in names]
    return lines


def _of_optimizer(card: RunnerCard, tasks: Mapping[str, Task], stage: StageCard, optimizer: str) -> Iterator[str]:
    names = {label: task.card.name for label, task in tasks.items()}
    every_update = (update for name in names.values() for update, _ in updates(card, stage, name, optimizer))
    for update in dict.fromkeys(every_update):
        by_rates: dict[str, list[str]] = {}
        for label, name in names.items():
            cell = Cell(label, stage.name, (), optimizer, update, 0.0)
            by_rates.setdefault(_rates(card, stage, name, cell), []).append(label)
        parts = (f"{rates} ({', '.join(of)})" if len(by_rates) > 1 else rates for rates, of in by_rates.items())
        yield f"{optimizer}, {update}: lr {'; '.join(parts)}"


def _rates(card: RunnerCard, stage: StageCard, task: str, cell: Cell) -> str:
    variant = variant_in(card, stage, cell.optimizer)
    if variant and variant.of_tuned:
        return f"{variant.of_tuned:g} times the rate chosen for {variant.of}"
    return ", ".join(f"{rate:.6g}" for rate in sorted(rates_of(card, stage, task, cell)))
