"""Optimizers from elsewhere: any `torch.optim.Optimizer`, and optimizers of one's own, registered under a name.

`take(name)` loads what a name means and registers it; workers `restore` the same by its origin.
"""

from __future__ import annotations

import difflib
import inspect
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from synthbench.cards import Card
from synthbench.common import sources
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, shown
from synthbench.generators import Task
from synthbench.plugins import code_hash, entry_points, generators, loading
from synthbench.plugins.decorators import CustomOptimizer, Routing, fleet_optimizer, matrix_optimizer
from synthbench.plugins.loading import is_plugin
from synthbench.plugins.unknown import unknown
from synthbench.trainer.optimizers import IMPLEMENTATIONS, OPTIMIZERS, Implementation, Optimizer, adamw

__all__ = [
    "CustomOptimizer",
    "Origin",
    "Plugin",
    "defaults",
    "fleet_optimizer",
    "is_plugin",
    "matrix_optimizer",
    "name_of",
    "origins",
    "restore",
    "routing_of",
    "take",
    "take_object",
]

FACTORS = (0.1, 0.3, 1.0, 3.0, 10.0)  # of a default rate: the grid of an optimizer that a card has no rates for
RATE = 1e-3  # where a constructor has no default
BESIDE = "adamw-beside"  # moves what a `hidden` plug-in leaves
# where a worker finds it: a name with an absolute path, a class by value, or a generator's
Origin = str | bytes | generators.Origin


@dataclass(frozen=True)
class Plugin:
    """label: its name in tables, and in the registry. source: sha256 of its code. versions: of what it is installed by.
    changed: settings that its import changed, and that were put back."""

    label: str
    source: str
    origin: Origin
    versions: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    thing: Any = None  # the class or the optimizer itself

    @property
    def made_by(self) -> Any:
        """Its class, where it is a torch.optim.Optimizer."""
        return None if isinstance(self.thing, CustomOptimizer) else self.thing

    @property
    def made_with(self) -> dict[str, str]:
        """What is recorded with its results, beside the versions of torch and the like."""
        put_back = {f"put back after {self.label}": ", ".join(self.changed)} if self.changed else {}
        return dict(self.versions) | put_back


TAKEN: dict[str, Plugin] = {}  # by label: what this process has registered


class Arguments(Card):
    """Arguments that are given to a plug-in, checked by the names that it has: its defaults are its own matter.

    routing: `all`, or `hidden` (AdamW moves embeddings, head and vectors, at aux_lr_ratio of its rate).
    """

    model_config = ConfigDict(extra="allow", frozen=True)
    routing: Routing = "all"
    aux_lr_ratio: Annotated[float, Field(gt=0)] = 1.0


class OfClass(Arguments):
    """Those of a torch.optim.Optimizer. group: keys of its group of parameters, such as a flag that it reads there."""

    group: dict[str, Any] = Field(default_factory=dict)


def take(name: str, said: str = "--optimizer") -> Plugin:
    """Loads and registers what `pkg.mod:Class`, `path/file.py:Class` or the name of an entry point means; raises BadInput
    that begins with `said`."""
    offered = None if is_plugin(name) else entry_points.find(entry_points.OPTIMIZERS, name, said)
    found = loading.load(offered or name, said)
    found = found._replace(label=name) if offered else found
    where, _, attribute = name.rpartition(":")
    origin = f"{Path(where).resolve()}:{attribute}" if where.endswith(loading.SUFFIX) else name
    plugin = Plugin(found.label, found.source, origin, found.versions, found.changed)
    return _register(found.thing, plugin, f"{said} {found.label}")


