"""The pictures of the concepts page, drawn from a shipped card and with the functions that the program reads paths by."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import exp, log

from synthbench import cards
from synthbench.cards import MODELS, RunnerCard, TaskCard
from synthbench.experiment.grids import grid
from synthbench.generators import Task
from synthbench.reporting import gallery
from synthbench.scores.reading import bracket, crossing, value_at
from synthbench.trainer.layout import transformer

COLOURS = {"fact": "#8EC1E4", "rule": "#8FD3B6", "plain": "#EDEDED"}
SHADES = ("#4A148C", "#8E44AD", "#B98FD0")  # of rates, from high to low: no optimizer's colours
INK, GREY = "#222222", "#666666"

Marks = list[str]  # elements of an SVG


def text(x: float, y: float, label: str, size: float = 14, colour: str = INK, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" {more}>{escape(label)}</text>'


def box(x: float, y: float, width: float, height: float, colour: str, more: str = "") -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}" {more}/>'


def line(points: Sequence[tuple[float, float]], colour: str, more: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8" {more}/>'


def sheet(width: int, height: int, title: str, marks: Marks) -> str:
    """An SVG on white, whatever the page's own colours are."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="DejaVu Sans, Verdana, sans-serif"><title>{escape(title)}</title>'
        f"{box(0, 0, width, height, 'white')}{''.join(marks)}</svg>"
    )


MIDDLE = 'text-anchor="middle"'
DASHED = 'stroke-dasharray="5 4"'
TOKEN = 44  # width of a token in a strip


def strip(x: float, y: float, tokens: Sequence[tuple[str, bool]], colour: str) -> Marks:
    """One example: the prompt's tokens plain, the answer's in its slice's colour."""
    marks = []
    for index, (token, learned) in enumerate(tokens):
        left = x + index * TOKEN
        marks.append(box(left, y, TOKEN - 3, 26, colour if learned else COLOURS["plain"], 'rx="4"'))
        marks.append(text(left + (TOKEN - 3) / 2, y + 18, token, 13, more=MIDDLE))
    return marks


def stream() -> str:
    """Examples of both stages of rote-vs-rule, and what of each slice is trained and held out."""
    task = Task(cards.load(TaskCard, "rote-vs-rule"))
    marks, y, stage = [], 8.0, ""
    for part in gallery.slices(task):
        if part.stage != stage:
            stage, y = part.stage, y + 26
            marks.append(text(20, y, stage, 16, more='font-weight="bold"'))
            y += 12
        held_out = [f"{len(getattr(part.splits, split))} {split}" for split in part.splits._fields[1:]]
        marks.append(text(20, y + 18, part.name, 14, GREY))
        marks.append(text(500, y + 18, f"{len(part.trained)} trained", 13))
        if part.name == "rule":
            marks.append(text(500, y + 50, f"held out: {', '.join(held_out)}", 13, GREY))
        for index in range(2):
            marks += strip(80, y + 32 * index, gallery.strip(task, part.trained, index), COLOURS[part.name])
        y += 72
    marks += [box(80, y + 4, 16, 16, COLOURS["plain"]), text(102, y + 17, "prompt", 13)]
    marks += [box(180, y + 4, 16, 16, COLOURS["fact"]), text(202, y + 17, "answer: drawn at random", 13)]
    marks += [box(400, y + 4, 16, 16, COLOURS["rule"]), text(422, y + 17, "answer: follows from the prompt", 13)]
    return sheet(850, int(y) + 34, "Facts and a rule in one stream", marks)


FIT, SPEED, STEPS = 0.9, 90, 300  # of the sketch: the reading's fit and target step, and its last step
PACES = {"high rate": 17, "middle rate": 30, "low rate": 60}  # steps in which fit comes nearer to 1 by a factor of e


def made_up(pace: float) -> dict[int, dict[str, float]]:
    """A path whose fit and forgetting rise as training goes on, the forgetting faster where the rate is higher."""
    return {
        step: {"fit": 1 - exp(-step / pace), "forgetting": 0.9 * (1 - exp(-step / (pace * 0.6 + 60)))}
        for step in range(1, STEPS + 1, 2)
    }


