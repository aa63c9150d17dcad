"""Old spellings of a runner card's keys and of scores, read for one version: they are renamed, and one line says so."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from synthbench.common.errors import BadInput

RENAMED = {
    ("arms",): ("variants",),
    ("tier",): ("rank",),
    ("reading", "speed"): ("reading", "target_step"),
    ("reading", "speeds"): ("reading", "target_steps"),
}
OVER_FIT = "_over_fit"  # the old end of scores `x@fits`
UNTIL = "0.2"  # the version that no longer reads them


def score_name(name: str) -> str:
    """A score by the name that it is registered under: `x` for `x@end`, `x@fits` for the old `x_over_fit`."""
    score, _, reading = name.partition("@")
    return score if reading == "end" else f"{score.removesuffix(OVER_FIT)}@fits" if name.endswith(OVER_FIT) else name


def score_names(names: Sequence[str], origin: str) -> list[str]:
    """Scores by the names that they are registered under; one line says which spellings are old."""
    _notice(_old_scores(names), origin)
    return [*map(score_name, names)]


def _old_scores(names: Iterable[Any]) -> list[str]:
    return [f"{name} is now {score_name(name)}" for name in names if isinstance(name, str) and name.endswith(OVER_FIT)]


def _scores_in(content: Mapping[str, Any]) -> Iterator[Any]:
    """The scores that a runner card's content names, whatever its form."""
    yield from columns if isinstance(columns := content.get("columns"), list) else ()
    yield content.get("tier")
    claims = content.get("claims")
    for claim in claims if isinstance(claims, list) else ():
        yield from (claim.get(key) for key in ("score", "no_worse", "before") if isinstance(claim, dict))


def renewed(content: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """A runner card's content as it was read, with today's names of its keys and of the paths in its scales; origin: where
    it was read from, for the notice on standard error. Scores have today's names once the card is parsed."""
    used: list[str] = []
    card = _renewed_table([], content, used, origin)
    if isinstance(reading := card.get("reading"), dict):
        card["reading"] = _renewed_table(["reading"], reading, used, origin)
    if isinstance(scales := card.get("scales"), dict):
        for name, scale in scales.items():
            if isinstance(scale, dict):
                scales[name] = {".".join(_renewed(path.split("."), used)): value for path, value in scale.items()}
    card = with_axes(card, used)
    _notice([*used, *_old_scores(_scores_in(card))], origin)
    return dict(card)


def with_axes(content: Any, used: list[str]) -> Any:
    """A runner card's content in which lists of weight decays and of sizes, as stages had them, are axes; notes in `used`
    what is to be said. Lists of one value are that value. Content of another form is left as it is."""
    if not isinstance(content, dict) or not isinstance(stages := content.get("stages"), list):
        return content
    axes, changed = [], []
    for stage in stages:
        if isinstance(stage, dict):
            stage, found = _without_lists(stage)
            axes += found
        changed.append(stage)
    used += [f"a list at {axis['path']} is now an axis" for axis in axes]
    return content | {"stages": changed} | ({"axes": [*content.get("axes", []), *axes]} if axes else {})


def _without_lists(stage: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A stage with one weight decay and one size, and the axes of its lists."""
    stage, axes = dict(stage), list[dict[str, Any]]()
    for old, new, label in (("sizes", "size", "size"), ("weight_decay", "weight_decay", "decay")):
        values = stage.get(old)
        if not isinstance(values, list) or not values:
            continue
        del stage[old]
        stage[new] = values[0]
        if len(values) > 1:
            axis = {"path": f"stages.{stage.get('name')}.{new}", "values": values, "label": label}
            updates = stage.get("update")
            is_of_first = old == "sizes" and isinstance(updates, list) and len(updates) > 1
            axes.append(axis | ({"updates": updates[:1]} if is_of_first and updates else {}))
    if isinstance(overrides := stage.get("for"), dict):
        stage["for"] = {
            name: _without_lists(one)[0] if isinstance(one, dict) else one for name, one in overrides.items()
        }
        for one in stage["for"].values():
            if isinstance(one, dict) and one.get("sizes", 0) is None:
                del one["sizes"]
    return stage, axes


def renewed_settings(settings: Iterable[tuple[list[str], Any]]) -> list[tuple[list[str], Any]]:
    """Paths and values of `--set`, with today's names in the paths and in a value that is the table `reading`."""
    used: list[str] = []
    new = [
        (_renewed(path, used), _renewed_table(path, value, used, "--set") if isinstance(value, dict) else value)
        for path, value in settings
    ]
    used += _old_scores(score for path, value in new if len(path) == 1 for score in _scores_in({path[0]: value}))
    _notice(used, "--set")
    return new


def _renewed_table(path: Sequence[str], table: Mapping[str, Any], used: list[str], origin: str) -> dict[str, Any]:
    """A table at a path with today's names of its keys; raises BadInput where it has an old name beside the new one."""
    names = {key: _renewed([*path, key], used)[-1] for key in table}
    for key, name in names.items():
        if key != name and name in table:
            raise BadInput(f"{origin}: {key} and {name} are the same key; keep {name} alone.")
    return {names[key]: value for key, value in table.items()}


def _renewed(path: Sequence[str], used: list[str]) -> list[str]:
    """A path with its new beginning; notes in `used` what is to be said of an old one."""
    for old, new in RENAMED.items():
        if tuple(path[: len(old)]) == old:
            used.append(f"{'.'.join(old)} is now {'.'.join(new)}")
            return [*new, *path[len(old) :]]
    return list(path)


def _notice(used: Sequence[str], origin: str) -> None:
    if used:
        names = ", ".join(dict.fromkeys(used))
        print(f"synthbench: {origin}: {names}; old names are read until version {UNTIL}.", file=sys.stderr)
