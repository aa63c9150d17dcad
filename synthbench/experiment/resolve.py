"""From a request to an experiment: a card with its options applied and everything in it checked."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from synthbench import cards, plugins
from synthbench.cards import RunnerCard, fingerprint
from synthbench.cards.axis import column
from synthbench.cards.spelling import renewed_settings
from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.validation import message
from synthbench.common.wording import check_choice, did_you_mean, listed, named, shown
from synthbench.experiment import axes, checks, identity, optimizers
from synthbench.experiment.cells import AtPoint
from synthbench.experiment.grids import every_optimizer, usual
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Environment
from synthbench.plugins import entry_points, generators
from synthbench.plugins.loading import label
from synthbench.trainer.native import path as paths
from synthbench.trainer.optimizers import OPTIMIZERS

MOST_RUNS = 200_000  # of an experiment: twice what tests/benchmarks/scale.py measures
TUNINGS = ("card", "wide")  # `--set tuning=`: rates as the card has them, or the same number for every optimizer
WIDE_EXTEND = 2  # of a wide grid whose edge is chosen
Setting = tuple[list[str], Any]  # a path in the card, and a value


@dataclass(frozen=True)
class RunRequest:
    """What to run. None and empty mean: as the card has it. runner: a name, or the path of a card. is_elsewhere: on devices
    of a cluster, not on this machine's."""

    runner: str = "quick"
    optimizers: Sequence[str] | None = None
    tasks: Sequence[str] | None = None
    updates: Sequence[str] | None = None
    lr: Sequence[float] | None = None
    weight_decay: Sequence[float] | None = None
    seeds: int | Sequence[int] | None = None
    settings: Sequence[str] = ()
    axes: Sequence[str] = ()
    device: str = "auto"
    path: str = paths.DEFAULT
    is_elsewhere: bool = False

    @property
    def kind_of_device(self) -> str:
        """`cpu` or `cuda`; raises BadInput where CUDA is asked for and absent. On a cluster it must be named."""
        if self.is_elsewhere and self.device in identity.DEVICES:
            return "cuda" if self.device == "cuda" else "cpu"
        return identity.device_kind(self.device)

    @property
    def seed_list(self) -> list[int] | None:
        """The seeds that are requested."""
        if self.seeds is None:
            return None
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)


def resolve(request: RunRequest) -> Experiment:
    """The experiment that is requested; raises BadInput with one sentence for the first thing that is wrong."""
    card, origin = runner(request)
    return experiment_of(card, origin, request.kind_of_device, request.path)


def experiment_of(card: RunnerCard, origin: str, kind: str, path: str = paths.TORCH) -> Experiment:
    """The experiment of a card; origin: what a sentence on a mistake begins with. kind: of device. Raises BadInput."""
    loaded = generators.tasks(card.tasks)
    tasks = {task.card.label: task for task in loaded}
    if len(tasks) < len(loaded):
        raise BadInput(f"{origin}: two of its tasks have the same name: {listed(task.card.label for task in loaded)}.")
    checks.names(card, tasks, origin)
    checks.untrained(card, tasks, origin)
    longest = max(task.language.length for task in loaded)
    path = paths.chosen(path, kind, longest, lambda told: print(f"synthbench: {told}", file=sys.stderr))
    environment = Environment(identity.training_source(path=path), identity.torch_minor(), kind, path=path)
    at_points = []
    for point in axes.points(card, origin):
        where = f"{origin}{point.told}"
        specs = {name: optimizers.spec(name, point.card, where) for name in every_optimizer(card)}
        checks.stages(point.card, tasks, where)
        at_points.append(AtPoint(point, specs, environment))
    experiment = Experiment(card, tasks, at_points, environment)
    try:
        Plan(experiment, {}, MOST_RUNS).whole()
    except BadInput as error:
        raise BadInput(f"{origin}: {error}") from None
    return experiment


def experiment_id(experiment: Experiment) -> str:
    """What rows must share to stand in one table: card, tasks, device kind and code."""
    card, environment = experiment.card.fingerprint(), experiment.environment
    tasks = {name: task.fingerprint for name, task in experiment.tasks.items()}
    return fingerprint([card, tasks, environment.device, environment.source, environment.torch])


