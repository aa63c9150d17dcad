"""From what a person asked for to an experiment: a card with its options applied and everything in it checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from synthbench import cards, files, overrides, plugins
from synthbench.cards import MODELS, RunnerCard, StageCard, TaskCard, fingerprint
from synthbench.errors import BadInput
from synthbench.experiment import identity
from synthbench.experiment.plan import Experiment, grid, kind_of, optimizers, scaled, sized, updates
from synthbench.experiment.plan import settings as training
from synthbench.experiment.runs import Environment, RuleSpec
from synthbench.generators import SLICES, Task, by_slice
from synthbench.plugins import entry_points, generators
from synthbench.scores import SCORES
from synthbench.trainer import layout as layouts
from synthbench.trainer import low_rank as lora
from synthbench.trainer.rules import OPTIMIZERS, source_hash
from synthbench.validation import message
from synthbench.wording import did_you_mean, listed, named, shown

MOST_RUNS = 10_000  # of an experiment: what can be planned in some seconds


@dataclass(frozen=True)
class Asked:
    """What the command line says; None and empty mean: as the card has it. runner: a name or a path."""

    runner: str = "quick"
    optimizers: Sequence[str] | None = None
    tasks: Sequence[str] | None = None
    updates: Sequence[str] | None = None
    lr: Sequence[float] | None = None
    weight_decay: Sequence[float] | None = None
    seeds: int | Sequence[int] | None = None
    settings: Sequence[str] = ()
    device: str = "auto"


def resolve(asked: Asked) -> Experiment:
    """The experiment that was asked for; raises BadInput with one sentence for the first thing that is wrong."""
    _check_axes(asked)
    card, origin = runner(asked)
    device = identity.device_kind(asked.device)
    found = generators.tasks(card.tasks)
    tasks = {task.card.label: task for task in found}
    if len(tasks) < len(found):
        raise BadInput(f"{origin}: two of its tasks have the same name: {listed(task.card.label for task in found)}.")
    if card.model not in MODELS and isinstance(card.model, str):
        raise BadInput(f"{origin}: unknown model {shown(card.model)}{did_you_mean(card.model, MODELS)}.")
    for name in card.columns:
        if name not in SCORES:
            raise BadInput(f"{origin}: unknown score {shown(name)} in columns{did_you_mean(name, SCORES)}.")
    _check_ranking(card, origin)
    _check_claims(card, {*cards.names(TaskCard), *tasks}, origin)
    for name in card.arguments:
        if name not in OPTIMIZERS:
            raise BadInput(f"{origin}: arguments: unknown optimizer {shown(name)}{did_you_mean(name, OPTIMIZERS)}.")
    _check_arms(card, origin)
    rules = {name: _rule(name, card, origin) for name in _optimizers(card)}
    for position, stage in enumerate(card.stages):
        for task in tasks.values():
            _check_stage(stage, card, task, origin)
            _check_updates(stage, card, task, position + 1 == len(card.stages), origin)
        _check_grids(stage, card, {*cards.names(TaskCard), *(task.card.name for task in found)}, origin)
    if (runs := count(card, [task.card.name for task in found])) > MOST_RUNS:
        raise BadInput(
            f"{origin}: {runs} runs are planned; at most {MOST_RUNS} are allowed, so give fewer seeds or rates."
        )
    _try([spec for spec in rules.values() if spec.name in plugins.TAKEN], card, found[0])
    environment = Environment(identity.training_source(), identity.torch_minor(), device)
    return Experiment(card, tasks, rules, environment)


AXES: dict[str, TypeAdapter[Any]] = {
    "--update": TypeAdapter(list[cards.Update]), "--lr": TypeAdapter(cards.Grid),
    "--weight-decay": TypeAdapter(cards.Decays), "--seeds": TypeAdapter(cards.Seeds),
}  # fmt: skip


def _check_axes(asked: Asked) -> None:
    """Raises BadInput that names the option whose value is not allowed."""
    given = (asked.updates, asked.lr, asked.weight_decay, asked.seeds)
    for (option, kind), value in zip(AXES.items(), given, strict=True):
        try:
            kind.validate_python(list(value) if isinstance(value, Sequence) else value) if value is not None else None
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{option} {shown(first['input'])}: {message(first['msg'])}.") from None


def runner(asked: Asked) -> tuple[RunnerCard, str]:
    """The runner's card with scale, settings and axes applied, and where it came from."""
    path = cards.locate(RunnerCard, asked.runner)
    content, origin = files.toml(path), named(path)
    written = cards.parse(RunnerCard, content, origin)
    content["tasks"] = [_beside(path, name) for name in written.tasks]
    settings = [overrides.parse(setting) for setting in asked.settings]
    for where, scale in settings:
        if where == ["scale"]:
            if scale not in list(written.scales):
                hint = did_you_mean(scale, written.scales)
                raise BadInput(f"--set scale={shown(scale)}: {origin} has no such scale{hint}.")
            for name, new in written.scales[scale].items():
                overrides.put(content, name.split("."), new, origin)
            cards.parse(RunnerCard, content, f"{origin} with scale {scale}")
    _apply_axes(content, asked)
    place = path if asked.optimizers is None else None
    content["optimizers"] = [name if name in written.arms else _taken(name, place) for name in content["optimizers"]]
    arguments = [(where[1], new) for where, new in settings if where[0] == "optimizer" and len(where) == 2]
    for where, new in settings:
        if where not in (["scale"], ["routing"]) and not (where[0] == "optimizer" and len(where) == 2):
            overrides.put(content, where, new, "--set")
    changed = origin if not settings else f"{origin} with --set"
    card = cards.parse(RunnerCard, content, changed)
    run = list(dict.fromkeys(map(card.rule_of, _optimizers(card))))
    for name, (argument, new) in product(run, arguments):
        overrides.put(content, ["arguments", name, argument], new, origin)
    for routing in [new for where, new in settings if where == ["routing"]]:
        theirs = [name for name in run if name in plugins.TAKEN]
        if not theirs:
            raise BadInput(
                f"--set routing={shown(routing)} is for plug-ins; {listed(run)} have the routing that `synthbench show "
                "optimizer` prints."
            )
        for name in theirs:
            overrides.put(content, ["arguments", name, "routing"], routing, origin)
    card = cards.parse(RunnerCard, content, changed)
    names = [stage.name for stage in card.stages]
    if len(set(names)) < len(names):
        raise BadInput(f"{origin}: two stages have the same name; they are {', '.join(names)}.")
    return card, origin


