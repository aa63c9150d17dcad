"""A task: a card's generators, drawn into splits that share no item within a stage or between stages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from synthbench.cards import SliceCard, TaskCard, fingerprint
from synthbench.errors import BadInput
from synthbench.generators.examples import SPLITS, Examples, Language, Place, Splits, join, stream
from synthbench.generators.registry import GENERATORS, Framed, Generator
from synthbench.wording import did_you_mean, shown


class Task:
    """What a task card means. Raises BadInput where the card asks for something impossible."""

    def __init__(self, card: TaskCard) -> None:
        self.card = card
        self._parts: dict[tuple[str, str], tuple[Generator, Framed]] = {}
        for stage, name, part in self._slices():
            self._parts[stage, name] = self._checked(stage, name, part)
        words = dict.fromkeys(self._word(stage, name) for stage, name, _ in self._slices())
        self.language = Language(tuple(words), card.language.syllables, card.language.name_length)
        for stage, name, part in self._slices():
            generator, options = self._parts[stage, name]
            if wrong := generator.check(self.language, options):
                raise BadInput(f"Task {card.name}: stages.{stage}.{name}: {wrong}.")
            self._region(stage, name, part.items)

    def draw(self, stage: str, seed: int, examples: Mapping[str, int] | None = None) -> dict[str, Splits]:
        """The splits of each slice of a stage.

        seed: the root seed. examples: trained items by slice, where they differ from the card's; a smaller set is
        the beginning of a larger one, and the held-out items are the same. Raises BadInput where there are too few
        names for so many items.
        """
        sizes = self.card.size(stage) | dict(examples or {})
        return {name: self._draw_slice(stage, name, seed, sizes[name]) for name in self.card.stages[stage]}

    def shares(self, stage: str, batch: int) -> dict[str, int]:
        """How many examples of each slice a batch holds; raises BadInput where the batch cannot be divided so."""
        shares = {name: part.share for name, part in self.card.stages[stage].items()}
        total = sum(shares.values())
        if batch % total:
            raise BadInput(
                f"Stage {stage}: batch = {batch} must be a multiple of {total}, the sum of the shares that task "
                f"{self.card.name} gives its slices."
            )
        return {name: batch // total * share for name, share in shares.items()}

    def check_sizes(self, stage: str, examples: Mapping[str, int]) -> None:
        """Raises BadInput where the language has too few names for so many items."""
        for name, items in examples.items():
            self._region(stage, name, items)

    def joined(self, stage: str, seed: int, examples: Mapping[str, int] | None = None) -> Splits:
        """All slices of a stage together, slice after slice."""
        parts = self.draw(stage, seed, examples)
        return Splits(*(join({name: split[i] for name, split in parts.items()}) for i in range(len(SPLITS))))

    @cached_property
    def digest(self) -> str:
        """sha256 of the data of every stage at seed 0."""
        return fingerprint(
            {
                f"{stage}/{name}/{split}": examples.digest()
                for stage in self.card.stages
                for name, splits in self.draw(stage, 0).items()
                for split, examples in zip(SPLITS, splits, strict=True)
            }
        )

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the resolved card and the data's digest. Nothing compares across fingerprints."""
        content = self.card.model_dump(mode="json", exclude={"question", "description", "source"})
        for parts in content["stages"].values():
            for part in parts.values():
                del part["note"]
        return fingerprint({"card": content, "data": self.digest})

    def _slices(self) -> list[tuple[str, str, SliceCard]]:
        return [(stage, name, part) for stage, parts in self.card.stages.items() for name, part in parts.items()]

    def _checked(self, stage: str, name: str, part: SliceCard) -> tuple[Generator, Framed]:
        where = f"Task {self.card.name}: stages.{stage}.{name}"
        if part.generator not in GENERATORS:
            raise BadInput(
                f"{where}: unknown generator {shown(part.generator)}{did_you_mean(part.generator, GENERATORS)}."
            )
        generator = GENERATORS[part.generator]
        try:
            return generator, generator.options.model_validate(part.options)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInput(
                f"{where}.{'.'.join(map(str, first['loc']))} = {shown(first['input'])}: {first['msg']}."
            ) from None

    def _word(self, stage: str, name: str) -> str:
        """The frame that a slice's items live in: items are distinct within a word, whatever the stage."""
        return str(self._parts[stage, name][1].word)

    def _region(self, stage: str, name: str, items: int) -> tuple[int, int]:
        """Bounds of the part of the shuffled names that belongs to a slice, fixed whatever `items` is."""
        word = self._word(stage, name)
        sharing = [(s, n) for s, n, _ in self._slices() if self._word(s, n) == word]
        width = self.language.names // len(sharing)
        held_out = self.card.held_out.validation + self.card.held_out.test
        if held_out + items > width:
            raise BadInput(
                f"Task {self.card.name}: stages.{stage}.{name}: items = {items} and {held_out} held out are more than "
                f"the {width} names that the language leaves it; allow at most {max(width - held_out, 0)} items."
            )
        start = sharing.index((stage, name)) * width
        return start, start + width

    def _draw_slice(self, stage: str, name: str, seed: int, items: int) -> Splits:
        start, stop = self._region(stage, name, items)
        names = self._shuffled(seed, self._word(stage, name))[start:stop]
        sizes = (items, self.card.held_out.validation, self.card.held_out.test)
        cuts = {"validation": names[: sizes[1]], "test": names[sizes[1] : sum(sizes[1:])]}
        generator, options = self._parts[stage, name]
        cuts["train"] = generator.arrange(self.language, names[sum(sizes[1:]) :])[:items]
        place = Place(seed, self.card.name, stage, name)

        def draw(split: str) -> Examples:
            return generator.draw(self.language, options, cuts[split], place, split)

        return Splits(*map(draw, SPLITS))

    def _shuffled(self, seed: int, word: str) -> NDArray[np.int64]:
        """All names in an order of their own for each word, from which stages and splits take disjoint parts."""
        return stream(Place(seed, self.card.name, "", ""), "", f"order of names under {word}").permutation(
            self.language.names
        )
