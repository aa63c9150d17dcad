"""How a `torch.optim.Optimizer` is given a run's parameters, and the rates and decays of the groups that it makes of them.

A class says how it wants them: in groups that a flag tells apart (the Muon family), hidden matrices alone, with their
names, or as a model. It is asked for its signature and its code's constants; nothing of it runs.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from synthbench.cards import ModelCard
from synthbench.common.errors import BadInput
from synthbench.plugins.errors import check_not_text, describe, is_out_of_memory
from synthbench.trainer.layout import Parameter

if TYPE_CHECKING:
    import torch

Groups = Literal["all", "hidden", "muon"]
NEEDED = inspect.Parameter.empty  # in place of the default of an argument that has none
RATE = 1e-3  # where a constructor has no default
DECAYS = ("weight_decay", "wd", "decay")  # what constructors call it
FLAGS = {"use_muon": (True, False), "algorithm": ("muon", "adamw")}  # of hidden matrices, and of the rest
OURS = ("routing", "aux_lr_ratio", "group", "groups", "aux_group", "named", "own_rate", "decay_in_force")
MODULES = {
    "q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "o_proj", "up": "up_proj", "gate": "gate_proj",
    "down": "down_proj", "embedding": "embed_tokens", "positions": "embed_positions", "head": "lm_head",
}  # fmt: skip
HINT = (
    "; how it is given parameters: --set optimizer.groups=muon, optimizer.groups=hidden, optimizer.named=true, "
    "optimizer.group={KEY=VALUE}"
)
IN_A_FILE = "write a class in a file whose constructor takes params and makes both, and whose step needs no closure"
ENDS = {"A": "lora_A.weight", "B": "lora_B.weight", "gain": "weight", "weight": "weight", "bias": "bias"}


class Member(NamedTuple):
    """A matrix or a vector of a run. name: as models on the Hugging Face hub have it, which patterns of names expect."""

    name: str
    parameter: torch.nn.Parameter
    is_hidden: bool


class Instance(NamedTuple):
    """scales: by group what a run's learning rate is multiplied by; None where the class sets its own."""

    optimizer: torch.optim.Optimizer
    scales: list[float | None]


def of_shape(cls: type, model: ModelCard) -> dict[str, int]:
    """Arguments of a constructor that name the model's shape, such as those of Adam-mini (arXiv 2406.16793)."""
    heads = model.width // model.head_width
    shape = {"num_heads": heads, "n_heads": heads, "num_embeds": model.width, "dim": model.width}
    known = defaults(cls)
    return (
        {name: value for name, value in shape.items() if name in known}
        if known.keys() & {"num_heads", "n_heads"}
        else {}
    )


def names(parameters: Sequence[Parameter]) -> list[tuple[str, bool]]:
    """The name of every matrix and vector, and whether it is a hidden matrix. Stacked q, k and v have one each."""
    split = [
        (parameter.name.replace("qkv", part) if "qkv" in parameter.name else parameter.name, parameter)
        for parameter in parameters
        for part in ("qkv" if "qkv" in parameter.name else "-")
    ]
    return [(usual_name(name), parameter.group == "hidden") for name, parameter in split]


def usual_name(name: str) -> str:
    """The usual name of a matrix or vector: `layers.0.q_proj.weight` for `layers.0.q`."""
    *folders, last = name.split(".")
    end = ENDS.get(last, "weight")
    if last in ENDS:
        *folders, last = folders
    return ".".join([*folders, MODULES.get(last, last), end])


