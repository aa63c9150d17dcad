"""What a card's claims must hold to beside their form: names that exist, scores that can be read as a claim needs them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from synthbench.cards import ClaimCard, RunnerCard
from synthbench.cards.claim import PlaceCard
from synthbench.common.errors import BadInput
from synthbench.common.wording import known, shown
from synthbench.scores import SCORES
from synthbench.trainer.optimizers import OPTIMIZERS

DIRECTED = [name for name, score in SCORES.items() if score.better != "-"]


def check(card: RunnerCard, tasks: Collection[str], origin: str) -> None:
    """Raises BadInput with one sentence for the first thing that is wrong with a claim. tasks: their labels."""
    for index, claim in enumerate(card.claims):
        where = f"{origin}: claims.{index}"
        _scores(claim, card, where)
        if claim.rows == claim.than and claim.rows:
            raise BadInput(f"{where}: its rows are compared with themselves; `rows` and `than` must differ.")
        for key, name in _optimizers(claim):
            known(f"{where}.{key}", "optimizer", name, {*OPTIMIZERS, *card.variants})
        for name in claim.tasks or ():
            known(f"{where}.tasks", "task", name, tasks)
        _axes(claim, card, where)


def _optimizers(claim: ClaimCard) -> Iterator[tuple[str, str]]:
    for key, rows in (("rows", claim.rows), ("than", claim.than)):
        if rows:
            yield key, rows.optimizer
            yield from ((key, name) for name in (rows.base or "").split("/") if name)
    yield from (("matrix", name) for name in (claim.matrix.optimizers if claim.matrix else ()))


def _scores(claim: ClaimCard, card: RunnerCard, where: str) -> None:
    named = {"score": claim.score, "no_worse": claim.no_worse, "given": claim.given, "before": claim.before}
    for key, name in named.items():
        if name is None:
            continue
        for read in [name] if key == "before" else claim.under_readings(name):
            if claim.readings and key != "before" and "@" in name:
                raise BadInput(
                    f"{where}.{key} = {shown(name)} has a reading in its name beside `readings`; keep one of them."
                )
            known(f"{where}.{key}", "score", read, SCORES)
            if claim.kind in ("dominates", "inversion"):
                known(f"{where}.{key}", "score with a direction", read, DIRECTED)
    for name in (*claim.scores, claim.given) if claim.given else ():
        if name.endswith("@t"):
            raise BadInput(f"{where}.given: {shown(name)} may be a bound, which has no slope; name another score.")
    at_end = [name for name in DIRECTED if SCORES[name].level != "cell"]
    if claim.before:
        known(f"{where}.before", "score of a base", claim.before, at_end)
    for name in claim.under_readings(claim.no_worse) if claim.no_worse else ():
        if name.endswith("@t"):
            raise BadInput(
                f"{where}.no_worse = {shown(name)} may be a bound, which is within no margin; name another score."
            )
        _margin(card, name, f"{where}.no_worse = {shown(name)}")
    for name in claim.scores if claim.is_noninferiority else ():
        if name.endswith("@t"):
            raise BadInput(
                f"{where}.score = {shown(name)} may be a bound, which is within no margin; name another score."
            )
        _margin(card, name, f"{where}.expected = {shown(claim.expected)}")


def _margin(card: RunnerCard, name: str, where: str) -> None:
    if (unit := SCORES[name].unit) not in card.margins:
        raise BadInput(f"{where}: margins has none for its unit, {shown(unit)}.")


def _axes(claim: ClaimCard, card: RunnerCard, where: str) -> None:
    """Axes that exist, are pooled alike on both sides, and are of numbers where something changes along them."""
    places = {"rows": claim.rows, "than": claim.than, "matrix": claim.matrix}
    given: dict[str, PlaceCard] = {key: place for key, place in places.items() if place}
    for key, place in given.items():
        for label in place.axes:
            known(f"{where}.{key}.axes", "axis", label, axes(card))
    if len({str(place.pooled) for place in given.values()}) > 1:
        raise BadInput(f"{where}: `rows` and `than` must list the same values of the axes over which they are pooled.")
    if claim.axis is None or claim.rows is None:
        return
    known(f"{where}.axis", "axis", claim.axis, axes(card))
    of_last = f"stages.{card.stages[-1].name}."
    moved = {axis.path.removeprefix(of_last) for axis in card.axes} | {axis.name for axis in card.axes}
    if claim.axis not in moved:
        raise BadInput(f"{where}.axis = {shown(claim.axis)}: no axis of the card changes it in the last stage.")
    listed = claim.rows.axes.get(claim.axis, [])
    values = listed if isinstance(listed, list) else [listed]
    if len(values) == 1 or any(isinstance(value, str) for value in values):
        raise BadInput(f"{where}.rows.axes.{claim.axis} = {shown(listed)}: a {claim.kind} needs two numbers or more.")
    if claim.scale == "log" and (least := min((v for v in values if not isinstance(v, str)), default=1)) <= 0:
        raise BadInput(
            f"{where}.scale = 'log': {claim.axis} has the value {least:g}; a logarithm needs values above 0."
        )


def axes(card: RunnerCard) -> list[str]:
    """The labels of all that claims may call an axis."""
    return list(dict.fromkeys([*(axis.name for axis in card.axes), "size", "weight_decay"]))