def take_object(thing: Any, said: str = "optimizer") -> Plugin:
    """The same for a class, or an optimizer, itself: one that a script or a notebook defines goes to workers by value."""
    written = thing.written if isinstance(thing, CustomOptimizer) else thing
    module, name = getattr(written, "__module__", None), getattr(written, "__qualname__", None)
    if not module or not name:
        raise BadInput(f"{said} {shown(thing)} is neither a name nor a class.")
    if module != "__main__" and "<" not in name:
        module = _shortest(module, name, thing)
        home = sys.modules[module]
        found = Plugin(f"{module}:{name}", loading.source_of(home), by_value(thing), loading.versions_of(home))
        return _register(thing, found, said)
    label = name.rpartition(".")[2]
    if label in OPTIMIZERS and label not in TAKEN:
        raise BadInput(f"{said}: there is a built-in optimizer of the name {shown(label)}; give the class another one.")
    return _register(thing, Plugin(label, code_hash.digest(thing), by_value(thing)), said)


def _shortest(module: str, name: str, thing: Any) -> str:
    """The outermost package that has a thing under its name: `torch.optim` of what `torch.optim.nadam` has."""
    parts = module.split(".")
    packages = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
    return next(one for one in packages if one == module or getattr(sys.modules.get(one), name, None) is thing)


def by_value(thing: Any) -> bytes:
    """A class or an optimizer as bytes that another process of ours makes it from again."""
    import cloudpickle

    content: bytes = cloudpickle.dumps(thing)
    return content


def restore(origin: Origin) -> None:
    """Registers a plug-in in a worker."""
    if isinstance(origin, generators.Origin):
        generators.restore(origin)
    elif isinstance(origin, str):
        take(origin)
    else:
        import cloudpickle

        take_object(cloudpickle.loads(origin))  # what our own parent process wrote, and nothing that was stored


def routed(routing: Routing, label: str) -> tuple[tuple[str, str], ...]:
    """The routing table of a plug-in."""
    return (("*", label),) if routing == "all" else (("*norm*", BESIDE), ("layers.*", label), ("*", BESIDE))


