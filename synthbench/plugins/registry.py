"""Registers optimizers that are not built in: any `torch.optim.Optimizer`, and those that our decorators make.

`take` loads and registers one, given by name or as an object; workers `restore` it by its origin. What is known of its
code, a `Plugin`, is kept on the registered `Optimizer`, where `plugin_of(name)` looks it up.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field, create_model, model_validator

from synthbench.cards import Card, ModelCard
from synthbench.common import sources
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, named, shown
from synthbench.generators import Task
from synthbench.plugins import code_hash, entry_points, generators, groups, loading, settings
from synthbench.plugins.decorators import CustomOptimizer, Routing
from synthbench.plugins.groups import Groups
from synthbench.plugins.loading import Plugin, is_plugin
from synthbench.trainer.optimizers import IMPLEMENTATIONS, OPTIMIZERS, Implementation, Optimizer, adamw

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of a default rate: the grid of an optimizer that a card has no rates for
CLASS_FILES = [Path(groups.__file__), Path(settings.__file__)]  # that the numbers of classes depend on, too
PUT_BACK = "put back after"  # begins the name of an entry of what a result was made with
BESIDE = "adamw-beside"  # moves what a plug-in routed `hidden` leaves
BY_TRIAL = {"own_rate", "decay_in_force"}  # options that a trial sets
OF_CLASSES = ("groups", "group", "aux_group", "named")  # options that other optimizers do not have
Table = tuple[tuple[str, str], ...]  # (pattern of parameter names, optimizer), first match wins


class Named(NamedTuple):
    """An optimizer by its name or path, with the hash of its code."""

    name: str
    source: str


Origin = Named | bytes | generators.Origin  # where a worker finds an optimizer, or the generators of a task


class Arguments(Card):
    """Options of a plug-in; its own arguments are checked by name alone.

    routing: `all`, or `hidden` (AdamW moves embeddings, head and vectors, at aux_lr_ratio of its rate). Trying it shows the
    others: own_rate, whether it sets its learning rate itself; decay_in_force, `card` or whose weight decay it applies.
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    routing: Routing = "all"
    aux_lr_ratio: Annotated[float, Field(gt=0)] = 1.0
    own_rate: bool = False
    decay_in_force: str = "card"


class ClassArguments(Arguments):
    """Options of a torch.optim.Optimizer: how it is given its parameters.

    groups: `all` in one list; `hidden`: hidden matrices alone, as under routing = hidden; `muon`: those in a group with
    use_muon=True, the rest in one with use_muon=False, at aux_lr_ratio of the rate (None: the class's own ratio). group:
    keys of every group. aux_group: of the second one. named: as pairs with names.
    """

    aux_lr_ratio: Annotated[float, Field(gt=0)] | None = None  # type: ignore[assignment]
    groups: Groups = "all"
    group: dict[str, Any] = Field(default_factory=dict)
    aux_group: dict[str, Any] = Field(default_factory=dict)
    named: bool = False

    @model_validator(mode="before")
    @classmethod
    def _routed(cls, content: Any) -> Any:
        """groups = hidden and routing = hidden are the same."""
        default = {name: cls.model_fields[name].default for name in ("groups", "routing")}
        if "groups" in content and "routing" not in content:
            content = content | {"routing": "hidden" if content["groups"] == "hidden" else "all"}
        elif "routing" in content and "groups" not in content:
            as_wanted = default["groups"] if default["groups"] != "hidden" else "all"
            content = content | {"groups": "hidden" if content["routing"] == "hidden" else as_wanted}
        if (default | content)["routing"] == "hidden" and content.get("aux_lr_ratio") is None:
            content = content | {"aux_lr_ratio": 1.0}
        return content


def plugin_of(name: str) -> Plugin | None:
    """What is known of a registered optimizer's code; None for a built-in one and for a name that is not registered."""
    plugin: Plugin | None = OPTIMIZERS[name].plugin if name in OPTIMIZERS else None
    return plugin


def is_class(name: str) -> bool:
    """Whether a registered optimizer is a torch.optim.Optimizer, which options on groups of parameters are for."""
    return name in OPTIMIZERS and issubclass(OPTIMIZERS[name].arguments, ClassArguments)


def of_shape(name: str, model: ModelCard) -> dict[str, int]:
    """Arguments of a registered optimizer that name the model's shape."""
    plugin = plugin_of(name)
    return groups.of_shape(plugin.value.written, model) if plugin and is_class(name) else {}


