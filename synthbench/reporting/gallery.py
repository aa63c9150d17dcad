"""Examples drawn as token strips, with what is known about them: for a terminal and for the galleries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from synthbench import cards
from synthbench.cards import ClaimCard, RunnerCard, StageCard, TaskCard
from synthbench.common.wording import inert
from synthbench.generators import Examples, Splits, Task, by_slice, floors

if TYPE_CHECKING:
    from rich.text import Text

COLOURS = {
    "fact": "black on cyan",
    "rule": "black on green",
    "exception": "black on yellow",
    "noise": "black on magenta",
}
DRAWN = 3  # examples of each slice
REGIME = "reports/calibration/regime.svg"  # the picture of the calibration
COMPARED = 2**21  # pairs of items for a floor: all of them in every shipped task


class Slice(NamedTuple):
    """What is shown of a slice of a stage. trained: its items among those of the part of the card that it comes from.

    times: how often an item is seen while one of the part's least frequent ones is seen once.
    """

    stage: str
    name: str
    generator: str
    trained: Examples
    splits: Splits
    note: str

    def facts(self, say: Callable[[dict[str, float]], str]) -> list[str]:
        """Counts, exposures, entropy, chance and floors, as the cells of a table. say: what is said of the floors."""
        is_rule, times = self.name == "rule", sorted(set(self.trained.repeats_N.tolist()), reverse=True)
        held_out = [len(part) if is_rule else 0 for part in self.splits[1:]]
        return [
            self.stage, self.name, self.generator, "/".join(map(str, [len(self.trained), *held_out])),
            ", ".join(f"{n}x" for n in times), f"{self.trained.bits_N.mean():.4g}", f"{self.trained.chance_N.mean():.2g}",
            say(self._floors(self.trained)), say(self._floors(self.splits.test)) if is_rule else "-",
        ]  # fmt: skip

    def _floors(self, asked: Examples) -> dict[str, float]:
        """The four, over as many of the items asked about as can be compared with all trained ones in a moment."""
        train = self.splits.train
        return floors(train, asked.take(slice(max(1, COMPARED // len(train)))))


def every(found: dict[str, float]) -> str:
    """All four floors."""
    return " / ".join(f"{x:.2g}" for x in found.values())


def highest(found: dict[str, float]) -> str:
    """The highest floor and its kind."""
    kind = max(found, key=lambda name: found[name])
    return f"{found[kind]:.2g} {kind}"


FLOORS = "uniform / modal / copy / nearest"
HEADS = [
    "stage",
    "slice",
    "generator",
    "trained/val./test/unseen",
    "seen",
    "bits, rule unknown",
    "chance",
    "floor, trained",
    "floor, held out",
]
PAGE_HEADS = [*HEADS[:-2], f"floors, trained: {FLOORS}", f"floors, held out: {FLOORS}"]


def slices(task: Task, seed: int = 0) -> Iterator[Slice]:
    """Every slice of a task, drawn for a seed."""
    for stage, parts in task.card.stages.items():
        drawn = task.draw(stage, seed)
        for name, part in parts.items():
            for slice_name, trained in by_slice(drawn[name].train).items():
                yield Slice(stage, slice_name, part.generator, trained, drawn[name], part.note)


def strip(task: Task, examples: Examples, place: int) -> list[tuple[str, bool]]:
    """One example as (token, whether it is part of the answer)."""
    tokens, answer = examples.tokens_NL[place], examples.answer_NL[place]
    return [
        (inert(task.language.text(int(token))), bool(learned)) for token, learned in zip(tokens, answer, strict=True)
    ]


def coloured(task: Task, part: Slice) -> Iterator[Text]:
    """Strips for a terminal: the prompt plain, the answer in the slice's colour."""
    from rich.text import Text

    for place in range(min(DRAWN, len(part.trained))):
        text = Text(f"  {part.stage:<9} {part.name:<9} ")
        for token, learned in strip(task, part.trained, place):
            text.append(f" {token:<4}", style=COLOURS[part.name] if learned else "")
        yield text


def plain(task: Task, part: Slice) -> str:
    """One strip for a page: `past  ka mi to  =  [ka mi se .]`."""
    tokens = strip(task, part.trained, 0)
    prompt = " ".join(token for token, learned in tokens if not learned)
    answer = " ".join(token for token, learned in tokens if learned)
    return f"{part.stage:<9} {part.name:<9}  {prompt} [{answer}]"


def _variants(task: Task) -> list[str]:
    """The variants of a task, each with what it changes."""
    told = [
        f"- `{task.card.name}:{name}`: "
        + ", ".join(f"{key.rpartition('.')[2]} = {new}" for key, new in changed.items())
        for name, changed in task.card.variants.items()
    ]
    return ["Variants:", "", *told, ""] if told else []


def tasks_page() -> str:
    """tasks/README.md: every shipped task with a drawn example of each slice, and its calibration."""
    from tabulate import tabulate

    from synthbench.reporting.calibration import section
    from synthbench.reporting.discrimination import planted, sizes

    lines = [
        "# Tasks", "",
        "Made by `synthbench ls task --format markdown > tasks/README.md`; a test fails when it is stale.",
        "The answer, in brackets, is what is learned and scored. Examples are those of seed 0.", "",
    ]  # fmt: skip
    known: dict[str, str] = {}  # fingerprints
    if (cards.shipped() / REGIME).is_file():
        lines += [f"![Do the tasks let optimizers differ?](../{REGIME})", ""]
    for name in cards.names(TaskCard):
        task = Task(cards.load(TaskCard, name))
        parts = list(slices(task))
        lines += [
            f"## {name} {task.card.version}", "", task.card.question, "", task.card.description, "",
            f"Source: {task.card.source}", "", "```", *(plain(task, part) for part in parts), "```", "",
            tabulate([part.facts(every) for part in parts], PAGE_HEADS, tablefmt="github", disable_numparse=True), "",
            *dict.fromkeys(f"{part.stage}/{part.name}: {part.note}\n" for part in parts if part.note), *_variants(task),
            f"{task.language.vocabulary} tokens, {task.language.length} an example. Fingerprint `{task.fingerprint}`.", "",
            *section(task),
        ]  # fmt: skip
        known[name] = task.fingerprint
    lines += [*planted(known), *sizes(known)]
    return "\n".join(lines).rstrip()


def _stage(stage: StageCard) -> str:
    return f"{stage.name}, {stage.steps} steps of {stage.batch} examples, {' and '.join(stage.update)}"


def _claim(claim: ClaimCard) -> str:
    return f"- {claim.says} ({claim.source})"


def runners_page() -> str:
    """runners/README.md: the question that each runner asks, its command and its cost."""
    lines = [
        "# Runners", "",
        "Made by `synthbench ls runner --format markdown > runners/README.md`; a test fails when it is stale.", "",
    ]  # fmt: skip
    for name in cards.names(RunnerCard):
        card = cards.load(RunnerCard, name)
        lines += [
            f"## {name} {card.version}", "", card.question, "", "```sh", f"synthbench run {name}", "```", "",
            f"Cost: {card.cost}. Tasks: {', '.join(card.tasks)}. Optimizers: {', '.join(card.optimizers)}. "
            f"Seeds: {len(card.seed_list)}. Stages: {'; '.join(map(_stage, card.stages))}.", "",
            *(["Claims that it answers:", "", *map(_claim, card.claims), ""] if card.claims else []),
        ]  # fmt: skip
    return "\n".join(lines).rstrip()
