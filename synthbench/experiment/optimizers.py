"""The optimizers of a card: their labels, and all that can change how they move weights.

A card and `--set` may name plug-ins as they are typed for `run`, with a path; tables and resolved cards have the label,
`file.py:Name` without the file's folder.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synthbench import cards, plugins
from synthbench.cards import RunnerCard
from synthbench.common import files, overrides, sources
from synthbench.common.errors import BadInput
from synthbench.common.validation import LISTS, as_list, message
from synthbench.common.wording import did_you_mean, listed, named, shown
from synthbench.experiment.identity import PACKAGE
from synthbench.experiment.runs import OptimizerSpec
from synthbench.plugins.loading import SUFFIX, label
from synthbench.trainer import layout as layouts
from synthbench.trainer import low_rank as lora
from synthbench.trainer.optimizers import IMPLEMENTATIONS, OPTIMIZERS


def label_all(content: dict[str, Any]) -> None:
    """Gives optimizers their labels in a runner's content. Where a table has one optimizer under two names, both entries
    are merged, and the later one wins."""
    content["arguments"] = _merged(content.get("arguments", {}), label)
    for variant in content.get("variants", {}).values():
        variant |= {key: label(variant[key]) for key in ("of", "base") if variant.get(key)}
    for stage in content["stages"]:
        if isinstance(stage["lr"], dict):
            stage["lr"] = _merged(stage["lr"], label)
        if isinstance(stage.get("optimizer"), list):
            stage["optimizer"] = list(map(label, stage["optimizer"]))
        stage["for"] = _merged(stage.get("for", {}), _called)
    for claim in content.get("claims", []):
        for rows in filter(None, (claim.get("rows"), claim.get("than"))):
            rows |= {key: label(rows[key]) for key in ("optimizer", "base") if rows.get(key)}
        if matrix := claim.get("matrix"):
            matrix["optimizers"] = list(map(label, matrix["optimizers"]))


def _merged(table: Mapping[str, Any], called: Callable[[str], str]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name, new in table.items():
        old = merged.get(called(name))
        merged[called(name)] = old | new if isinstance(old, dict) and isinstance(new, dict) else new
    return merged


def _called(name: str) -> str:
    """A key of `for`: of a task, an optimizer, or both with a slash between them, which a path may have, too."""
    task, slash, rest = name.partition("/")
    if _is_in_file(name):
        return label(name)
    return f"{task}{slash}{label(rest)}" if _is_in_file(rest) else name


def _is_in_file(name: str) -> bool:
    """Whether a name means something in a file that exists."""
    where = name.rpartition(":")[0]
    return where.endswith(SUFFIX) and files.is_file(Path(where))


def check_distinct(names: Sequence[str], origin: str) -> None:
    """Raises BadInput where two of these names are of different files of the same name."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(label(name), name)
        if Path(other).resolve() != Path(name).resolve():
            both = f"{named(other)} and {named(name)}"
            raise BadInput(f"{origin}: {both} have the same label, {named(label(name))}; rename one of the files.")


def check_shared(argument: str, value: Any, names: Sequence[str]) -> None:
    """Raises BadInput where some of several optimizers have an argument that `--set optimizer.` gives all, some do not."""
    able = [name for name in names if name not in OPTIMIZERS or takes(name, argument, value)]
    unable = [name for name in names if name not in able]
    if unable and (able := [name for name in able if name in OPTIMIZERS]):
        (setting,) = overrides.typed({f'arguments."{able[0]}".{argument}': value})
        raise BadInput(
            f"--set optimizer.{argument}: {listed(unable)} {'has' if len(unable) == 1 else 'have'} no argument "
            f"{shown(argument)}; give it to one alone: --set {named(shlex.quote(setting))}."
        )


def takes(name: str, argument: str, value: Any) -> bool:
    """Whether a registered optimizer has an argument of this name, whatever values it allows."""
    card = OPTIMIZERS[name].arguments
    if not issubclass(card, plugins.Arguments):
        return argument in card.model_fields
    try:
        card.model_validate({argument: value})
    except ValidationError as error:
        return bool(error.errors()[0]["loc"])  # an unknown name is an error of all arguments together, without a place
    return True


def spec(name: str, card: RunnerCard, origin: str) -> OptimizerSpec:
    """The optimizer behind a name on a card, which may be a variant's."""
    registered = card.optimizer_of(name)
    if registered not in OPTIMIZERS:
        sentence = plugins.unknown(name, [*OPTIMIZERS, *card.variants])
        raise BadInput(f"{sentence[:1].upper()}{sentence[1:]}.")
    of_variant = card.variants[name].arguments if name in card.variants else {}
    given = plugins.of_shape(registered, card.shape) | card.arguments.get(registered, {}) | of_variant
    arguments = checked(registered, given, origin, name, ["arguments", registered], of_variant)
    return spec_of(registered, arguments)


def checked(
    registered: str,
    values: Mapping[str, Any],
    origin: str,
    name: str,
    where: Sequence[str],
    of_variant: Collection[str] = (),
) -> cards.Card:
    """The arguments of a registered optimizer, with its defaults for those not given; raises BadInput that begins with
    `origin`. name: the optimizer's on the card. where: the path of the table of arguments that are not `of_variant`."""
    optimizer = OPTIMIZERS[registered]
    try:
        arguments = optimizer.arguments.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise BadInput(f"{origin}: {message(first['msg'])}.") from None
        key = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            allowed = optimizer.arguments.model_fields
            raise BadInput(f"{origin}: {name} has no argument {shown(key)}{did_you_mean(key, allowed)}.") from None
        parts = ["variants", name, "arguments"] if key in of_variant else where
        reason = as_list(first["input"], [*parts, key], origin) if first["type"] in LISTS else None
        why = reason or message(first["msg"])
        raise BadInput(f"{origin}: {'.'.join(parts)}.{key} = {shown(first['input'])}: {why}.") from None
    is_idle = isinstance(arguments, plugins.Arguments) and arguments.routing == "all"
    is_idle = is_idle and getattr(arguments, "groups", "all") == "all"
    if is_idle and "aux_lr_ratio" in arguments.model_fields_set:
        raise BadInput(
            f"{origin}: {name}: aux_lr_ratio is the rate of AdamW beside it, which moves nothing under routing = all; "
            "give --set routing=hidden, too."
        )
    return arguments


def spec_of(registered: str, arguments: cards.Card) -> OptimizerSpec:
    """A registered optimizer with these arguments, as it stands in a run's identity."""
    values = arguments.model_dump(mode="json")
    return OptimizerSpec(registered, plugins.routing_of(registered, values), values, source_hash(registered))


def source_hash(registered: str) -> str:
    """sha256 of what the code of a registered optimizer computes: of the file with its step, or of a plug-in's files."""
    if plugin := plugins.plugin_of(registered):
        return plugin.source
    path = Path(IMPLEMENTATIONS[registered].step.__code__.co_filename)
    return sources.digest([path], PACKAGE if PACKAGE in path.parents else path.parent)


def trainable(layout: layouts.Layout, update: str) -> layouts.Layout:
    """The parameters that an update moves."""
    if update.startswith("lora-"):
        return lora.adapters(layout, int(update.removeprefix("lora-")))
    return layouts.hidden(layout) if update == "full-hidden" else layout
