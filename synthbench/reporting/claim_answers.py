"""Answers to claims in words: one line each, for a page, a terminal and other programs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from synthbench.analysis.along import CHANCE, Turn
from synthbench.analysis.claims import REFUTED, Answer, Beside, Reading
from synthbench.analysis.verdict import DECIDED, LEVEL, Verdict
from synthbench.cards import ClaimCard
from synthbench.cards.claim import PlaceCard, RowsCard
from synthbench.common.wording import code, inert, listed, literal, prose
from synthbench.reporting.bounds import within
from synthbench.reporting.sentence import UNPAIRED, by_rank, elsewhere, numbers, p_value, undirected
from synthbench.reporting.table import Entry, rounded, signed
from synthbench.reporting.terminal_table import Column, Drawing
from synthbench.scores import SCORES

NOTE = (
    "Answers hold for these tasks, sizes and readings. Differences: means over tasks, with 95 % intervals, paired "
    "over seeds (Student's t) where rows start from the same models, else unpaired (Welch's t); inversions by flipped "
    "signs, at equal values of another score by the jackknife. A/A: an optimizer minus itself with other random "
    "numbers, which should be 0; of a trend or an inversion the same of its other random numbers, which should repeat "
    "it. The primary claims share one error rate of 5 % (Holm, each with its first reading); the others are "
    "exploratory."
)
NO_AGAIN = "No A/A on the card"
DIRECTIONS = {
    "trend": {"higher": "rising", "lower": "falling"},
    "inversion": {"higher": "mostly inverted", "lower": "mostly kept"},
}  # of kinds of claims whose verdicts have other words


def lines(answers: Sequence[Answer], folder: Path | None) -> list[str]:
    """A numbered list in markdown: the claim, its answer with its numbers, the command that repeats the comparison."""
    return [f"{number}. {' '.join(_parts(answer, folder))}" for number, answer in enumerate(answers, start=1)]


def _parts(answer: Answer, folder: Path | None) -> Iterator[str]:
    claim = answer.claim
    yield f"**{in_words(answer)}{_rank(claim)}:** {literal(prose(claim.says))} ({literal(prose(claim.source))})"
    for reading in answer.readings:
        left_out = literal(", ".join(f"{task} ({why})" for task, why in reading.missing.items()))
        if reading.tasks:
            yield from _of_reading(reading, claim)
        elif len(answer.readings) > 1:
            yield f"{code(reading.score)} was not measured."
        if reading.missing:
            yield f"Left out: {left_out}."
    if command := repeat(claim, folder):
        yield code(command)


def _of_reading(reading: Reading, claim: ClaimCard) -> Iterator[str]:
    tasks, pooled = reading.tasks, reading.pooled
    answered = f", {reading_in_words(reading, claim)}" if len(claim.scores) > 1 else ""
    held = f" given {code(str(claim.given))}" if claim.given else ""
    yield f"{code(reading.score)}{held} of {literal(contrast(claim))}{answered}: {_numbers_in_words(reading, claim)}."
    if reading.beside:
        yield f"{literal(_no_worse(reading.beside))}."
    yield f"{literal(again_in_words(reading, claim))}."
    if there := elsewhere(pooled):
        yield f"The size depends on the target step: {there.removeprefix('; ')}."
    if reading.turn:
        yield f"{literal(turn_in_words(reading.turn, claim))}."
    if len(reading.matrix) > 1:
        yield f"By two optimizers: {literal(_grouped(reading.matrix, claim, reading.score))}."
    others = {_stratum(key, claim) for key in reading.missing} - tasks.keys()
    noun = "tasks and values" if any(place.pooled for place in _places(claim)) else "tasks"
    yield f"{len(tasks)} of {len(tasks) + len(others)} {noun}: {literal(by_task(reading, claim))}."
    if len({judged.difference.n for judged in tasks.values()}) > 1:
        yield f"Seeds: {literal(', '.join(f'{task} {judged.difference.n}' for task, judged in tasks.items()))}."


def _stratum(missing: str, claim: ClaimCard) -> str:
    """The task (with the values of axes that are pooled) of something that is left out, whose name may go on with two
    optimizers of a matrix or with a value of the axis: `wugs` of `wugs, adamw and muon`."""
    return missing.rpartition(", ")[0] if claim.matrix else missing.partition(f", {claim.axis} ")[0]


def _rank(claim: ClaimCard) -> str:
    return " (primary)" if claim.primary else ""


def in_words(answer: Answer) -> str:
    """The answer in words: `supported`, or `inconclusive (n = 8; about 30 seeds for 80 % power)`."""
    claim, measured = answer.claim, [reading for reading in answer.readings if reading.kind != "not measured"]
    if answer.kind != "depends on reading":
        words = reading_in_words(next(iter(measured), answer.first), claim)
        small = [reading for reading in measured if _is_small(reading, claim)]
        if answer.kind != "supported" or len(small) in (0, len(measured)):
            return words
        return f"supported (smaller than {small[0].pooled.margin:g} at {listed(_names(small, claim))})"
    groups: dict[str, list[str]] = {}
    for reading in measured:
        words = reading_in_words(reading, claim)
        groups.setdefault(words, []).extend(_names([reading], claim))
    return f"depends on the reading ({'; '.join(f'{kind} at {listed(names)}' for kind, names in groups.items())})"


def _names(readings: Sequence[Reading], claim: ClaimCard) -> list[str]:
    return [claim.readings[claim.scores.index(reading.score)] for reading in readings]


def _is_small(reading: Reading, claim: ClaimCard) -> bool:
    """Whether it supports a difference all of whose interval lies within the margin."""
    return reading.kind == "supported" and not claim.expects_none and reading.pooled.is_small


def reading_in_words(reading: Reading, claim: ClaimCard) -> str:
    """The answer under one reading in words."""
    pooled, expects_none = reading.pooled._replace(p=reading.p), claim.expected == "equal"
    if reading.beside and reading.kind == "opposite":
        return f"refuted: worse in {_worse_in(reading, reading.beside)}"
    if reading.beside and reading.kind == "inconclusive" and pooled.kind in DECIDED and reading.beside.p >= LEVEL:
        return f"inconclusive (better, but {_perhaps_worse(reading.beside)}, {p_value(reading.beside.p)})"
    if claim.is_noninferiority and reading.kind in ("inconclusive", "opposite"):
        beyond = f"{str(claim.expected).removeprefix('no ')} by more than {pooled.margin:g}"
        is_refuted = reading.kind == "opposite"
        return f"refuted: {beyond}" if is_refuted else f"inconclusive (may be {beyond}, {p_value(reading.p)})"
    if reading.kind == "inconclusive" and pooled.kind != "inconclusive":
        return f"inconclusive (n = {pooled.difference.n}; not significant after Holm's correction)"
    if reading.kind in ("inconclusive", "depends on target step"):
        return undirected(pooled)
    if reading.kind == "no difference":
        return f"refuted: {undirected(pooled)}"
    if reading.kind == "opposite":
        return "refuted: " + ("there is a difference" if expects_none else "opposite")
    if _is_small(reading, claim):
        return f"supported (smaller than {pooled.margin:g})"
    if reading.kind == "supported" and claim.is_noninferiority and pooled.difference.excludes_zero:
        worse = str(claim.expected).removeprefix("no ")
        is_worse = (pooled.difference.mean < 0) is (worse == "lower")
        return f"supported ({worse}, but by less than {pooled.margin:g})" if is_worse else "supported"
    return reading.kind


def _worse_in(reading: Reading, beside: Beside) -> str:
    """The score that refutes a dominance."""
    worse = "higher" if SCORES[reading.score].better == "down" else "lower"
    return reading.score if reading.pooled.kind == worse else _by_margin(beside)


def _perhaps_worse(beside: Beside) -> str:
    """`may be worse in learning by more than 0.05`; where it surely is worse, `worse in learning, perhaps by ...`."""
    found = beside.pooled.difference
    is_worse = found.excludes_zero and (found.mean < 0) is (SCORES[beside.score].better == "up")
    if is_worse:
        return f"worse in {beside.score}, perhaps by more than {beside.pooled.margin:g}"
    return f"may be worse in {_by_margin(beside)}"


def _by_margin(beside: Beside) -> str:
    return f"{beside.score} by more than {beside.pooled.margin:g}"


def summary(answers: Sequence[Answer]) -> str:
    """All answers in one sentence: `Of 10 claims: 4 supported (1, 4, 6, 7), ...`."""
    groups: dict[str, list[str]] = {}
    for number, answer in enumerate(answers, start=1):
        kind = answer.kind.replace("depends on ", "depends on the ")
        groups.setdefault("refuted" if answer.kind in REFUTED else kind, []).append(str(number))
    parts = [f"{len(numbers)} {kind} ({', '.join(numbers)})" for kind, numbers in groups.items()]
    return f"Of {len(answers)} claim{'s' * (len(answers) > 1)}: {', '.join(parts)}."


def by_task(reading: Reading, claim: ClaimCard) -> str:
    """The verdict of each task: `lower in wugs (-0.12); inconclusive in noisy-rule (+0.02)`."""
    return _grouped(reading.tasks, claim, reading.score)


def _grouped(verdicts: Mapping[str, Verdict], claim: ClaimCard, score: str) -> str:
    groups: dict[str, list[str]] = {}
    for name, judged in verdicts.items():
        kind = undirected(judged) if judged.kind in ("equal", "depends on target step") else judged.kind
        kind = DIRECTIONS.get(claim.kind, {}).get(kind, kind)
        size = by_rank(judged) if judged.ranked else numbers_of(judged, claim, score).partition(" [")[0]
        groups.setdefault(kind, []).append(f"{name} ({size})")
    return "; ".join(f"{kind} in {', '.join(names)}" for kind, names in groups.items())


def contrast(claim: ClaimCard) -> str:
    """What a claim contrasts: `muon full minus adamw full`."""
    if claim.matrix:
        names = listed(claim.matrix.optimizers)
        return f"{_at(claim.matrix)} updates by the optimizer that pretrained minus by another ({names})"
    details = list(dict.fromkeys(map(_details, claim.sides)))
    if len(details) == 1 < len(claim.sides):
        names = " minus ".join(f"{side.name} {side.update}" for side in claim.sides)
        return names + f", at {details[0]}" * bool(details[0])
    first, *others = (f"{side.name} {_at(side)}" for side in claim.sides)
    if claim.kind == "trend":
        scale = " (its logarithm)" * (claim.scale == "log")
        return f"{first} along {claim.axis}{scale}, from its least to its greatest value"
    if claim.kind == "inversion":
        return f"{first} along {claim.axis}, pairs in the order opposite to that of {claim.before} before"
    return " minus ".join([first, *others])


def _at(place: PlaceCard) -> str:
    """An update, and where on the axes: `full at 0.5x the items, decay 0, 0.1`."""
    details = _details(place)
    return f"{place.update}{' at ' * bool(details)}{details}"


def _details(place: PlaceCard) -> str:
    values = {label: listed(map(_plain, v)) if isinstance(v, list) else _plain(v) for label, v in place.axes.items()}
    details = [f"{place.size:g}x the items"] * (place.size != 1) + [f"{label} {text}" for label, text in values.items()]
    return ", ".join(details)


def _plain(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _places(claim: ClaimCard) -> list[PlaceCard]:
    return [*claim.sides, *([claim.matrix] if claim.matrix else [])]


def numbers_of(judged: Verdict, claim: ClaimCard, score: str) -> str:
    """`-0.11 [-0.13, -0.10]`; of inversions shares of pairs, of the order of bounds Kendall's tau."""
    mean, low, high, n = judged.difference
    if claim.kind == "inversion" and n:
        ends = (f"{min(1, max(0, CHANCE + end)):.0%}" for end in (low, high))
        return f"{CHANCE + mean:.0%} [{', '.join(ends)}]"
    if claim.kind == "trend" and score.endswith("@t") and n:
        return f"tau {signed(mean)} [{signed(max(-1, low))}, {signed(min(1, high))}]"
    return numbers(judged, score)