def reading() -> str:
    """How `forgetting@fit` is read: where each rate's path reaches fit, then between rates at one target_step."""
    paths = [made_up(pace) for pace in PACES.values()]
    reached = [crossing(path, FIT) for path in paths]
    read = [value_at(path, "forgetting", step or STEPS) for path, step in zip(paths, reached, strict=True)]
    between = bracket(reached, SPEED)
    assert between is not None
    marks: Marks = []
    left = _axes(marks, 60, "1. Find where each rate reaches the fit", "finetuning steps", "fit on trained items")
    right = _axes(
        marks, 460, "2. Read the score there, at one target step", "steps to the fit (log scale)", "forgetting"
    )
    marks.append(line([_at(left, 0, FIT), _at(left, 1, FIT)], GREY, DASHED))
    marks.append(text(*_at(left, 0.84, FIT - 0.09), f"fit {FIT}", 13, GREY))
    dots = []
    for path, name, step, value, colour in zip(paths, PACES, reached, read, SHADES, strict=True):
        assert step is not None
        marks.append(line([_at(left, s / STEPS, point["fit"]) for s, point in path.items()], colour))
        marks.append(_dot(*_at(left, step / STEPS, FIT), colour))
        dots.append(_at(right, _log(step), value))
        marks.append(_dot(*dots[-1], colour))
        marks.append(text(dots[-1][0], dots[-1][1] + 26, name, 13, colour, MIDDLE))
    answer = _at(right, _log(SPEED), between.between(read))
    marks.append(line(dots, GREY))
    marks.append(line([(answer[0], right[1]), answer, (right[0], answer[1])], INK, DASHED))
    marks.append(_dot(*answer, INK))
    marks.append(text(answer[0] + 6, right[1] - 8, f"{SPEED} steps", 13))
    marks.append(text(right[0] + 8, answer[1] - 10, "forgetting@fit", 13))
    return sheet(820, 320, "How a score is read at equal fit and equal target step", marks)


WIDE, TALL = 310, 220  # of a panel


def _axes(marks: Marks, left: float, title: str, below: str, beside: str) -> tuple[float, float]:
    """Draws the axes of a panel and returns its lower left corner."""
    bottom = 270.0
    marks.append(text(left, 30, title, 14, more='font-weight="bold"'))
    marks.append(line([(left, bottom - TALL), (left, bottom), (left + WIDE, bottom)], GREY))
    marks.append(text(left + WIDE / 2, bottom + 26, below, 13, GREY, MIDDLE))
    marks.append(
        text(0, 0, beside, 13, GREY, f'{MIDDLE} transform="translate({left - 14},{bottom - TALL / 2}) rotate(-90)"')
    )
    return left, bottom


def _at(corner: tuple[float, float], across: float, up: float) -> tuple[float, float]:
    """A place in a panel, from shares of its width and height."""
    return corner[0] + across * WIDE, corner[1] - up * TALL


def _log(step: float) -> float:
    return log(step / 30) / log(STEPS / 30)


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'


def fleet() -> str:
    """The first runs of `quick` as rows of one buffer, with the optimizer of each column; widths are those of `tiny`."""
    task = Task(cards.load(TaskCard, "rote-vs-rule"))
    parts = transformer(MODELS["tiny"], task.language.vocabulary, task.language.length).parameters.values()
    sizes = {group: sum(p.size for p in parts if p.group == group) for group in ("hidden", "embedding")}
    hidden = 520 * sizes["hidden"] / sum(sizes.values())
    card = cards.load(RunnerCard, "quick")
    runs = [f"lr {lr:g}, seed {seed}" for seed in card.seed_list for lr in grid(card, card.stages[-1], "muon", "full")]
    marks = [
        text(20, 30, "One row a run, all rows trained by the same batched operations", 14, more='font-weight="bold"')
    ]
    for index, label in enumerate([*runs[:4], "and so on"]):
        y = 78 + 34 * index
        marks.append(text(20, y + 18, label, 13, GREY))
        marks.append(box(180, y, hidden, 26, COLOURS["fact"], 'rx="4"'))
        marks.append(box(184 + hidden, y, 516 - hidden, 26, COLOURS["rule"], 'rx="4"'))
    marks.append(text(180, 66, f"hidden matrices, {sizes['hidden']} numbers: Muon", 13))
    marks.append(text(700, 66, "embedding and head: AdamW", 13, more='text-anchor="end"'))
    return sheet(740, 260, "A fleet of runs", marks)


PICTURES = {"stream": stream, "reading": reading, "fleet": fleet}