def routing_of(name: str, given: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The routing table of a registered optimizer with these arguments; raises ValidationError where one is wrong."""
    arguments = OPTIMIZERS[name].arguments.model_validate(dict(given))
    return routed(arguments.routing, name) if isinstance(arguments, Arguments) else OPTIMIZERS[name].routing


def name_of(optimizer: Any, said: str = "optimizer") -> str:
    """The registered name of an optimizer that is given by name, by path, or as a class or an optimizer; registers it where it
    is not built in. Raises BadInput that begins with `said`."""
    if not isinstance(optimizer, str):
        return take_object(optimizer, said).label
    if optimizer in OPTIMIZERS:
        return optimizer
    if not is_plugin(optimizer) and entry_points.find(entry_points.OPTIMIZERS, optimizer, said) is None:
        raise BadInput(f"{said}: {unknown(optimizer, OPTIMIZERS)}.")
    return take(optimizer, said).label


def defaults(label: str) -> dict[str, Any]:
    """The arguments of a plug-in: its own, then those that every plug-in has. `inspect.Parameter.empty` where its
    constructor has no default."""
    thing, arguments = TAKEN[label].thing, OPTIMIZERS[label].arguments
    if isinstance(thing, CustomOptimizer):
        return dict(thing.arguments) | arguments().model_dump()
    from synthbench.plugins import torch_optim

    anything = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    known = [one for one in torch_optim.signature(thing).values() if one.kind not in anything]
    own = {one.name: one.default for one in known if one.name not in ("lr", "weight_decay")}
    return own | arguments().model_dump()


def put_back(label: str, changed: Sequence[str]) -> None:
    """Notes settings that a plug-in changed while it was tried, too, and says all that it changed."""
    plugin = TAKEN[label]
    TAKEN[label] = plugin = replace(plugin, changed=tuple(dict.fromkeys([*plugin.changed, *changed])))
    if plugin.changed:
        what = ", ".join(plugin.changed)
        print(f"synthbench: {label} changed settings that were put back: {what}.", file=sys.stderr)


def made_with(optimizer: str) -> dict[str, str]:
    """What is recorded with the results of an optimizer for its being a plug-in; nothing for a built-in one."""
    return TAKEN[optimizer].made_with if optimizer in TAKEN else {}


def origins(optimizers: Iterable[str], tasks: Iterable[Task]) -> list[Origin]:
    """Where workers find those of these optimizers, and of the generators of these tasks, that are not built in."""
    return [*(TAKEN[name].origin for name in dict.fromkeys(optimizers) if name in TAKEN), *generators.origins(tasks)]


def _register(thing: Any, plugin: Plugin, said: str) -> Plugin:
    import torch

    if isinstance(thing, type) and issubclass(thing, torch.optim.Optimizer):
        from synthbench.plugins import torch_optim

        known = torch_optim.signature(thing)
        optimizer, names = torch_optim.optimizer(thing), {name: one.default for name, one in known.items()}
        takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
        lr = names.get("lr", RATE)
        routing: Routing = "hidden" if thing is getattr(torch.optim, "Muon", None) else "all"
        summary = (inspect.getdoc(thing) or thing.__name__).strip().splitlines()[0]
        written = torch_optim.__file__
    elif isinstance(thing, CustomOptimizer):
        optimizer, names, takes_any, lr, routing = (
            thing.implementation,
            dict(thing.arguments),
            False,
            thing.lr,
            thing.routing,
        )
        summary = (inspect.getdoc(thing.written) or plugin.label).strip().splitlines()[0]
        written = str(Path(loading.__file__).with_name("decorators.py"))
    else:
        raise BadInput(
            f"{said} is no torch.optim.Optimizer class, nor an optimizer made by synthbench.matrix_optimizer or synthbench.fleet_optimizer."
        )
    rate = float(lr) if isinstance(lr, int | float) else RATE
    ours = sources.digest([Path(written)], Path(sources.__file__).parents[1])
    source = sha256((ours + plugin.source).encode()).hexdigest()
    allowed = [name for name in names if name not in ("lr", "weight_decay")]
    OPTIMIZERS[plugin.label] = Optimizer(
        plugin.label, summary, plugin.label,
        arguments_of(plugin.label, allowed, takes_any, routing, Arguments if isinstance(thing, CustomOptimizer) else OfClass),
        routed(routing, plugin.label), tuple(float(f"{rate * factor:.6g}") for factor in FACTORS),
    )  # fmt: skip
    IMPLEMENTATIONS[plugin.label] = optimizer
    IMPLEMENTATIONS[BESIDE] = Implementation(_start_beside, _step_beside)
    TAKEN[plugin.label] = replace(plugin, source=source, thing=thing)
    return TAKEN[plugin.label]


def arguments_of(
    label: str, allowed: list[str], takes_any: bool, usual: Routing, card: type[Arguments]
) -> type[Arguments]:
    """The arguments that a plug-in can be given. takes_any: whether it swallows any name (`**kwargs`); then only what looks
    like a slip is refused. usual: its routing where none is asked for. card: what it may be given beside its own."""

    class Own(card):  # type: ignore[valid-type, misc]
        routing: Routing = usual

        @model_validator(mode="after")
        def _known(self) -> Own:
            for name in self.model_extra or {}:
                if name in ("lr", "weight_decay"):
                    raise ValueError(f"{label} is given {name} by --{name.replace('_', '-')}, not as an argument")
                is_slip = not takes_any or difflib.get_close_matches(name, allowed, n=1, cutoff=0.85)
                if name not in allowed and is_slip:
                    others = [*allowed, *card.model_fields]
                    raise ValueError(f"{label} has no argument {shown(name)}{did_you_mean(name, others)}")
            return self

    return Own


def _start_beside(blocks: Any, arguments: Any) -> Any:
    return adamw.start(blocks, adamw.AdamW())


def _step_beside(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
    adamw.step(blocks, state, hyper, adamw.AdamW())