def _taken(name: str, card: Path | None) -> str:
    """An optimizer's name in tables: a person's own is loaded. card: where its path is read from, if it stands there."""
    said = "--optimizer" if card is None else f"{named(card)}: optimizer"
    if not plugins.is_plugin(name) and name in OPTIMIZERS:
        return name
    place = name if plugins.is_plugin(name) else entry_points.find(entry_points.RULES, name, said)
    if place is None:
        return name  # unknown: said where all that is known is known
    if card is not None:
        if name.rpartition(":")[0].endswith(".py"):
            name = place = str(card.parent / name)
        generators.announce(card, place)
    return plugins.take(name, said).label


def _beside(runner: Path, task: str) -> str:
    """A task as a runner's card names it: paths are read from the card's own folder."""
    return str(runner.parent / task) if cards.is_path(task) else task


def _apply_axes(content: dict[str, Any], asked: Asked) -> None:
    """`--optimizer`, `--task` and `--seeds` are the runner's; `--update`, `--lr`, `--weight-decay` its last stage's."""
    for key, new in (("optimizers", asked.optimizers), ("tasks", asked.tasks), ("seeds", asked.seeds)):
        if new is not None:
            content[key] = list(new) if not isinstance(new, int) else new
    last = content["stages"][-1]
    if asked.lr is not None:
        last.pop("extend", None)  # a grid of one's own is searched as it is
        for own in last.get("for", {}).values():
            own.pop("lr_factor", None)
    for key, values in (("update", asked.updates), ("lr", asked.lr), ("weight_decay", asked.weight_decay)):
        if values is not None:
            last[key] = list(values)
    if asked.weight_decay is not None:
        for own in last.get("for", {}).values():
            own.pop("weight_decay", None)