def take(optimizer: Any, where: str = "optimizer") -> str:
    """Loads and registers an optimizer: `pkg.mod:Class`, `path/file.py:Class`, the name of an entry point, a class or a
    CustomOptimizer. Returns its label.

    Raises BadInput that begins with `where`.
    """
    if not isinstance(optimizer, str):
        return _register(_by_value(optimizer, where), where)
    if is_plugin(optimizer):
        plugin = loading.load(optimizer, where)
    elif path := entry_points.find(entry_points.OPTIMIZERS, optimizer, where):
        plugin = replace(loading.load(path, where), label=optimizer, origin=optimizer)
    else:
        raise BadInput(f"{where}: {loading.unknown(optimizer, OPTIMIZERS)}.")
    return _register(plugin, f"{where} {plugin.label}")


def name_of(optimizer: Any, where: str = "optimizer") -> str:
    """The registered name of an optimizer; registers it as `take` does where it is not a registered name.

    Raises BadInput that begins with `where`.
    """
    is_known = isinstance(optimizer, str) and optimizer in OPTIMIZERS
    return optimizer if is_known else take(optimizer, where)


def _by_value(optimizer: Any, where: str) -> Plugin:
    """A class or a CustomOptimizer. Workers get it by value, so it may be defined in a script or a notebook."""
    import cloudpickle

    written = optimizer.written if isinstance(optimizer, CustomOptimizer) else optimizer
    module, name = getattr(written, "__module__", None), getattr(written, "__qualname__", None)
    if not module or not name:
        raise BadInput(f"{where} {shown(optimizer)} is neither a name nor a class.")
    origin: bytes = cloudpickle.dumps(optimizer)
    if module != "__main__" and "<" not in name:
        module = _shortest(module, name, optimizer)
        home = sys.modules[module]
        return Plugin(optimizer, f"{module}:{name}", loading.source_of(home), origin, loading.versions_of(home))
    label = name.rpartition(".")[2]
    if label in OPTIMIZERS and plugin_of(label) is None:
        raise BadInput(f"{where}: {shown(label)} is the name of a built-in optimizer; give the class another one.")
    return Plugin(optimizer, label, code_hash.digest(optimizer), origin)


def _shortest(module: str, name: str, optimizer: Any) -> str:
    """The outermost package that has an object under its name: `torch.optim` for one from `torch.optim.nadam`."""
    parts = module.split(".")
    packages = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
    return next(path for path in packages if path == module or getattr(sys.modules.get(path), name, None) is optimizer)


def restore(origin: Origin) -> None:
    """Registers a plug-in in a worker; raises BadInput where its code is another one than that of the runs' ids."""
    import cloudpickle

    if isinstance(origin, generators.Origin):
        generators.restore(origin)
    elif isinstance(origin, bytes):  # from our own parent process, never from a file
        take(cloudpickle.loads(origin))
    else:
        plugin = plugin_of(take(origin.name))
        if plugin is None or plugin.source != origin.source:
            raise BadInput(f"optimizer {named(origin.name)} was edited meanwhile; give the same command again.")


def routed(routing: Routing, label: str) -> Table:
    """The routing table of a plug-in."""
    return (("*", label),) if routing == "all" else (("*norm*", BESIDE), ("layers.*", label), ("*", BESIDE))


def routing_of(name: str, arguments: Mapping[str, Any]) -> Table:
    """The routing table of a registered optimizer with these arguments; raises ValidationError for a wrong one."""
    options = OPTIMIZERS[name].arguments.model_validate(dict(arguments))
    return routed(options.routing, name) if isinstance(options, Arguments) else OPTIMIZERS[name].routing


def defaults(name: str) -> dict[str, Any]:
    """The arguments of a registered optimizer that a person may set, with their defaults (`inspect.Parameter.empty` where
    there is none)."""
    plugin, options = plugin_of(name), OPTIMIZERS[name].arguments().model_dump(exclude=BY_TRIAL)
    return dict(plugin.value.arguments) | options if plugin else options


def put_back(name: str, settings: Sequence[str]) -> list[str]:
    """Records settings that a plug-in changed; returns those that are new."""
    plugin = plugin_of(name)
    assert plugin is not None
    new = [setting for setting in dict.fromkeys(settings) if setting not in plugin.changed]
    OPTIMIZERS[name] = OPTIMIZERS[name]._replace(plugin=replace(plugin, changed=(*plugin.changed, *new)))
    return new


