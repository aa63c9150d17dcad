"""A task: a card's generators, drawn into splits that share no item within a stage or between stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from synthbench.cards import SliceCard, TaskCard, fingerprint
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, listed, shown
from synthbench.generators.examples import SPLITS, Examples, Language, Place, Splits, stream
from synthbench.generators.registry import GENERATORS, Framed, Generator


class Task:
    """What a task card means. Raises BadInput where the card asks for something impossible."""

    def __init__(self, card: TaskCard) -> None:
        self.card = card
        slices = {(stage, name): part for stage, parts in card.stages.items() for name, part in parts.items()}
        self._parts: dict[tuple[str, str], tuple[Generator, Framed]] = {
            where: self._checked(*where, part) for where, part in slices.items()
        }
        used = dict.fromkeys(options.word for _, options in self._parts.values())
        words = tuple(card.language.words or used)
        if missing := [word for word in used if word not in words]:
            raise BadInput(f"Task {card.name}: language.words lacks {listed(missing)}, which its slices use.")
        self.language = Language(words, card.language.syllables, card.language.name_length)
        for where, part in slices.items():
            self._check_parts(*where)
            self._check(*where, part.items)

    def draw(self, stage: str, seed: int, examples: Mapping[str, int] | None = None) -> dict[str, Splits]:
        """The splits of each slice of a stage.

        seed: the root seed. examples: trained items by slice, where they differ from the card's; a smaller set is
        the beginning of a larger one, and the held-out items are the same. Raises BadInput where there are too few
        names for so many items.
        """
        sizes = self.card.size(stage) | dict(examples or {})
        self.check_sizes(stage, sizes)
        return {name: self._draw_slice(stage, name, seed, sizes[name]) for name in self.card.stages[stage]}

    def by_rule_of(self, stage: str, seed: int, old: Examples) -> Examples:
        """Old examples whose `rule_answer_NL` is what the rule of a later stage of this seed would answer to their prompts;
        unchanged where it has none, or none of this shape."""
        if "rule" not in self.card.stages[stage]:
            return old
        generator, options = self._parts[stage, "rule"]
        drawn = generator.draw(
            self.language, options, old.item_N, Place(seed, self.name_in(stage), stage, "rule"), "test"
        )
        if not np.array_equal(drawn.answer_NL, old.answer_NL):
            return old
        return replace(old, rule_answer_NL=np.where(old.answer_NL, drawn.rule_answer_NL, old.tokens_NL))

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
        """Raises BadInput where a slice cannot have so many items."""
        for name, items in examples.items():
            self._check(stage, name, items)

    def digests(self, stage: str) -> dict[str, str]:
        """sha256 of each split of each slice of a stage at seed 0, by `stage/slice/split`."""
        return {
            f"{stage}/{name}/{split}": examples.digest()
            for name, splits in self.draw(stage, 0).items()
            for split, examples in zip(SPLITS, splits, strict=True)
        }

    @property
    def plugins(self) -> list[Any]:
        """What is known of the code of its generators that are not built in, slice by slice."""
        return [generator.plugin for generator, _ in self._parts.values() if generator.plugin]

    @cached_property
    def fingerprint(self) -> str:
        """sha256 of the resolved card and the data's digests. Nothing compares across fingerprints."""
        return self.fingerprint_to(list(self.card.stages)[-1])

    def is_own(self, stage: str) -> bool:
        """Whether a stage is the task's own: the last, or any where it has no family to share it with."""
        return self.card.family is None or stage == list(self.card.stages)[-1]

    def name_in(self, stage: str) -> str:
        """The name under which a stage is trained: the task's, or its family's."""
        return self.card.name if self.is_own(stage) else self.card.origin

    @cache  # noqa: B019 - a task lives as long as the program
    def fingerprint_to(self, stage: str) -> str:
        """The fingerprint of a task as far as this stage: tasks of a family, variants of a task that differ later agree
        here."""
        names = list(self.card.stages)
        known = names[: names.index(stage) + 1]
        keys = {"name", "version"} if self.is_own(stage) else {"family"}
        content = self.card.model_dump(mode="json", include=keys | {"language", "held_out", "stages"})
        content["stages"] = {name: content["stages"][name] for name in known}
        for past_stage, parts in content["stages"].items():
            for name, part in parts.items():
                del part["note"]
                plugin = self._parts[past_stage, name][0].plugin
                part |= {"code": plugin.source} if plugin else {}
        data = {name: digest for past_stage in known for name, digest in self.digests(past_stage).items()}
        return fingerprint({"card": content, "data": data})

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

    def _sharing(self, stage: str, name: str) -> list[tuple[str, str]]:
        """The slices whose items live under the same word. In a family every stage has a place there, though it may have
        no such slice, so that another last stage does not move what is before it."""
        word = self._parts[stage, name][1].word
        full = [where for where, (_, options) in self._parts.items() if options.word == word]
        empty = [(s, "") for s in self.card.stages if self.card.family and s not in dict(full)]
        return sorted([*full, *empty], key=lambda pair: list(self.card.stages).index(pair[0]))

    def _check_parts(self, stage: str, name: str) -> None:
        generator, options = self._parts[stage, name]
        where = f"Task {self.card.name}: stages.{stage}.{name}"
        if options.unseen and generator.is_unseen is None:
            raise BadInput(f"{where}: unseen = {options.unseen}: generator {generator.name} has no parts to hold out.")
        others = [self._parts[other] for other in self._sharing(stage, name) if other in self._parts]
        if any(other.unseen != options.unseen for _, other in others):
            raise BadInput(f"{where}: unseen must be the same for all slices under the word {shown(options.word)}.")
        if options.unseen > self.language.syllables - 2:
            raise BadInput(f"{where}: unseen = {options.unseen} must be at most {self.language.syllables - 2}.")
        parts = np.arange(options.unseen)
        if options.unseen and len({self._is_unseen(*other, parts).tobytes() for other in others}) > 1:
            raise BadInput(f"{where}: under the word {shown(options.word)} generators hold out different parts.")

    def _is_unseen(self, generator: Generator, options: Framed, part_U: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which names have one of these parts; none where the generator holds nothing out."""
        names = np.arange(self.language.names)
        return generator.is_unseen(self.language, options, names, part_U) if generator.is_unseen else names < 0

    def _check(self, stage: str, name: str, items: int) -> None:
        """Raises BadInput where a slice cannot have so many items."""
        generator, options = self._parts[stage, name]
        if wrong := generator.check(self.language, options, items):
            raise BadInput(f"Task {self.card.name}: stages.{stage}.{name}: {wrong}.")
        held_out = self.card.held_out.validation + self.card.held_out.test
        width = self._width(stage, name)
        if held_out + items > width:
            raise BadInput(
                f"Task {self.card.name}: stages.{stage}.{name}: items = {items} and {held_out} held out are more than "
                f"the {width} names that the language leaves it; allow at most {max(width - held_out, 0)} items."
            )

    def _width(self, stage: str, name: str) -> int:
        """How many names with seen parts are a slice's own: the same for all seeds."""
        generator, options = self._parts[stage, name]
        seen = self.language.names
        if generator.is_unseen and options.unseen:
            seen -= int(generator.is_unseen(self.language, options, np.arange(seen), np.arange(options.unseen)).sum())
        return seen // len(self._sharing(stage, name))

    def _draw_slice(self, stage: str, name: str, seed: int, items: int) -> Splits:
        names, unseen = self._names(seed, stage, name)
        validation, test = self.card.held_out.validation, self.card.held_out.test
        generator, options = self._parts[stage, name]
        cuts = {
            "train": generator.arrange(self.language, options, names[validation + test :])[:items],
            "validation": names[:validation],
            "test": names[validation : validation + test],
            "unseen": unseen[:test],
        }
        place = Place(seed, self.name_in(stage), stage, name)
        return Splits(*(generator.draw(self.language, options, cuts[split], place, split) for split in SPLITS))

    def _names(self, seed: int, stage: str, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """A slice's own part of the names, in random order: those with seen parts, those with an unseen one.

        The parts are the same whatever the slice's size. Tasks of a family agree in the stages that they share alone.
        """
        generator, options = self._parts[stage, name]
        sharing = self._sharing(stage, name)
        index, count = sharing.index((stage, name)), len(sharing)
        owner = self.card.name if all(self.is_own(other) for other, part in sharing if part) else self.card.origin
        root = Place(seed, owner, "", "")
        order = f"order of names under {options.word}"  # differs by word; stages and splits take disjoint parts
        names = stream(root, "", order).permutation(self.language.names)
        is_unseen = np.zeros(len(names), dtype=bool)
        if generator.is_unseen and options.unseen:
            parts = stream(root, "", f"unseen parts under {options.word}").permutation(self.language.syllables)
            is_unseen = generator.is_unseen(self.language, options, names, parts[: options.unseen])
        seen, unseen = _part(names[~is_unseen], index, count), _part(names[is_unseen], index, count)
        if self.is_own(stage) and owner != self.card.name:
            own = stream(Place(seed, self.card.name, stage, name), "", "order of names")
            return own.permutation(seen), own.permutation(unseen)
        return seen, unseen


def _part(names: NDArray[np.int64], index: int, count: int) -> NDArray[np.int64]:
    """One of so many equal parts."""
    width = len(names) // count
    return names[width * index : width * (index + 1)]