def experiment_id(experiment: Experiment) -> str:
    """What rows must share to stand in one table: card, tasks, device kind and code."""
    environment = experiment.environment
    tasks = {name: task.fingerprint for name, task in experiment.tasks.items()}
    return fingerprint(
        [experiment.card.fingerprint(), tasks, environment.device, environment.source, environment.torch]
    )


def count(card: RunnerCard, tasks: Sequence[str]) -> int:
    """How many runs a card means, without planning them or extending grids; variants of a task counted apart."""
    return sum(_count(card, task) for task in tasks) * len(card.seed_list)


def _count(card: RunnerCard, task: str) -> int:
    """The same for one task and seed."""
    runs, starts = 0, Counter[tuple[str, ...]]([()])  # ways to arrive at a stage, by the optimizer of the stage before
    for position, stage in enumerate(card.stages):
        cells = Counter[tuple[str, ...]]()
        for before, ways in starts.items():
            for name in optimizers(card, position, before):
                crossed = ways * len(training(stage, task, card.rule_of(name)).weight_decay)
                own = updates(card, stage, task, name)
                cells[name,] += crossed * len(own)
                runs += crossed * sum(len(grid(card, stage, name, update)) for update, _ in own)
        starts = cells
    return runs


def _optimizers(card: RunnerCard) -> list[str]:
    """Every optimizer that some stage runs."""
    crossed = [name for stage in card.stages if stage.optimizer != "same" for name in stage.optimizer]
    return list(dict.fromkeys([*card.optimizers, *map(card.root, card.optimizers), *crossed]))


def _check_ranking(card: RunnerCard, origin: str) -> None:
    ranking = [name for name, score in SCORES.items() if score.better != "-"]
    if card.tier is not None and card.tier not in ranking:
        hint = did_you_mean(card.tier, ranking)
        raise BadInput(f"{origin}: tier = {shown(card.tier)} is not a score with a direction{hint}.")
    units = sorted({score.unit for score in SCORES.values()})
    for unit in card.margins:
        if unit not in units:
            raise BadInput(f"{origin}: margins: unknown unit {shown(unit)}{did_you_mean(unit, units)}.")


def _check_claims(card: RunnerCard, tasks: Collection[str], origin: str) -> None:
    known = {*OPTIMIZERS, *card.arms}
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


def _check_arms(card: RunnerCard, origin: str) -> None:
    for name, arm in card.arms.items():
        if name in OPTIMIZERS:
            raise BadInput(f"{origin}: arms.{name} has the name of an optimizer; give it another one.")
        if arm.of not in OPTIMIZERS:
            raise BadInput(
                f"{origin}: arms.{name}.of: unknown optimizer {shown(arm.of)}{did_you_mean(arm.of, OPTIMIZERS)}."
            )
        if arm.of_tuned and name in card.optimizers and arm.of not in card.optimizers:
            raise BadInput(
                f"{origin}: arms.{name} has a share of the rate that is chosen for {arm.of}: run {arm.of}, too."
            )
        updates_of = card.stages[-1].update
        if arm.of_tuned and (card.root(name) != arm.of or not set(arm.update or ()) <= set(updates_of)):
            raise BadInput(
                f"{origin}: arms.{name} has a share of the rate that is chosen for {arm.of}, so its base must be "
                f"{arm.of} and its updates some of {', '.join(updates_of)}."
            )
        if arm.base and arm.base not in (allowed := [*OPTIMIZERS, *card.arms]):
            raise BadInput(
                f"{origin}: arms.{name}.base: unknown optimizer {shown(arm.base)}{did_you_mean(arm.base, allowed)}."
            )