def again_in_words(reading: Reading, claim: ClaimCard) -> str:
    """`A/A (adamw again): +0.01 [-0.03, +0.05]` for each optimizer that is on the card with another salt."""
    clauses = [f"A/A ({name} again): {text}" for name, text in again_by_name(reading, claim).items()]
    if beside := reading.beside:
        clauses += [f"{beside.score} ({name} again): {text}" for name, text in again_beside(beside).items()]
    return "; ".join(clauses) or NO_AGAIN


def again_by_name(reading: Reading, claim: ClaimCard) -> dict[str, str]:
    """By optimizer the numbers of its A/A, with a word where it is not what it should be: 0, or along an axis the same."""
    texts = {}
    for name, judged in reading.again.items():
        other = " (another answer)" * (judged.kind != reading.pooled.kind)
        told = other if claim.kind in DIRECTIONS else _not_0(judged)
        texts[name] = numbers_of(judged, claim, reading.score) + told
    return texts


def again_beside(beside: Beside) -> dict[str, str]:
    """By optimizer the numbers of the A/A of a dominance's second score."""
    return {name: numbers(judged, beside.score) + _not_0(judged) for name, judged in beside.again.items()}


def _not_0(judged: Verdict) -> str:
    return " (not 0)" * judged.difference.excludes_zero


