"""Answers to the claims of a card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.recompute import kinds
from tests.recompute.contrasts import Verdict, contrast, is_read_between_rates, judged
from tests.recompute.kinds import Case, Found
from tests.recompute.places import own_base, salted
from tests.recompute.rows import Row
from tests.recompute.runs import Object
from tests.recompute.scores import is_up, margin
from tests.recompute.statistics import LEVEL, holm

NOT_MEASURED = "not measured"


class Reading:
    """The answer under one reading. pooled: the verdict on the mean over all units, None without any. p: of the test that
    decided; of a primary claim's first reading adjusted. beside: of a dominance the second score, with p_beside."""

    def __init__(self, claim: Object, reading: str, card: Object, rows: Sequence[Row], seeds: Sequence[int]) -> None:
        self.name, self.other, second = (_read(claim.get(key, ""), reading) for key in ("score", "no_worse", "given"))
        self.case = Case(claim, self.name, claim.get("before", second), card, rows, seeds)
        self.pooled: Verdict | None = None
        self.beside: Verdict | None = None
        self.p, self.p_beside, self.kind = 1.0, 1.0, NOT_MEASURED
        self.found = self._find()
        if not self.found.units:
            return
        self.pooled = self.verdict(self.found, [*self.found.units.values()])
        self.p, margin = self.pooled.p, self.pooled.margin
        if self.pooled.is_test and margin is not None and "equal" in (self._expected, self.pooled.kind):
            p = self.pooled.found.equivalence(margin)
            self.pooled.kind, self.p = ("equal", p) if p <= LEVEL else (self.pooled.kind, self.p)
        self.kind = self._kind(self.pooled)
        if self._expected.startswith("no ") and self.kind != NOT_MEASURED:
            self._is_bounded()
        if self.other:
            self._dominates([*self.found.units.values()])

    def _find(self) -> Found:
        claim = self.case.claim
        match claim.get("kind", "difference"):
            case "interaction":
                return kinds.matrix(self.case, claim["matrix"]["optimizers"])
            case "trend" | "inversion":
                return kinds.lines(self.case, claim["rows"])
        found = kinds.two(self.case)
        if self.other:
            second = kinds.two(self.case._replace(name=self.other), at_bounds=True)
            found.units = {key: pair for key, pair in found.units.items() if key in second.units}
            found.missing |= second.missing
        return found

    def verdict(self, found: Found, units: Sequence[Any]) -> Verdict:
        is_one_pair = found.units and self.case.claim.get("kind", "difference") in ("difference", "dominates")
        return judged(units, found.make, self.name, self.case.card, is_row=bool(is_one_pair))

    def elsewhere(self) -> dict[float, tuple[str, float]]:
        """By other target step what is found there, where it is another verdict or beyond the interval at the card's own:
        both of what has readings at both."""
        found, reading = dict[float, tuple[str, float]](), self.case.card["reading"]
        if self.pooled is None or not self.pooled.is_test or not is_read_between_rates(self.name):
            return found
        limit, make = margin(self.name, self.case.card), self.found.make
        for step in set(reading["target_steps"]) - {reading["target_step"]}:
            units = [unit for unit in self.found.units.values() if make([unit], step).n and make([unit], None).n]
            here, there = (Verdict(make(units, at), limit, set()) for at in (None, step))
            is_other = here.kind != there.kind or not here.low <= there.found.mean <= here.high
            if units and here.is_test and there.is_test and is_other:
                found[step] = there.kind, there.found.mean
        return found

    def by(self, part: int) -> dict[str, Verdict]:
        """Verdicts by place (0) or by two optimizers (1)."""
        units = self.found.units
        keys = dict.fromkeys(key[part] for key in units)
        return {name: self.verdict(self.found, [u for key, u in units.items() if key[part] == name]) for name in keys}

    def _dominates(self, pairs: Sequence[tuple[Row, Row]]) -> None:
        """Better in one score and not worse in another. Worse by the margin: two-sided, as a refutation elsewhere."""
        card, found = self.case.card, contrast(pairs, self.other)
        self.beside = judged(pairs, lambda some, at: contrast(some, self.other, at), self.other, card)
        if found.fewest < 2:
            return
        gain, most = is_up(self.other) * found.mean, margin(self.other, card) or 0.0
        self.p_beside, p_worse = found.tail(gain + most), 2 * found.tail(-gain - most)
        if self.beside.kind == "too few seeds":
            self.kind = NOT_MEASURED
        elif self.kind not in ("opposite", "no difference") and p_worse < LEVEL:
            self.kind, self.p = "opposite", p_worse
        elif self.kind == "supported":
            self.p = max(self.p, self.p_beside)
            self.kind = "supported" if self.p_beside < LEVEL else "inconclusive"

    def _is_bounded(self) -> None:
        """Not beyond the margin on one side, tested there; beyond it two-sided, as a refutation elsewhere."""
        found = self.found.make([*self.found.units.values()], None)
        gain = found.mean if self._expected == "no lower" else -found.mean
        most = margin(self.name, self.case.card) or 0.0
        self.p, beyond = found.tail(gain + most), 2 * found.tail(-gain - most)
        self.kind = "supported" if self.p < LEVEL else "opposite" if beyond < LEVEL else "inconclusive"
        self.p = beyond if self.kind == "opposite" else self.p

    @property
    def _expected(self) -> str:
        better = "higher" if is_up(self.name) > 0 else "lower"
        return better if self.other else str(self.case.claim.get("expected") or "higher")

    def _kind(self, pooled: Verdict) -> str:
        kind = "equal" if pooled.kind == "identical" else pooled.kind
        if kind == "too few seeds":
            return NOT_MEASURED
        if kind in ("depends on target step", "inconclusive") or (self.p >= LEVEL and pooled.kind != "identical"):
            return kind if kind == "depends on target step" else "inconclusive"
        return "supported" if kind == self._expected else "no difference" if kind == "equal" else "opposite"

    def adjust(self, p: float) -> None:
        """With Holm's p-value: what is decided must be significant."""
        is_open = self.kind in ("supported", "opposite", "no difference") and p >= LEVEL
        self.p = p
        if is_open and self.pooled and self.pooled.kind != "identical":
            self.kind = "inconclusive"

    def again(self) -> Mapping[str, Verdict]:
        """A/A, by the name of the optimizer."""
        claim, card = self.case.claim, self.case.card
        kind, found = claim.get("kind", "difference"), dict[str, Verdict]()
        if kind in ("difference", "dominates"):
            return self.twins(self.name)
        side = claim.get("rows", {})
        of_matrix = claim.get("matrix", {}).get("optimizers", [])
        for optimizer in of_matrix or [side["optimizer"]]:
            for name in salted(card, optimizer):
                own = own_base(card, name) == name and not side.get("base")
                twin = {**side, "optimizer": name} | ({"base": name} if own else {})
                of = kinds.matrix(self.case, [optimizer, name]) if of_matrix else kinds.lines(self.case, twin)
                if of.units:
                    found[optimizer] = self.verdict(of, [*of.units.values()])
        return found

    def twins(self, name: str) -> Mapping[str, Verdict]:
        """Of each side of a difference in a score: itself less its salted variant; at the card's target step alone."""
        pairs = kinds.twins(self.case, [*self.found.units.values()])
        limit = margin(name, self.case.card)
        return {key: Verdict(contrast(both, name), limit, set()) for key, both in pairs.items()}


class Answer:
    """To a claim: that of the readings that were measured, if they agree; two ways to be refuted do."""

    def __init__(self, claim: Object, card: Object, rows: Sequence[Row], seeds: Sequence[int]) -> None:
        self.claim = claim
        self.readings = [Reading(claim, of, card, rows, seeds) for of in claim.get("readings") or [""]]

    @property
    def kind(self) -> str:
        kinds = [reading.kind for reading in self.readings if reading.kind != NOT_MEASURED]
        if len({*kinds}) > 1 and not {*kinds} <= {"opposite", "no difference"}:
            return "depends on reading"
        return kinds[0] if kinds else NOT_MEASURED


def answers(card: Object, rows: Sequence[Row], seeds: Sequence[int]) -> list[Answer]:
    """Of every claim, in the card's order."""
    found = [Answer(claim, card, rows, seeds) for claim in card.get("claims", [])]
    primary = [answer.readings[0] for answer in found if answer.claim.get("primary")]
    primary = [reading for reading in primary if reading.found.units]
    for reading, p in zip(primary, holm([reading.p for reading in primary]), strict=True):
        reading.adjust(p)
    return found


def _read(name: str, reading: str) -> str:
    return name if not name or reading in ("", "end") else f"{name}@{reading}"
