"""What a runner's card must hold to beside its form: names that exist, sizes that can be drawn, rates for every optimizer.

Each check raises BadInput with one sentence for the first thing that is wrong. origin: where the card came from, in words.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping

from synthbench import cards
from synthbench.cards import MODELS, RunnerCard, StageCard, TaskCard
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, shown
from synthbench.common.wording import known as _known
from synthbench.experiment import claims, grids
from synthbench.experiment.optimizers import trainable
from synthbench.generators import SLICES, Task, by_slice
from synthbench.scores import SCORES
from synthbench.trainer import layout as layouts
from synthbench.trainer.optimizers import OPTIMIZERS


def names(card: RunnerCard, tasks: Collection[str], origin: str) -> None:
    """Models, scores, optimizers and variants that the card names. tasks: those of the experiment by their labels."""
    if isinstance(card.model, str):
        _known(origin, "model", card.model, MODELS)
    for name in card.columns:
        _known(f"{origin}: columns", "score", name, SCORES)
    along = [name for name, score in SCORES.items() if score.level == "point" and score.is_along]
    _known(f"{origin}: reading.fit_of", "score along a path", card.reading.fit_of, along)
    directed = [name for name, score in SCORES.items() if score.better != "-"]
    if card.rank is not None and card.rank not in directed:
        hint = did_you_mean(card.rank, directed)
        raise BadInput(f"{origin}: rank = {shown(card.rank)} is not a score with a direction{hint}.")
    for unit in card.margins:
        _known(f"{origin}: margins", "unit", unit, sorted({score.unit for score in SCORES.values()}))
    claims.check(card, {*cards.names(TaskCard), *tasks}, origin)
    for name in card.arguments:
        _known(f"{origin}: arguments", "optimizer", name, OPTIMIZERS)
    for name in card.variants:
        _variant(name, card, f"{origin}: variants.{name}")
    for index, axis in enumerate(card.axes):
        for name in axis.tasks or ():
            _known(f"{origin}: axes.{index}.tasks", "task", name, {*cards.names(TaskCard), *tasks})
        for name in axis.optimizers or ():
            _known(f"{origin}: axes.{index}.optimizers", "optimizer", name, {*OPTIMIZERS, *card.variants})


def untrained(card: RunnerCard, tasks: Mapping[str, Task], origin: str) -> None:
    """Says on standard error which stages of a task the card does not train."""
    trained = [stage.name for stage in card.stages]
    for label, task in tasks.items():
        if left := [name for name in task.card.stages if name not in trained]:
            print(f"synthbench: task {label}: {origin} trains no stage {' or '.join(left)}.", file=sys.stderr)


def stages(card: RunnerCard, tasks: Mapping[str, Task], origin: str) -> None:
    """Every stage for every task: slices, sizes, updates, learning rates."""
    known = {*cards.names(TaskCard), *(task.card.name for task in tasks.values())}
    for stage in card.stages:
        where = f"{origin}: stages.{stage.name}"
        for task in tasks.values():
            _stage(stage, card, task, origin, where)
            _updates(stage, card, task, where)
        _grids(stage, card, known, where)


def _variant(name: str, card: RunnerCard, where: str) -> None:
    variant = card.variants[name]
    if name in OPTIMIZERS:
        raise BadInput(f"{where} has the name of an optimizer; give it another one.")
    _known(f"{where}.of", "optimizer", variant.of, OPTIMIZERS)
    share = f"{where} has a share of the rate that is chosen for {variant.of}"
    if variant.of_tuned and name in card.optimizers and variant.of not in card.optimizers:
        raise BadInput(f"{share}: run {variant.of}, too.")
    allowed = card.stages[-1].update
    if variant.of_tuned and (card.root(name) != variant.of or not set(variant.update or ()) <= set(allowed)):
        raise BadInput(f"{share}, so its base must be {variant.of} and its updates some of {', '.join(allowed)}.")
    if variant.base:
        _known(f"{where}.base", "optimizer", variant.base, [*OPTIMIZERS, *card.variants])


def _stage(stage: StageCard, card: RunnerCard, task: Task, origin: str, where: str) -> None:
    if stage.name not in task.card.stages:
        hint = did_you_mean(stage.name, task.card.stages)
        raise BadInput(f"{origin}: stage {shown(stage.name)} is not one of task {task.card.name}{hint}.")
    slices = task.card.stages[stage.name]
    for name in stage.examples:
        _known(f"{where}.examples", "slice", name, slices)
    task.shares(stage.name, stage.batch)
    drawn = {name: by_slice(splits.train) for name, splits in task.draw(stage.name, 0).items()}
    several = [name for name in SLICES if sum(name in part for part in drawn.values()) > 1]
    if several:  # they would be observed as one
        parts = [name for name, part in drawn.items() if several[0] in part]
        raise BadInput(
            f"Task {task.card.name}: stages.{stage.name}: {' and '.join(parts)} have items of the slice {several[0]}; a "
            "stage may have each slice once."
        )
    each = [grids.settings(card, stage, task.card.name, name) for name in grids.every_optimizer(card)]
    for size in dict.fromkeys(of_stage.size for of_stage in each):
        task.check_sizes(stage.name, grids.sized(task, stage, size))
    if stage.points > (fewest := min(grids.scaled(of_stage.steps, of_stage.size) for of_stage in each)):
        raise BadInput(f"{where}.points = {stage.points} must be at most its steps, {fewest}.")


def _updates(stage: StageCard, card: RunnerCard, task: Task, where: str) -> None:
    is_last = stage is card.stages[-1]
    layout = layouts.transformer(card.shape, task.language.vocabulary, task.language.length - 1)
    of_variants = [variant.update or [] for variant in card.variants.values() if is_last]
    others = [*of_variants, *(override.update or [] for override in stage.overrides.values())]
    for update in dict.fromkeys([*stage.update, *(update for updates in others for update in updates)]):
        trainable(layout, update)
        if update != "full" and not is_last:
            kind = "low rank" if update.startswith("lora-") else "partial"
            raise BadInput(f"{where}.update = {shown(update)}: only the last stage may be {kind}.")
    if stage.remedy.given and any(update != "full" for update in stage.update):
        raise BadInput(f"{where}.remedy: {' and '.join(stage.remedy.given)} act on full updates; leave the others out.")
    if not is_last and len(stage.update) > 1:
        raise BadInput(f"{where}: only the last stage may cross updates.")


def _grids(stage: StageCard, card: RunnerCard, tasks: Collection[str], where: str) -> None:
    for name in stage.overrides:
        task, slash, optimizer = name.rpartition("/")
        if optimizer not in {*OPTIMIZERS, *card.variants, *([] if slash else tasks)} or (slash and task not in tasks):
            hint = did_you_mean(name, [*OPTIMIZERS, *card.variants, *tasks])
            raise BadInput(f"{where}.for: unknown task or optimizer {shown(name)}{hint}.")
        if name in tasks and stage.overrides[name].optimizer:
            raise BadInput(f"{where}.for.{name}.optimizer: other optimizers follow one: name it, for.{name}/OPTIMIZER.")
    if not isinstance(stage.lr, dict):
        return
    for name in stage.lr:
        _known(f"{where}.lr", "optimizer", name, OPTIMIZERS)
    for name in grids.optimizers_after(card, stage, ()):
        optimizer, variant = card.optimizer_of(name), grids.variant_in(card, stage, name)
        if (variant and variant.lr) or (optimizer not in stage.lr and OPTIMIZERS[optimizer].grid):
            continue
        if optimizer not in stage.lr:
            raise BadInput(f"{where}.lr has no learning rates for {optimizer}; it has {', '.join(stage.lr)}.")
        rates = stage.lr[optimizer]
        for update in grids.updates(card, stage, "", name) if isinstance(rates, dict) else ():
            if not {update, kind := grids.kind_of(update)} & set(rates):
                raise BadInput(f"{where}.lr.{optimizer} has no learning rates for {kind} updates.")