def made_with(name: str, changed: Sequence[str] = ()) -> dict[str, str]:
    """What is recorded with the results of an optimizer beside the version of torch; nothing for a built-in one. changed:
    settings that it changed in training."""
    plugin = plugin_of(name)
    if plugin is None:
        return {}
    settings = dict.fromkeys([*plugin.changed, *changed])
    return dict(plugin.versions) | ({f"{PUT_BACK} {plugin.label}": ", ".join(settings)} if settings else {})


def news(name: str, made: Mapping[str, str]) -> str:
    """A sentence on settings that results name (made: of `made_with`) and that were not known before; else nothing."""
    changed = made.get(f"{PUT_BACK} {name}")
    new = put_back(name, changed.split(", ")) if changed else []
    return f"{name} changed settings in training that were put back: {', '.join(new)}." if new else ""


def origins(names: Iterable[str], tasks: Iterable[Task]) -> list[Origin]:
    """Where workers find the optimizers of these names, and the generators of these tasks, that are not built in."""
    plugins = [plugin_of(name) for name in dict.fromkeys(names)]
    drawn = [generators.origin_of(task) for task in tasks if task.plugins]
    found = [Named(of, plugin.source) if isinstance(of := plugin.origin, str) else of for plugin in plugins if plugin]
    return [*found, *drawn]


def _register(plugin: Plugin, where: str) -> str:
    """Puts an optimizer into the registries under its label; raises BadInput for what is none."""
    import torch

    from synthbench.plugins import torch_optim

    optimizer, label = plugin.value, plugin.label
    is_class = isinstance(optimizer, type) and issubclass(optimizer, torch.optim.Optimizer)
    if is_class:
        optimizer = torch_optim.custom_optimizer(optimizer)
    if not isinstance(optimizer, CustomOptimizer):
        raise BadInput(
            f"{where} is neither a torch.optim.Optimizer class nor made by synthbench.matrix_optimizer or "
            "synthbench.fleet_optimizer."
        )
    made_by = [Path(optimizer.implementation.step.__code__.co_filename)]
    ours = sources.digest([*made_by, *CLASS_FILES[: 2 * is_class]], Path(sources.__file__).parents[1])
    plugin = replace(plugin, value=optimizer, source=sha256((ours + plugin.source).encode()).hexdigest())
    summary = (inspect.getdoc(optimizer.written) or label).strip().splitlines()[0]
    OPTIMIZERS[label] = Optimizer(
        label, summary, label, arguments_card(label, optimizer, ClassArguments if is_class else Arguments),
        routed(optimizer.routing, label), tuple(float(f"{optimizer.lr * factor:.6g}") for factor in FACTORS), plugin,
    )  # fmt: skip
    IMPLEMENTATIONS[label], IMPLEMENTATIONS[BESIDE] = optimizer.implementation, _BESIDE
    return label


def arguments_card(label: str, optimizer: CustomOptimizer, card: type[Arguments]) -> type[Arguments]:
    """A plug-in's arguments, checked by name. card: the options beside its own arguments."""
    allowed = [*optimizer.arguments]
    wanted = {"routing": optimizer.routing, **optimizer.given}
    fields = {name: (card.model_fields[name].annotation, default) for name, default in wanted.items()}

    class PluginArguments(create_model("Wanted", __base__=card, **fields)):  # type: ignore[misc]
        @model_validator(mode="after")
        def _known(self) -> PluginArguments:
            for name in self.model_extra or {}:
                if name == "lr" or (name in groups.DECAYS and name not in allowed):
                    option = "lr" if name == "lr" else "weight-decay"
                    raise ValueError(f"{label} is given {name} by --{option}, not as an argument")
                is_slip = not optimizer.takes_any or difflib.get_close_matches(name, allowed, n=1, cutoff=0.85)
                if name not in allowed and is_slip:
                    others = [*allowed, *(field for field in card.model_fields if field not in BY_TRIAL)]
                    raise ValueError(f"{label} has no argument {shown(name)}{did_you_mean(name, others)}")
            return self

    return PluginArguments


_BESIDE = Implementation(
    lambda blocks, arguments: adamw.start(blocks, adamw.AdamW()),
    lambda blocks, state, hyper, arguments: adamw.step(blocks, state, hyper, adamw.AdamW()),
)