def _rule(name: str, card: RunnerCard, origin: str) -> RuleSpec:
    """What a name of an optimizer or of an arm means."""
    rule = card.rule_of(name)
    if rule not in OPTIMIZERS:
        raise BadInput(f"Unknown optimizer {shown(name)}{did_you_mean(name, [*OPTIMIZERS, *card.arms])}.")
    optimizer, own = OPTIMIZERS[rule], card.arms[name].arguments if name in card.arms else {}
    try:
        arguments = optimizer.arguments.model_validate(card.arguments.get(rule, {}) | own)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise BadInput(f"{origin}: {message(first['msg'])}.") from None
        key = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            allowed = optimizer.arguments.model_fields
            raise BadInput(f"{origin}: {name} has no argument {shown(key)}{did_you_mean(key, allowed)}.") from None
        said = message(first["msg"])
        place = f"arms.{name}.arguments" if key in own else f"arguments.{rule}"
        raise BadInput(f"{origin}: {place}.{key} = {shown(first['input'])}: {said}.") from None
    return spec_of(rule, arguments)


def spec_of(rule: str, arguments: cards.Card) -> RuleSpec:
    """What a registered optimizer is with these arguments, in a run's identity."""
    given = arguments.model_dump(mode="json")
    source = plugins.TAKEN[rule].source if rule in plugins.TAKEN else source_hash(rule)
    return RuleSpec(rule, plugins.routing_of(rule, given), given, source)


def _check_stage(stage: StageCard, card: RunnerCard, task: Task, origin: str) -> None:
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
    own = [training(stage, task.card.name, rule) for rule in dict.fromkeys(map(card.rule_of, _optimizers(card)))]
    for size in dict.fromkeys(size for one in own for size in one.sizes):
        task.check_sizes(stage.name, sized(task, stage, size))
    if stage.points > (fewest := min(scaled(one.steps, min(one.sizes)) for one in own)):
        raise BadInput(f"{origin}: stages.{stage.name}.points = {stage.points} must be at most its steps, {fewest}.")


def _check_updates(stage: StageCard, card: RunnerCard, task: Task, is_last: bool, origin: str) -> None:
    layout = layouts.transformer(card.shape, task.language.vocabulary, task.language.length - 1)
    of_arms = [update for arm in card.arms.values() for update in arm.update or ()] if is_last else []
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


def _try(specs: Sequence[RuleSpec], card: RunnerCard, task: Task) -> None:
    """Raises BadInput where a plug-in cannot move what it will be given; says which settings plug-ins changed."""
    from synthbench.plugins.trial import check

    layout = layouts.transformer(card.shape, task.language.vocabulary, task.language.length - 1)
    changed: dict[str, list[str]] = {spec.name: [] for spec in specs}
    for spec in {spec.fingerprint: spec for spec in specs}.values():
        arguments, made_by = (
            OPTIMIZERS[spec.name].arguments.model_validate(spec.arguments),
            plugins.TAKEN[spec.name].made_by,
        )
        for update in dict.fromkeys(update for stage in card.stages for update in stage.update):
            said = f"--optimizer {spec.name}"
            changed[spec.name] += check(spec.name, spec.routing, trainable(layout, update), arguments, made_by, said)
    for name, settings in changed.items():
        plugins.put_back(name, settings)


def trainable(layout: layouts.Layout, update: str) -> layouts.Layout:
    """The parameters that an update moves."""
    if update.startswith("lora-"):
        return lora.adapters(layout, int(update.removeprefix("lora-")))
    return layouts.hidden(layout) if update == "full-hidden" else layout


def _check_grids(stage: StageCard, card: RunnerCard, tasks: Collection[str], origin: str) -> None:
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
        name, arm = card.rule_of(optimizer), card.arms.get(optimizer)
        if arm and arm.lr and is_last:
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
