"""Labels of plug-in optimizers: `file.py:Name` without the file's folder, wherever a card or `--set` names one.

A card may name them as they are typed for `run`, with a path; tables and resolved cards have the label.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from synthbench import plugins
from synthbench.common import files
from synthbench.common.errors import BadInput
from synthbench.common.wording import listed, named, shown
from synthbench.plugins.loading import SUFFIX, label
from synthbench.trainer.optimizers import OPTIMIZERS


def labelled(content: Mapping[str, Any]) -> dict[str, Any]:
    """A runner's content with optimizers by their labels. Where a table has one optimizer under two names, both entries
    are merged, and the later one wins."""
    new = dict(content)
    new["arguments"] = _keys(content.get("arguments", {}))
    new["variants"] = {
        name: variant | {key: label(variant[key]) for key in ("of", "base") if variant.get(key)}
        for name, variant in content.get("variants", {}).items()
    }
    new["stages"] = [_stage(stage) for stage in content["stages"]]
    new["claims"] = [
        claim | {side: claim[side] | {"optimizer": label(claim[side]["optimizer"])} for side in ("rows", "than")}
        for claim in content.get("claims", [])
    ]
    return new


def _stage(stage: Mapping[str, Any]) -> dict[str, Any]:
    new = dict(stage)
    if isinstance(stage["lr"], dict):
        new["lr"] = _keys(stage["lr"])
    if "for" in stage:
        new["for"] = _keys(stage["for"], _called)
    if isinstance(stage.get("optimizer"), list):
        new["optimizer"] = list(map(label, stage["optimizer"]))
    return new


def _keys(table: Mapping[str, Any], called: Callable[[str], str] = label) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for name, new in table.items():
        key = called(name)
        old = merged.get(key)
        merged[key] = old | new if isinstance(old, dict) and isinstance(new, dict) else new
    return merged


def _called(name: str) -> str:
    """A key of `for`: of a task, an optimizer, or both with a slash between them, which a path may have, too."""
    task, slash, rest = name.partition("/")
    if is_file(name):
        return label(name)
    return f"{task}{slash}{label(rest)}" if is_file(rest) else name


def is_file(name: str) -> bool:
    """Whether a name means something in a file that exists."""
    where = name.rpartition(":")[0]
    return where.endswith(SUFFIX) and files.is_file(Path(where))


def check_distinct(names: Sequence[str], origin: str) -> None:
    """Raises BadInput where two of these names are of different files of the same name."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(label(name), name)
        if other != name and Path(other.rpartition(":")[0]).resolve() != Path(name.rpartition(":")[0]).resolve():
            raise BadInput(
                f"{origin}: {named(other)} and {named(name)} have the same label, {named(label(name))}; rename one of the "
                "files."
            )


def check_shared(argument: str, value: Any, typed: str, names: Sequence[str]) -> None:
    """Raises BadInput where some of several optimizers have an argument that `--set optimizer.` gives all, and some do
    not. typed: the value as it was typed."""
    able = [name for name in names if name not in OPTIMIZERS or takes(name, argument, value)]
    unable = [name for name in names if name not in able]
    if unable and (able := [name for name in able if name in OPTIMIZERS]):
        setting = f'arguments."{able[0]}".{argument}={typed}'
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
