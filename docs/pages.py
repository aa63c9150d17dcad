"""The committed pages that are made from cards, published rows and registries: `python -m docs.pages` writes them.

They are tasks/README.md, runners/README.md, docs/columns.md, and the picture of the calibration.
"""

from __future__ import annotations

from pathlib import Path

from docs import regime
from docs.calibration import section
from docs.columns import columns_page
from docs.discrimination import planted, sizes
from synthbench import cards
from synthbench.analysis import reference
from synthbench.cards import RunnerCard, StageCard, TaskCard
from synthbench.generators import Task
from synthbench.reporting import figures
from synthbench.reporting.figures import Picture
from synthbench.reporting.gallery import HEADS, Slice, slices, strip
from synthbench.reporting.table import github

ROOT = Path(__file__).resolve().parent.parent
REGIME = "reports/calibration/regime.svg"
FLOORS = "uniform / modal / copy / nearest"
PAGE_HEADS = [*HEADS[:-2], f"floors, trained: {FLOORS}", f"floors, held out: {FLOORS}"]
MADE = "Made by `python -m docs.pages`; a test fails when it is stale."


def every(floors: dict[str, float]) -> str:
    """All four floors."""
    return " / ".join(f"{floor:.2g}" for floor in floors.values())


def plain(task: Task, part: Slice) -> str:
    """The first example of a slice: `past  ka mi to  =  [ka mi se .]`."""
    tokens = strip(task, part.trained, 0)
    prompt = " ".join(token for token, learned in tokens if not learned)
    answer = " ".join(token for token, learned in tokens if learned)
    return f"{part.stage:<9} {part.name:<9}  {prompt} [{answer}]"


def _variants(task: Task) -> list[str]:
    """The variants of a task, each with what it changes."""
    lines = [
        f"- `{task.card.name}:{name}`: "
        + ", ".join(f"{key.rpartition('.')[2]} = {new}" for key, new in changed.items())
        for name, changed in task.card.variants.items()
    ]
    return ["Variants:", "", *lines, ""] if lines else []


def tasks_page() -> str:
    """tasks/README.md: every shipped task with a drawn example of each slice, and its calibration."""
    lines = [
        "# Tasks", "", MADE,
        "The answer, in brackets, is what is learned and scored. Examples are those of seed 0.", "",
        f"![{regime.TITLE}](../{REGIME})", "",
    ]  # fmt: skip
    fingerprints: dict[str, str] = {}
    for name in cards.names(TaskCard):
        task = Task(cards.load(TaskCard, name))
        parts = list(slices(task))
        lines += [
            f"## {name} {task.card.version}", "", task.card.question, "", task.card.description, "",
            f"Source: {task.card.source}", "", "```", *(plain(task, part) for part in parts), "```", "",
            github(PAGE_HEADS, [part.facts(every) for part in parts]), "",
            *dict.fromkeys(f"{part.stage}/{part.name}: {part.note}\n" for part in parts if part.note), *_variants(task),
            f"{task.language.vocabulary} tokens, {task.language.length} an example. Fingerprint `{task.fingerprint}`.", "",
            *section(task),
        ]  # fmt: skip
        fingerprints[name] = task.fingerprint
    return "\n".join([*lines, *planted(fingerprints), *sizes(fingerprints)]).rstrip()


def _stage(stage: StageCard) -> str:
    return f"{stage.name}, {stage.steps} steps of {stage.batch} examples, {' and '.join(stage.update)}"


def runners_page() -> str:
    """runners/README.md: the question that each runner asks, its command and its cost."""
    lines = ["# Runners", "", MADE, ""]
    for name in cards.names(RunnerCard):
        card = cards.load(RunnerCard, name)
        claims = [f"- {claim.says} ({claim.source})" for claim in card.claims]
        lines += [
            f"## {name} {card.version}", "", card.question, "", "```sh", f"synthbench run {name}", "```", "",
            f"Cost: {card.cost}. Tasks: {', '.join(card.tasks)}. Optimizers: {', '.join(card.optimizers)}. "
            f"Seeds: {len(card.seed_list)}. Stages: {'; '.join(map(_stage, card.stages))}.", "",
            *(["Claims that it answers:", "", *claims, ""] if claims else []),
        ]  # fmt: skip
    return "\n".join(lines).rstrip()


def regime_picture() -> Picture:
    """The picture of the calibration's published rows; raises ValueError where there are none."""
    card = cards.load(RunnerCard, "calibration")
    found = reference.shipped(card)
    picture = figures.draw("regime", regime, found.rows, card) if found else None
    if picture is None:
        raise ValueError("reports/calibration.json has no rows to draw.")
    return picture


PAGES = {"tasks/README.md": tasks_page, "runners/README.md": runners_page, "docs/columns.md": columns_page}


if __name__ == "__main__":
    for page, made in PAGES.items():
        (ROOT / page).write_text(f"{made()}\n", encoding="utf-8")
    (ROOT / REGIME).write_bytes(regime_picture().svg)
