"""The committed pages that are made from cards, published rows and registries: `python -m docs.pages` writes them.

They are tasks/README.md, runners/README.md, the generated pages of docs/, their pictures, and the answers in docs/faq.md
and README.md.
"""

from __future__ import annotations

from pathlib import Path

from docs import architecture, faq, regime
from docs.api import api_page
from docs.architecture import architecture_page
from docs.calibration import section
from docs.columns import columns_page
from docs.controls import known_effect
from docs.discrimination import planted, sizes
from docs.drawings import PICTURES
from docs.generated import STALE, commands_page, optimizers_page, scores_page
from docs.gpu import gpu_page
from docs.mechanisms import mechanisms_page
from docs.papers import papers_page, readme
from docs.paths import paths_page
from docs.performance import FOUND, performance_page
from docs.power import power_page
from docs.scale import scale_page
from synthbench import cards
from synthbench.analysis import reference
from synthbench.cards import RunnerCard, StageCard, TaskCard
from synthbench.cards.axis import value_text
from synthbench.common import overrides
from synthbench.generators import Task
from synthbench.reporting import figures
from synthbench.reporting.figures import Picture
from synthbench.reporting.gallery import HEADS, Slice, slices, strip
from synthbench.reporting.table import github

ROOT = Path(__file__).resolve().parent.parent
UNCALIBRATED = "Not calibrated yet: settings of a few trials; its positive control is not shown, and no report uses it."
REGIME = "reports/calibration/regime.svg"
FLOORS = "uniform / modal / copy / nearest"
PAGE_HEADS = [*HEADS[:-2], f"floors, trained: {FLOORS}", f"floors, held out: {FLOORS}"]


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
        "# Tasks", "", STALE,
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
            *(section(task) + known_effect(task) or [UNCALIBRATED, ""]),
        ]  # fmt: skip
        fingerprints[name] = task.fingerprint
    return "\n".join([*lines, *planted(fingerprints), *sizes(fingerprints)]).rstrip()


def _stage(stage: StageCard) -> str:
    """A stage in words, and what is different in it for some: `(sgd: steps = 1440, weight_decay = 0.001)`."""
    others = [
        f"{name}: {', '.join(overrides.typed(override.model_dump(exclude_unset=True)))}".replace("=", " = ")
        for name, override in stage.overrides.items()
    ]
    different = f" ({'; '.join(others)})" if others else ""
    return f"{stage.name}, {stage.steps} steps of {stage.batch} examples, {' and '.join(stage.update)}{different}"


def _axes(card: RunnerCard) -> str:
    """` Axes: pretrain-decay 0, 0.1.`, or nothing."""
    axes = [f"{axis.name} {', '.join(map(value_text, axis.values))}" for axis in card.axes]
    return f" Axes: {'; '.join(axes)}." * bool(axes)


def runners_page() -> str:
    """runners/README.md: the question that each runner asks, its command and its cost."""
    lines = ["# Runners", "", STALE, ""]
    for name in cards.names(RunnerCard):
        card = cards.load(RunnerCard, name)
        claims = [f"- {claim.says} ({claim.source})" for claim in card.claims]
        lines += [
            f"## {name} {card.version}", "", card.question, "", "```sh", f"synthbench run {name}", "```", "",
            f"Cost: {card.cost}. Tasks: {', '.join(card.tasks)}. Optimizers: {', '.join(card.optimizers)}. "
            f"Seeds: {len(card.seed_list)}. Stages: {'; '.join(map(_stage, card.stages))}.{_axes(card)}", "",
            *(["Claims that it answers:", "", *claims, ""] if claims else []),
        ]  # fmt: skip
    return "\n".join(lines).rstrip()


def regime_picture() -> Picture:
    """The picture of the calibration's published rows; raises ValueError where there are none."""
    card = cards.load(RunnerCard, "calibration")
    published = reference.shipped(card)
    picture = figures.draw("regime", regime, published.rows, card) if published else None
    if picture is None:
        raise ValueError("reports/calibration.json has no rows to draw.")
    return picture


PAGES = {
    "tasks/README.md": tasks_page,
    "runners/README.md": runners_page,
    "docs/columns.md": columns_page,
    "docs/scores.md": scores_page,
    "docs/optimizers.md": optimizers_page,
    "docs/commands.md": commands_page,
    "docs/api.md": api_page,
    "docs/architecture.md": architecture_page,
    "reports/gpu.md": gpu_page,
    "reports/paths.md": paths_page,
    "reports/power.md": power_page,
    "reports/scale.md": scale_page,
    "reports/papers.md": papers_page,
    "reports/mechanisms.md": mechanisms_page,
    "README.md": readme,
}  # by path, without the last line end
PAGES |= {"reports/performance.md": performance_page} if FOUND.exists() else {}
DRAWN = {REGIME: lambda: regime_picture().svg.decode(), "docs/pictures/architecture.svg": architecture.picture}
DRAWN |= {f"docs/pictures/{name}.svg": picture for name, picture in PICTURES.items()}


if __name__ == "__main__":
    for path, made in PAGES.items():
        (ROOT / path).write_text(f"{made().rstrip()}\n", encoding="utf-8")
    for path, drawn in DRAWN.items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(drawn(), encoding="utf-8")
    faq.FAQ.write_text(f"{faq.page()}\n", encoding="utf-8")