def defaults(cls: type) -> dict[str, Any]:
    """The constructor's arguments with their defaults (NEEDED: none), without the first, the parameters to move."""
    others = [*inspect.signature(cls).parameters.values()][1:]
    return {p.name: p.default for p in others if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def takes_any(cls: type) -> bool:
    """Whether a constructor takes arguments of any name."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(cls).parameters.values())


def usual_rate(default: Any) -> float | None:
    """A constructor's default learning rate, which may be a tensor or a number of numpy's; None where it is no positive
    number (a marker such as `required`, None, 0)."""
    try:
        rate = float(default)
    except (TypeError, ValueError, RuntimeError):
        return None
    return rate if isfinite(rate) and rate > 0 else None


def wanted(cls: type) -> dict[str, Any]:
    """How a class wants its parameters, as far as its code says: options that differ from `groups=all`, `named=false`."""
    options: dict[str, Any] = {}
    first = next(iter(inspect.signature(cls).parameters), "")
    constants = set(_constants(cls))
    if flag(cls):
        options["groups"] = "muon"
    elif "muon" in cls.__name__.lower() or any(re.search(r"\b2-?D\b", text, re.IGNORECASE) for text in constants):
        options["groups"] = "hidden"
    if first.startswith("named_param"):
        options["named"] = True
    return options


def flag(cls: type) -> str | None:
    """The key of its groups by which a class tells hidden matrices from the rest; None where it has none."""
    constants = set(_constants(cls))
    return next((key for key, values in FLAGS.items() if {key, *filter(_is_text, values)} <= constants), None)


def calls(cls: type) -> set[str]:
    """Names that the code of a class, and of its bases apart from torch's, refers to."""
    return {name for function in _functions(cls) for name in _names(function.__code__)}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _functions(cls: type) -> Iterator[FunctionType]:
    for base in cls.__mro__:
        if base.__module__ not in ("builtins", "torch.optim.optimizer"):
            for value in vars(base).values():
                function = inspect.unwrap(value) if callable(value) else value
                if isinstance(function, FunctionType):
                    yield function


def _constants(cls: type) -> Iterator[str]:
    """Texts in the code of a class, and of its bases apart from torch's, without docstrings."""
    for function in _functions(cls):
        yield from (text for text in _texts(function.__code__) if text != function.__doc__)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _texts(code: CodeType) -> Iterator[str]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _texts(constant)
        elif isinstance(constant, str):
            yield constant
        elif isinstance(constant, tuple):
            yield from filter(_is_text, constant)


def instance(
    cls: type[torch.optim.Optimizer], members: Sequence[Member], options: Mapping[str, Any], weight_decay: float
) -> Instance:
    """An instance over a run's parameters.

    options: arguments of the constructor, and OURS. Its groups keep the ratio of their rates to the constructor's default,
    and decays that they set themselves. Raises BadInput where it cannot be made.
    """
    if calls(cls) & {"get_world_size", "get_rank"}:
        _join_group_of_one()
    known = defaults(cls)
    keywords = _keywords(cls, known, options)
    usual = usual_rate(known.get("lr"))
    if "lr" in known and usual is None:
        keywords["lr"] = RATE
    taken = next((name for name in DECAYS if name in known), None)
    if taken:
        keywords[taken] = weight_decay
    optimizer = _made(cls, members, options, keywords, can_do_without="lr" if known.get("lr", 0) is None else None)
    if taken is None and takes_any(cls) and any("weight_decay" in group for group in optimizer.param_groups):
        optimizer = _made(
            cls, members, options, keywords | {"weight_decay": weight_decay}, can_do_without="weight_decay"
        )
    groups = optimizer.param_groups
    for group in groups:
        if hasattr(group.get("lr"), "fill_"):  # the constructor's default may be one tensor for all instances
            group["lr"] = group["lr"].clone()
    if options["groups"] == "muon" and not taken:  # its groups are its arguments
        for group in groups:
            if "weight_decay" in group and "weight_decay" not in {**options["group"], **options["aux_group"]}:
                group["weight_decay"] = weight_decay
    if options["own_rate"]:
        return Instance(optimizer, [None] * len(groups))
    rates = [usual_rate(group.get("lr")) for group in groups]
    usual = usual or keywords.get("lr") or next((rate for rate in rates if rate), None)
    scales = [float(f"{rate / usual:.12g}") if rate and usual else None for rate in rates]
    if options["groups"] == "muon" and options["aux_lr_ratio"] is not None:
        key = flag(cls)
        scales = [
            options["aux_lr_ratio"] if key and group.get(key) == FLAGS[key][1] else scale
            for group, scale in zip(groups, scales, strict=True)
        ]
    return Instance(optimizer, scales)


def _join_group_of_one() -> None:
    """A process group of this process alone, which classes for several devices ask for their number."""
    from torch import distributed

    if distributed.is_available() and not distributed.is_initialized():
        store = distributed.HashStore()  # type: ignore[attr-defined]
        distributed.init_process_group("gloo", store=store, rank=0, world_size=1)


def _keywords(cls: type, known: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The constructor's arguments beside rate and decay."""
    check_not_text(cls.__name__, options, known)
    keywords = {key: value for key, value in options.items() if key not in OURS}
    for key, default in known.items():
        if isinstance(default, tuple) and isinstance(keywords.get(key), list):
            keywords[key] = tuple(keywords[key])  # cards have no tuples
    needed = [key for key, value in known.items() if value is NEEDED and key not in (*keywords, "lr", *DECAYS)]
    for key in needed:
        if "optimizer" in key:
            raise BadInput(f"{cls.__name__} wraps another optimizer, {key!r}; {IN_A_FILE}.")
    if needed:
        raise BadInput(
            f"{cls.__name__} needs the argument {needed[0]!r}; give it as --set optimizer.{needed[0]}=VALUE."
        )
    return keywords


def _made(
    cls: type[torch.optim.Optimizer], members: Sequence[Member], options: Mapping[str, Any], keywords: dict[str, Any],
    can_do_without: str | None,
) -> torch.optim.Optimizer:  # fmt: skip
    """An instance. can_do_without: an argument that is left out where the constructor refuses it."""
    try:
        return cls(given(cls, members, options), **keywords)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        if can_do_without in keywords:
            less = {key: value for key, value in keywords.items() if key != can_do_without}
            return _made(cls, members, options, less, can_do_without=None)
        first = next(iter(inspect.signature(cls).parameters), "")
        if "optimizer" in first:
            raise BadInput(f"{cls.__name__} wraps another optimizer, {first!r}; {IN_A_FILE}.") from error
        hint = "" if isinstance(error, ImportError) else HINT
        raise BadInput(f"{cls.__name__} cannot be made of the model's parameters: {describe(error)}{hint}.") from error


def given(cls: type, members: Sequence[Member], options: Mapping[str, Any]) -> Any:
    """The constructor's first argument: parameters, groups of them, pairs with names, or a model."""
    first = next(iter(inspect.signature(cls).parameters), "")
    if first in ("model", "module"):
        return _model(members)

    def listed(some: Sequence[Member]) -> list[Any]:
        return [(member.name, member.parameter) if options["named"] else member.parameter for member in some]

    keys = dict(options["group"])
    if options["groups"] == "muon":
        key = flag(cls) or "use_muon"
        hidden, rest = FLAGS[key]
        parts = [
            {"params": listed([member for member in members if member.is_hidden]), key: hidden, **keys},
            {"params": listed([member for member in members if not member.is_hidden]), key: rest, **keys,
             **options["aux_group"]},
        ]  # fmt: skip
        return [part for part in parts if part["params"]]
    return [{"params": listed(members), **keys}] if keys else listed(members)


def _model(members: Sequence[Member]) -> torch.nn.Module:
    """A module that has the parameters under their names, and computes nothing."""
    import torch

    model = torch.nn.Module()
    for member in members:
        *folders, name = member.name.split(".")
        owner = model
        for folder in folders:
            if not hasattr(owner, folder):
                owner.add_module(folder, torch.nn.Module())
            owner = getattr(owner, folder)
        owner.register_parameter(name, member.parameter)
    return model


def set_rate(made: Instance, lr: float) -> None:
    """Sets the learning rates of an instance's groups, in place where they are tensors."""
    for group, scale in zip(made.optimizer.param_groups, made.scales, strict=False):
        if scale is None:
            continue
        if hasattr(group["lr"], "fill_"):
            group["lr"].fill_(lr * scale)
        else:
            group["lr"] = lr * scale


def decays(made: Instance) -> list[float | None]:
    """The weight decay of every group, by whichever name; None where it has none."""
    values = [next((group[name] for name in DECAYS if name in group), None) for group in made.optimizer.param_groups]
    return [None if value is None else float(f"{float(value):.6g}") for value in values]  # the card's come in float32