def turn_in_words(turn: Turn, claim: ClaimCard) -> str:
    """`Best at decay 0.1 (0.05 to 0.2 in 95 % of resamples of the seeds)`."""
    where = "" if turn.is_inside else ", an end of the axis: no turn is seen"
    spread = f"{turn.low:g}" if turn.low == turn.high else f"{turn.low:g} to {turn.high:g}"
    return f"Best mean at {claim.axis} {turn.best:g}{where} ({spread} in 95 % of resamples of the seeds)"


def _no_worse(beside: Beside) -> str:
    """`rule_accuracy: +0.01 [-0.02, +0.04], against a loss of 0.05 p = .002`."""
    tested = f"against a loss of {beside.pooled.margin:g} {p_value(beside.p)} (one-sided)"
    return f"{beside.score}: {numbers(beside.pooled, beside.score)}, {tested}"


def _numbers_in_words(reading: Reading, claim: ClaimCard) -> str:
    """`-0.11 [-0.13, -0.10], n = 8, p < .001`, the p-value where one decides."""
    pooled, p = reading.pooled, reading.pooled.p if reading.beside else reading.p
    text = f"{numbers_of(pooled._replace(p=p), claim, reading.score)}, n = {pooled.difference.n}"
    how = "" if pooled.paired else f" ({UNPAIRED})"
    is_decided = pooled.kind in DECIDED and not pooled.ranked
    return f"{text}, {p_value(p)}{how}" if is_decided else text + how