def runner(request: RunRequest) -> tuple[RunnerCard, str]:
    """The runner's card with all that is requested, and where it came from in words. It is parsed once, at the end; again
    only where something is wrong, to tell a mistake in the file from one in the request."""
    _check_options(request)
    path = cards.locate(RunnerCard, request.runner)
    origin = f"{named(path)} with --set" if request.settings else named(path)
    settings = renewed_settings(map(overrides.parse, request.settings))
    written = cards.read(RunnerCard, path)
    content = deepcopy(written)
    try:
        _change(content, written, path, request, settings)
        card = cards.parse(RunnerCard, content, origin)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:  # BadInput is a ValueError
        cards.parse(RunnerCard, written, named(path))
        if not isinstance(error, BadInput):
            cards.parse(RunnerCard, content, origin)
        raise
    return _with_arguments(card, settings), origin


OPTIONS: dict[str, TypeAdapter[Any]] = {
    "--update": TypeAdapter(list[cards.Update]), "--lr": TypeAdapter(cards.Grid),
    "--weight-decay": TypeAdapter(cards.Decays), "--seeds": TypeAdapter(cards.Seeds),
}  # fmt: skip


def _check_options(request: RunRequest) -> None:
    """Raises BadInput that names the option whose value is not allowed."""
    values = (request.updates, request.lr, request.weight_decay, request.seeds)
    for (option, kind), value in zip(OPTIONS.items(), values, strict=True):
        try:
            kind.validate_python(list(value) if isinstance(value, Sequence) else value) if value is not None else None
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(f"{option} {shown(first['input'])}: {message(first['msg'])}.") from None


def _change(
    content: dict[str, Any], written: Mapping[str, Any], path: Path, request: RunRequest, settings: Sequence[Setting]
) -> None:
    """Applies scale, options and settings to a card's content that was read (written) but not checked, loads plug-ins."""
    origin, variants = named(path), written.get("variants", {})
    if not all(isinstance(written[key], list) for key in ("tasks", "optimizers", "stages")):
        raise TypeError("of another form; parsing it says how")
    content["tasks"] = [str(path.parent / task) if cards.is_path(task) else task for task in content["tasks"]]
    for scale in [value for where, value in settings if where == ["scale"]]:
        scales = content.get("scales", {})
        if scale not in list(scales):
            raise BadInput(f"--set scale={shown(scale)}: {origin} has no such scale{did_you_mean(scale, scales)}.")
        for where, value in scales[scale].items():
            overrides.put(content, where.split("."), value, origin)
    _apply_options(content, request)
    home = path if request.optimizers is None else None
    optimizers.check_distinct([name for name in content["optimizers"] if name not in variants], _origin(home))
    content["optimizers"] = [name if name in variants else _loaded(name, home) for name in content["optimizers"]]
    if _is_wide(content, request, settings):
        for stage in content["stages"] if request.lr is None else content["stages"][:-1]:
            stage |= {"lr": {name: usual(name) for name in OPTIMIZERS if not plugins.plugin_of(name)}}
            stage |= {"extend": WIDE_EXTEND}
    for where, value in settings:
        if where not in (["scale"], ["routing"], ["tuning"]) and not _is_argument(where):
            overrides.put(content, where, value, "--set")
    for name, variant in content.get("variants", {}).items():
        if plugins.is_plugin(variant["of"]) and variant["of"] not in OPTIMIZERS:
            is_written = name in variants and variants[name].get("of") == variant["of"]
            _loaded(variant["of"], path if is_written else None)
    optimizers.label_all(content)


def _apply_options(content: dict[str, Any], request: RunRequest) -> None:
    """`--optimizer`, `--task`, `--seeds` and `--axis` are the runner's; `--update`, `--lr`, `--weight-decay` its last
    stage's; several decays are an axis."""
    for key, value in (("optimizers", request.optimizers), ("tasks", request.tasks), ("seeds", request.seeds)):
        if value is not None:
            content[key] = list(value) if not isinstance(value, int) else value
    last = content["stages"][-1]
    for key, values in (("update", request.updates), ("lr", request.lr)):
        if values is not None:
            last[key] = list(values)
    if request.lr is not None:
        last.pop("extend", None)  # a grid that is given is searched as it is
    for override in last.get("for", {}).values():
        if request.lr is not None:
            override.pop("lr_factor", None)
        if request.updates is not None:
            override.pop("update", None)
        if request.weight_decay is not None:
            override.pop("weight_decay", None)
    known = content.get("axes", [])
    given = [_axis(text, known) for text in request.axes]
    if decays := list(request.weight_decay or ()):
        last["weight_decay"] = decays[0]
        given.append({"path": f"stages.{last['name']}.weight_decay", "values": decays, "label": "decay"})
    paths = {axis["path"] for axis in given}
    if given:
        others = [axis for axis in known if axis["path"] not in paths]
        content["axes"] = [*others, *(given[:-1] if len(decays) == 1 else given)]  # one decay is a setting


