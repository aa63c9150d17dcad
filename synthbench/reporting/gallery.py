"""Examples of a task drawn as token strips, and the counts, entropy and floors of its slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from synthbench.common.wording import inert
from synthbench.generators import Examples, Splits, Task, by_slice, floors

if TYPE_CHECKING:
    from rich.text import Text

COLOURS = {
    "fact": "black on cyan", "rule": "black on green", "exception": "black on yellow", "noise": "black on magenta",
}  # fmt: skip
DRAWN = 3  # examples of each slice
COMPARED = 2**21  # pairs of items for a floor: all of them in every shipped task
HEADS = [
    "stage", "slice", "generator", "trained/val./test/unseen", "seen", "bits, rule unknown", "chance", "floor, trained",
    "floor, held out",
]  # fmt: skip


class Slice(NamedTuple):
    """A slice of a stage. trained: its items among those of the part of the card, whose splits and note these are."""

    stage: str
    name: str
    generator: str
    trained: Examples
    splits: Splits
    note: str

    def facts(self, text_of: Callable[[dict[str, float]], str]) -> list[str]:
        """Counts, exposures, entropy, chance and floors, as the cells of a table. text_of: how floors are written."""
        is_rule, train = self.name == "rule", self.splits.train
        held_out = [len(part) if is_rule else 0 for part in self.splits[1:]]
        return [
            self.stage, self.name, self.generator, "/".join(map(str, [len(self.trained), *held_out])),
            exposures(self.trained), f"{self.trained.bits_N.mean():.4g}", f"{self.trained.chance_N.mean():.2g}",
            text_of(floors_of(self.trained, train)), text_of(floors_of(self.splits.test, train)) if is_rule else "-",
        ]  # fmt: skip


def exposures(trained: Examples) -> str:
    """How often items are seen while one of the least frequent ones is seen once: `4x, 1x`."""
    return ", ".join(f"{n}x" for n in sorted(set(trained.repeats_N.tolist()), reverse=True))


def floors_of(asked: Examples, train: Examples) -> dict[str, float]:
    """The floors of as many items as can be compared with all trained ones in a moment."""
    return floors(train, asked.take(slice(max(1, COMPARED // len(train)))))


def highest(by_kind: dict[str, float]) -> str:
    """The highest floor and its kind."""
    kind = max(by_kind, key=by_kind.__getitem__)
    return f"{by_kind[kind]:.2g} {kind}"


def slices(task: Task, seed: int = 0) -> Iterator[Slice]:
    """Every slice of a task, drawn for a seed."""
    for stage, parts in task.card.stages.items():
        drawn = task.draw(stage, seed)
        for name, part in parts.items():
            for slice_name, trained in by_slice(drawn[name].train).items():
                yield Slice(stage, slice_name, part.generator, trained, drawn[name], part.note)


def strip(task: Task, examples: Examples, index: int) -> list[tuple[str, bool]]:
    """One example as (token, whether it is part of the answer)."""
    tokens = [inert(task.language.text(int(token))) for token in examples.tokens_NL[index]]
    return list(zip(tokens, examples.answer_NL[index].tolist(), strict=True))


def coloured(task: Task, part: Slice) -> Iterator[Text]:
    """Strips for a terminal: the prompt plain, the answer in the slice's colour."""
    from rich.text import Text

    for index in range(min(DRAWN, len(part.trained))):
        text = Text(f"  {part.stage:<9} {part.name:<9} ")
        for token, learned in strip(task, part.trained, index):
            text.append(f" {token:<4}", style=COLOURS[part.name] if learned else "")
        yield text