def repeat(claim: ClaimCard, folder: Path | None) -> str | None:
    """The command that shows the comparison task by task; None where none does."""
    if claim.rows is None or claim.than is None:
        return None
    if (words := _compared(claim.rows, claim.than)) is None:
        return None
    others = claim.under_readings(claim.no_worse) if claim.no_worse else []
    tasks = ["--task", ",".join(claim.tasks)] if claim.tasks else []
    out = ["--out", str(folder)] if folder else []
    return shlex.join(["synthbench", "compare", *words, "--columns", ",".join([*claim.scores, *others]), *tasks, *out])


def _compared(rows: RowsCard, than: RowsCard) -> list[str] | None:
    """The arguments of `compare`; None where rows differ in other things than it compares."""
    if (rows.name == than.name) is (rows.update == than.update):
        return None
    if rows.update == than.update:
        return [rows.name, than.name, "--update", rows.update]
    return [rows.update, than.update, "--optimizer", rows.name]


def as_rich(answers: Sequence[Answer]) -> Drawing:
    """For a terminal: a row for each claim, and below it one for each of several readings."""
    rows, breaks = list[tuple[str, str, str, str]](), list[int]()
    for number, answer in enumerate(answers, start=1):
        rows += _rows(number, answer)
        breaks.append(len(rows) - 1)
    says, answered, sizes, details = ([row[index] for row in rows] for index in range(4))
    return Drawing(
        [Column("claim", says, least=30)],
        [Column("answer", answered, least=14), Column("difference", sizes, is_right=True),
         Column("by task", details, least=24)],
        breaks=breaks[:-1],
    )  # fmt: skip