def _axis(text: str, known: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`--axis PATH=a,b` as a card's table. known: the card's axes; the one with this path or column gets these values."""
    path, equals, values = text.partition("=")
    if not equals:
        raise BadInput(f"--axis {shown(text)} must have the form PATH=a,b, such as stages.pretrain.weight_decay=0,0.1.")
    path = path.strip()
    own = next(
        (axis for axis in known if path in (axis["path"], axis.get("label") or column(axis["path"]))), {"path": path}
    )
    if own["path"] == path:
        overrides.path(path, "--axis")
    return {**own, "values": [overrides.value(value.strip()) for value in values.split(",")]}


def _is_wide(content: Mapping[str, Any], request: RunRequest, settings: Sequence[Setting]) -> bool:
    """Whether every optimizer gets the rates of a plug-in: FACTORS times its default. So it is where that is asked for, and
    where a plug-in has no rates in some stage, so that none is tuned more than another."""
    if asked := [value for where, value in settings if where == ["tuning"]]:
        check_choice("--set tuning", asked[-1], TUNINGS)
        return bool(asked[-1] == "wide")
    names = [name for name in content["optimizers"] if plugins.plugin_of(name)]
    for stage in content["stages"] if request.lr is None else content["stages"][:-1]:
        path = ["stages", stage["name"], "lr"]
        given = {where[3] for where, _ in settings if where[:3] == path and len(where) > 3}
        has_all = not isinstance(stage["lr"], dict) or any(where == path for where, _ in settings)
        if not has_all and any(name not in {*stage["lr"], *map(label, given)} for name in names):
            return True
    return False


def _is_argument(where: Sequence[str]) -> bool:
    """Whether a path is that of an argument of every optimizer: `optimizer.NAME`."""
    return len(where) == 2 and where[0] == "optimizer"


def _with_arguments(card: RunnerCard, settings: Sequence[Setting]) -> RunnerCard:
    """A card with `optimizer.NAME=value` and `routing=...` given to every optimizer that runs."""
    arguments = {name: dict(values) for name, values in card.arguments.items()}
    names = list(dict.fromkeys(map(card.optimizer_of, every_optimizer(card))))
    for where, value in settings:
        takers = names if _is_argument(where) else []
        if takers and where[1] in plugins.OF_CLASSES and (classes := [*filter(plugins.is_class, names)]):
            takers = classes
        elif takers:
            optimizers.check_shared(where[1], value, names)
        elif where == ["routing"]:
            takers = [name for name in names if plugins.plugin_of(name)]
            if not takers:
                raise BadInput(
                    f"--set routing={shown(value)} is for plug-ins; {listed(names)} have the routing that `synthbench "
                    "show optimizer` prints."
                )
        for name in takers:
            arguments.setdefault(name, {})[where[-1]] = value
    return card.model_copy(update={"arguments": arguments})


def _loaded(name: str, card: Path | None) -> str:
    """The label of an optimizer: a plug-in is loaded. card: where its path is read from, if it stands there."""
    if not plugins.is_plugin(name) and name in OPTIMIZERS:
        return name
    where = name if plugins.is_plugin(name) else entry_points.find(entry_points.OPTIMIZERS, name, _origin(card))
    if where is None:
        return name  # unknown, which checks say once all names are known
    if card is not None:
        if name.rpartition(":")[0].endswith(".py"):
            name = where = str(card.parent / name)
        generators.announce(card, where)
    return plugins.take(name, _origin(card))


def _origin(card: Path | None) -> str:
    """Where an optimizer is named: in a card, or on the command line."""
    return "--optimizer" if card is None else f"{named(card)}: optimizer"
