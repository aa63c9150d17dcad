"""What a runner's card must hold to beside its form: names that exist, sizes that can be drawn, rates for every optimizer.

Each raises BadInput with one sentence for the first thing that is wrong. origin: where the card came from, in words.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping

from synthbench import cards
from synthbench.cards import MODELS, RunnerCard, StageCard, TaskCard
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, shown
from synthbench.experiment.grids import every_optimizer, kind_of, scaled, sized, updates
from synthbench.experiment.grids import settings as training
from synthbench.generators import SLICES, Task, by_slice
from synthbench.scores import SCORES
from synthbench.trainer import layout as layouts
from synthbench.trainer import low_rank as lora
from synthbench.trainer.optimizers import OPTIMIZERS


def names(card: RunnerCard, tasks: Collection[str], origin: str) -> None:
    """Models, scores, optimizers and variants that the card names. tasks: those of the experiment by their labels."""
    if card.model not in MODELS and isinstance(card.model, str):
        raise BadInput(f"{origin}: unknown model {shown(card.model)}{did_you_mean(card.model, MODELS)}.")
    for name in card.columns:
        if name not in SCORES:
            raise BadInput(f"{origin}: unknown score {shown(name)} in columns{did_you_mean(name, SCORES)}.")
    _ranking(card, origin)
    _claims(card, {*cards.names(TaskCard), *tasks}, origin)
    for name in card.arguments:
        if name not in OPTIMIZERS:
            raise BadInput(f"{origin}: arguments: unknown optimizer {shown(name)}{did_you_mean(name, OPTIMIZERS)}.")
    _arms(card, origin)


def stages(card: RunnerCard, tasks: Mapping[str, Task], origin: str) -> None:
    """Every stage for every task: slices, sizes, updates, learning rates."""
    known = {*cards.names(TaskCard), *(task.card.name for task in tasks.values())}
    trained = [stage.name for stage in card.stages]
    for label, task in tasks.items():
        if left := [name for name in task.card.stages if name not in trained]:
            print(f"synthbench: task {label}: {origin} trains no stage {' or '.join(left)}.", file=sys.stderr)
    for position, stage in enumerate(card.stages):
        for task in tasks.values():
            _stage(stage, card, task, origin)
            _updates(stage, card, task, position + 1 == len(card.stages), origin)
        _grids(stage, card, known, origin)


def _ranking(card: RunnerCard, origin: str) -> None:
    ranking = [name for name, score in SCORES.items() if score.better != "-"]
    if card.tier is not None and card.tier not in ranking:
        hint = did_you_mean(card.tier, ranking)
        raise BadInput(f"{origin}: tier = {shown(card.tier)} is not a score with a direction{hint}.")
    units = sorted({score.unit for score in SCORES.values()})
    for unit in card.margins:
        if unit not in units:
            raise BadInput(f"{origin}: margins: unknown unit {shown(unit)}{did_you_mean(unit, units)}.")


def _claims(card: RunnerCard, tasks: Collection[str], origin: str) -> None:
    known = {*OPTIMIZERS, *card.variants}
    for place, claim in enumerate(card.claims):
        where = f"{origin}: claims.{place}"
        if claim.score not in SCORES:
            raise BadInput(f"{where}.score: unknown score {shown(claim.score)}{did_you_mean(claim.score, SCORES)}.")
        if claim.rows == claim.than:
            raise BadInput(f"{where}: its rows are compared with themselves; `rows` and `than` must differ.")
        for key, name in (("rows", claim.rows.optimizer), ("than", claim.than.optimizer)):
            if name not in known:
                raise BadInput(f"{where}.{key}: unknown optimizer {shown(name)}{did_you_mean(name, known)}.")
        for name in claim.tasks or ():
            if name not in tasks:
                raise BadInput(f"{where}.tasks: unknown task {shown(name)}{did_you_mean(name, tasks)}.")


def _arms(card: RunnerCard, origin: str) -> None:
    for name, variant in card.variants.items():
        if name in OPTIMIZERS:
            raise BadInput(f"{origin}: variants.{name} has the name of an optimizer; give it another one.")
        if variant.of not in OPTIMIZERS:
            raise BadInput(
                f"{origin}: variants.{name}.of: unknown optimizer {shown(variant.of)}{did_you_mean(variant.of, OPTIMIZERS)}."
            )
        if variant.of_tuned and name in card.optimizers and variant.of not in card.optimizers:
            raise BadInput(
                f"{origin}: variants.{name} has a share of the rate that is chosen for {variant.of}: run {variant.of}, too."
            )
        updates_of = card.stages[-1].update
        if variant.of_tuned and (card.root(name) != variant.of or not set(variant.update or ()) <= set(updates_of)):
            raise BadInput(
                f"{origin}: variants.{name} has a share of the rate that is chosen for {variant.of}, so its base must be "
                f"{variant.of} and its updates some of {', '.join(updates_of)}."
            )
        if variant.base and variant.base not in (allowed := [*OPTIMIZERS, *card.variants]):
            raise BadInput(
                f"{origin}: variants.{name}.base: unknown optimizer {shown(variant.base)}{did_you_mean(variant.base, allowed)}."
            )


def _stage(stage: StageCard, card: RunnerCard, task: Task, origin: str) -> None:
    if stage.name not in task.card.stages:
        raise BadInput(
            f"{origin}: stage {shown(stage.name)} is not one of task {task.card.name}"
            f"{did_you_mean(stage.name, task.card.stages)}."
        )
    slices = task.card.stages[stage.name]
    for name in stage.examples:
        if name not in slices:
            raise BadInput(
                f"{origin}: stages.{stage.name}.examples has no slice {shown(name)}{did_you_mean(name, slices)}."
            )
    task.shares(stage.name, stage.batch)
    drawn = {name: by_slice(splits.train) for name, splits in task.draw(stage.name, 0).items()}
    several = [name for name in SLICES if sum(name in part for part in drawn.values()) > 1]
    if several:  # they would be observed as one
        parts = [name for name, part in drawn.items() if several[0] in part]
        where = f"Task {task.card.name}: stages.{stage.name}"
        raise BadInput(
            f"{where}: {' and '.join(parts)} have items of the slice {several[0]}; a stage may have each slice once."
        )
    own = [
        training(stage, task.card.name, registered)
        for registered in dict.fromkeys(map(card.optimizer_of, every_optimizer(card)))
    ]
    for size in dict.fromkeys(size for one in own for size in one.sizes):
        task.check_sizes(stage.name, sized(task, stage, size))
    if stage.points > (fewest := min(scaled(one.steps, min(one.sizes)) for one in own)):
        raise BadInput(f"{origin}: stages.{stage.name}.points = {stage.points} must be at most its steps, {fewest}.")


def _updates(stage: StageCard, card: RunnerCard, task: Task, is_last: bool, origin: str) -> None:
    layout = layouts.transformer(card.shape, task.language.vocabulary, task.language.length - 1)
    of_arms = [update for variant in card.variants.values() for update in variant.update or ()] if is_last else []
    for update in dict.fromkeys([*stage.update, *of_arms]):
        if update.startswith("lora-"):
            lora.adapters(layout, int(update.removeprefix("lora-")))
            if not is_last:
                raise BadInput(
                    f"{origin}: stages.{stage.name}.update = {shown(update)}: only the last stage may be low rank."
                )
        elif update == "full-hidden" and not is_last:
            raise BadInput(
                f"{origin}: stages.{stage.name}.update = {shown(update)}: only the last stage may be partial."
            )
    decays = stage.weight_decay if isinstance(stage.weight_decay, list) else []
    if not is_last and max(len(stage.update), len(stage.sizes), len(decays)) > 1:
        raise BadInput(f"{origin}: stages.{stage.name}: only the last stage may cross updates, decays or sizes.")


def _grids(stage: StageCard, card: RunnerCard, tasks: Collection[str], origin: str) -> None:
    for name in stage.overrides:
        task, slash, optimizer = name.rpartition("/")
        known = {*OPTIMIZERS, *([] if slash else tasks)}
        if optimizer not in known or (slash and task not in tasks):
            raise BadInput(
                f"{origin}: stages.{stage.name}.for: unknown task or optimizer {shown(name)}"
                f"{did_you_mean(name, [*OPTIMIZERS, *tasks])}."
            )
    if not isinstance(stage.lr, dict):
        return
    for name in stage.lr:
        if name not in OPTIMIZERS:
            raise BadInput(
                f"{origin}: stages.{stage.name}.lr: unknown optimizer {shown(name)}{did_you_mean(name, OPTIMIZERS)}."
            )
    is_last = stage is card.stages[-1]
    same = card.optimizers if is_last else map(card.root, card.optimizers)
    for optimizer in same if stage.optimizer == "same" else stage.optimizer:
        name, variant = card.optimizer_of(optimizer), card.variants.get(optimizer)
        if variant and variant.lr and is_last:
            continue
        if name not in stage.lr and OPTIMIZERS[name].grid:
            continue
        if name not in stage.lr:
            raise BadInput(
                f"{origin}: stages.{stage.name}.lr has no learning rates for {name}; it has {', '.join(stage.lr)}."
            )
        rates = stage.lr[name]
        if isinstance(rates, dict):
            for update, _ in updates(card, stage, "", optimizer):
                if not {update, kind := kind_of(update)} & set(rates):
                    raise BadInput(f"{origin}: stages.{stage.name}.lr.{name} has no learning rates for {kind} updates.")