def _rows(number: int, answer: Answer) -> Iterator[tuple[str, str, str, str]]:
    claim, says = answer.claim, f"{number}. {prose(answer.claim.says)}"
    is_one = len(answer.readings) == 1
    how = _how(answer.first) if is_one else ""
    cells = _cells(answer.first, claim) if is_one else ("", "")
    yield says, inert(in_words(answer)) + _rank(claim) + how, *cells
    for reading in () if is_one else answer.readings:
        yield f"   {reading.score}", inert(reading_in_words(reading, claim)) + _how(reading), *_cells(reading, claim)


def _how(reading: Reading) -> str:
    return elsewhere(reading.pooled) + " (unpaired)" * (not reading.pooled.paired)


def _cells(reading: Reading, claim: ClaimCard) -> tuple[str, str]:
    """A reading's difference, and what is said beside it."""
    if not reading.tasks:
        return "-", ""
    details = [by_task(reading, claim), again_in_words(reading, claim)]
    details += [_no_worse(reading.beside)] if reading.beside else []
    details += [turn_in_words(reading.turn, claim)] if reading.turn else []
    is_difference = numbers_of(reading.pooled, claim, reading.score) == numbers(reading.pooled, reading.score)
    difference = reading.pooled.difference
    entry = Entry.of(difference, reading.score, signed=True).text(difference.n)
    return entry if is_difference else numbers_of(reading.pooled, claim, reading.score), "; ".join(details)


def records(answers: Sequence[Answer]) -> list[dict[str, Any]]:
    """For other programs: one dictionary a claim, with the numbers of its first reading, then those of all."""
    return [
        {
            **answer.claim.model_dump(mode="json", exclude={"tasks", "readings"}), "answer": answer.kind,
            **_record(answer.first), "readings": [
                {"score": reading.score, "answer": reading.kind, **_record(reading)} for reading in answer.readings
            ],
        }
        for answer in answers
    ]  # fmt: skip


def _record(reading: Reading) -> dict[str, Any]:
    name, pooled, beside, turn = reading.score, reading.pooled, reading.beside, reading.turn
    return {
        **_numbers(pooled, name), "margin": pooled.margin,
        "seeds_needed": int(pooled.seeds) if isfinite(pooled.seeds) else None,
        "elsewhere": {str(step): {"verdict": kind, "difference": rounded(mean)}
                      for step, (kind, mean) in pooled.elsewhere.items()},
        "p": reading.p, "tasks": _judged(reading.tasks, name),
        "missing": reading.missing, "again": _judged(reading.again, name), "pairs": _judged(reading.matrix, name),
        "beside": {
            "score": beside.score, **_numbers(beside.pooled, beside.score), "p": beside.p,
            "again": _judged(beside.again, beside.score),
        } if beside else None,
        "turn": turn._asdict() if turn else None,
    }  # fmt: skip


def _judged(verdicts: Mapping[str, Verdict], name: str) -> dict[str, Any]:
    return {key: {"verdict": judged.kind, **_numbers(judged, name)} for key, judged in verdicts.items()}


def _numbers(judged: Verdict, name: str) -> dict[str, Any]:
    mean, low, high, n = within(judged.difference, name, of_difference=True)
    return {"difference": rounded(mean), "low": rounded(low), "high": rounded(high), "n": n, "paired": judged.paired}
