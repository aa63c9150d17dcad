"""From what a person asked for to an experiment: a card with its options applied and everything in it checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from synthbench import cards, plugins
from synthbench.cards import RunnerCard, fingerprint
from synthbench.common import files, overrides
from synthbench.common.errors import BadInput
from synthbench.common.validation import message
from synthbench.common.wording import did_you_mean, listed, named, shown
from synthbench.experiment import checks, identity, labels
from synthbench.experiment.optimizers import every_optimizer, spec, try_plugins
from synthbench.experiment.plan import Experiment, grid, optimizers, updates
from synthbench.experiment.plan import settings as training
from synthbench.experiment.runs import Environment
from synthbench.plugins import entry_points, generators
from synthbench.trainer.optimizers import OPTIMIZERS

MOST_RUNS = 10_000  # of an experiment: what can be planned in some seconds


@dataclass(frozen=True)
class RunRequest:
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


def resolve(asked: RunRequest) -> Experiment:
    """The experiment that was asked for; raises BadInput with one sentence for the first thing that is wrong."""
    _check_axes(asked)
    card, origin = runner(asked)
    return experiment_of(card, origin, asked.device)


def experiment_of(card: RunnerCard, origin: str, device: str) -> Experiment:
    """The experiment of a card; origin: what a sentence on a mistake begins with. Raises BadInput."""
    kind = identity.device_kind(device)
    found = generators.tasks(card.tasks)
    tasks = {task.card.label: task for task in found}
    if len(tasks) < len(found):
        raise BadInput(f"{origin}: two of its tasks have the same name: {listed(task.card.label for task in found)}.")
    checks.names(card, tasks, origin)
    rules = {name: spec(name, card, origin) for name in every_optimizer(card)}
    checks.stages(card, tasks, origin)
    if (runs := count(card, [task.card.name for task in found])) > MOST_RUNS:
        raise BadInput(
            f"{origin}: {runs} runs are planned; at most {MOST_RUNS} are allowed, so give fewer seeds or rates."
        )
    try_plugins([*rules.values()], card, found[0])
    environment = Environment(identity.training_source(), identity.torch_minor(), kind)
    return Experiment(card, tasks, rules, environment)


AXES: dict[str, TypeAdapter[Any]] = {
    "--update": TypeAdapter(list[cards.Update]), "--lr": TypeAdapter(cards.Grid),
    "--weight-decay": TypeAdapter(cards.Decays), "--seeds": TypeAdapter(cards.Seeds),
}  # fmt: skip


def _check_axes(asked: RunRequest) -> None:
    """Raises BadInput that names the option whose value is not allowed."""
    given = (asked.updates, asked.lr, asked.weight_decay, asked.seeds)
    for (option, kind), value in zip(AXES.items(), given, strict=True):
        try:
            kind.validate_python(list(value) if isinstance(value, Sequence) else value) if value is not None else None
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{option} {shown(first['input'])}: {message(first['msg'])}.") from None


def runner(asked: RunRequest) -> tuple[RunnerCard, str]:
    """The runner's card with scale, settings and axes applied, and where it came from."""
    path = cards.locate(RunnerCard, asked.runner)
    content, origin = files.toml(path), named(path)
    written = cards.parse(RunnerCard, content, origin)
    content["tasks"] = [_beside(path, name) for name in written.tasks]
    settings = [overrides.parse(setting) for setting in asked.settings]
    changed = origin if not settings else f"{origin} with --set"
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
    labels.apart([name for name in content["optimizers"] if name not in written.variants], _said(place))
    content["optimizers"] = [
        name if name in written.variants else _taken(name, place) for name in content["optimizers"]
    ]
    for where, new in settings:
        if where not in (["scale"], ["routing"]) and not (where[0] == "optimizer" and len(where) == 2):
            overrides.put(content, where, new, "--set")
    for name, variant in cards.parse(RunnerCard, content, changed).variants.items():
        if plugins.is_plugin(variant.of) and variant.of not in OPTIMIZERS:
            _taken(variant.of, path if name in written.variants and written.variants[name].of == variant.of else None)
    content = labels.labelled(content)
    card = cards.parse(RunnerCard, content, changed)
    run = list(dict.fromkeys(map(card.optimizer_of, every_optimizer(card))))
    for (where, new), setting in zip(settings, asked.settings, strict=True):
        if where[0] == "optimizer" and len(where) == 2:
            labels.shared(where[1], new, setting.partition("=")[2].strip(), run)
            for name in run:
                overrides.put(content, ["arguments", name, where[1]], new, "--set")
    for routing in [new for where, new in settings if where == ["routing"]]:
        theirs = [name for name in run if name in plugins.TAKEN]
        if not theirs:
            raise BadInput(
                f"--set routing={shown(routing)} is for plug-ins; {listed(run)} have the routing that `synthbench show "
                "optimizer` prints."
            )
        for name in theirs:
            overrides.put(content, ["arguments", name, "routing"], routing, "--set")
    card = cards.parse(RunnerCard, content, changed)
    names = [stage.name for stage in card.stages]
    if len(set(names)) < len(names):
        raise BadInput(f"{changed}: two stages have the same name; they are {', '.join(names)}.")
    return card, changed


def _taken(name: str, card: Path | None) -> str:
    """An optimizer's name in tables: a person's own is loaded. card: where its path is read from, if it stands there."""
    said = _said(card)
    if not plugins.is_plugin(name) and name in OPTIMIZERS:
        return name
    place = name if plugins.is_plugin(name) else entry_points.find(entry_points.OPTIMIZERS, name, said)
    if place is None:
        return name  # unknown: said where all that is known is known
    if card is not None:
        if name.rpartition(":")[0].endswith(".py"):
            name = place = str(card.parent / name)
        generators.announce(card, place)
    return plugins.take(name, said).label


def _said(card: Path | None) -> str:
    """Where an optimizer is named: in a card, or on the command line."""
    return "--optimizer" if card is None else f"{named(card)}: optimizer"


def _beside(runner: Path, task: str) -> str:
    """A task as a runner's card names it: paths are read from the card's own folder."""
    return str(runner.parent / task) if cards.is_path(task) else task


def _apply_axes(content: dict[str, Any], asked: RunRequest) -> None:
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
                crossed = ways * len(training(stage, task, card.optimizer_of(name)).weight_decay)
                own = updates(card, stage, task, name)
                cells[name,] += crossed * len(own)
                runs += crossed * sum(len(grid(card, stage, name, update)) for update, _ in own)
        starts = cells
    return runs
