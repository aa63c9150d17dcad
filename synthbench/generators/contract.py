"""The contract between generators and tasks, as checks: each yields what breaks it.

A check's docstring is its title. Plug-in generators, `synthbench verify --task` and the tests use the same checks.
Shapes: N examples, L tokens, S syllables, M trained items.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthbench.cards import SliceCard, TaskCard
from synthbench.common.errors import BadInput
from synthbench.generators import BUCKETS, GENERATORS, SLICES, SPLITS, Examples, Language, Place, Splits, Task, examples
from synthbench.generators.floors import prompts

SEEDS = (0, 1, 2)


class Sample:
    """A task and what it draws, drawn once."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.slices = [(stage, name) for stage, parts in task.card.stages.items() for name in parts]
        self.draw = cache(task.draw)

    def part(self, stage: str, name: str) -> SliceCard:
        return self.task.card.stages[stage][name]  # type: ignore[index]

    def sets(self, seed: int = 0) -> Iterator[tuple[str, str, str, Examples]]:
        """Every (stage, slice, split) that has examples, with them."""
        for stage, name in self.slices:
            for split, drawn in zip(SPLITS, self.draw(stage, seed)[name], strict=True):
                if len(drawn):
                    yield stage, name, split, drawn

    def other_sizes(self) -> Iterator[tuple[str, str, int]]:
        """For each (stage, slice) another number of items that it may have: smaller where that is possible, else larger."""
        for stage, name in self.slices:
            items = self.task.card.size(stage)[name]
            for other in filter(None, (items // 3, items // 5, items * 2)):
                with suppress(BadInput):
                    self.task.check_sizes(stage, {name: other})
                    yield stage, name, other
                    break


def malformed(drawn: Any, language: Language, item_N: NDArray[np.int64]) -> str | None:
    """What is wrong with the form of what was drawn for these items."""
    if not isinstance(drawn, Examples):
        return f"returns a {type(drawn).__name__}, not synthbench.generators.Examples"
    name_NS = language.spell(item_N)
    for name, usual in vars(
        examples.examples(language, language.words[0], name_NS, name_NS, item_N, SLICES[0])
    ).items():
        if _form(getattr(drawn, name)) != _form(usual):
            return f"returns {name} as {_form(getattr(drawn, name))}, not as {_form(usual)}"
    if not np.array_equal(drawn.item_N, item_N):
        return "returns other items in item_N than it was given, or in another order"
    ranges: dict[str, tuple[float, float]] = {
        "tokens_NL": (0, language.vocabulary - 1), "rule_answer_NL": (-1, language.vocabulary - 1),
        "slice_N": (0, len(SLICES) - 1), "bucket_N": (0, len(BUCKETS) - 1), "repeats_N": (1, np.inf),
        "bits_N": (0, np.finfo(float).max), "chance_N": (0, 1),
    }  # fmt: skip
    for name, (least, most) in ranges.items():
        array = getattr(drawn, name)
        if not ((array >= least) & (array <= most)).all():
            return f"returns {name} with values outside {least} to {most:g}"
    return _misplaced(drawn) if len(item_N) else None


def _form(array: Any) -> str:
    return f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__


def _misplaced(drawn: Examples) -> str | None:
    """What is wrong with where answers are."""
    answer_L = drawn.answer_NL[0]
    start = int(answer_L.argmax())
    end = start + int(answer_L.sum())
    if not 0 < start < end or not answer_L[start:end].all():
        return "marks no answer, one without a prompt before it, or one with gaps, in answer_NL"
    if (drawn.answer_NL != answer_L).any():
        return "has answers at different places in its examples (answer_NL)"
    if (drawn.tokens_NL[:, end - 1] != examples.END).any():
        return f"has answers that do not end with the end token ({examples.END})"
    if (drawn.tokens_NL[:, end:] != examples.PADDING).any():
        return f"has other tokens than padding ({examples.PADDING}) after its answers"
    return None


def sizes(sample: Sample) -> Iterator[str]:
    """Splits have the sizes on the card."""
    held_out = sample.task.card.held_out
    for stage, name in sample.slices:
        splits = sample.draw(stage, 0)[name]
        wanted = (sample.task.card.size(stage)[name], held_out.validation, held_out.test)
        if tuple(map(len, splits))[:3] != wanted or len(splits.unseen) > held_out.test:
            yield f"{stage}/{name} has {tuple(map(len, splits))} items in its splits, not {wanted} and at most {wanted[2]}"


def distinct(sample: Sample) -> Iterator[str]:
    """No prompt occurs twice, in any split, slice or stage."""
    for seed in SEEDS[:2]:
        known: dict[bytes, str] = {}
        for stage, name, split, drawn in sample.sets(seed):
            for prompt in map(bytes, prompts(drawn)):
                if prompt in known:
                    yield f"{stage}/{name}/{split} repeats a prompt of {known[prompt]}"
                known[prompt] = f"{stage}/{name}/{split}"


def apart(sample: Sample) -> Iterator[str]:
    """No two sets under one word share an item."""
    for seed in SEEDS[:2]:
        known: dict[tuple[Any, int], str] = {}
        for stage, name, split, drawn in sample.sets(seed):
            for item in drawn.item_N.tolist():
                key = sample.part(stage, name).options.get("word"), item
                if key in known:
                    yield f"{stage}/{name}/{split} repeats an item of {known[key]}"
                known[key] = f"{stage}/{name}/{split}"


def slices(sample: Sample) -> Iterator[str]:
    """Trained items include the slice that the card names; held-out items are all of it."""
    for stage, name, split, drawn in sample.sets():
        kinds = {SLICES[index] for index in drawn.slice_N}
        if (name not in kinds) if split == "train" else (kinds != {name}):
            yield f"{stage}/{name}/{split} has items of {', '.join(sorted(kinds))} (slice_N)"


def held_out(sample: Sample) -> Iterator[str]:
    """Held-out items of a rule follow it, others follow none; each counts once."""
    for stage, name, split, drawn in sample.sets():
        if split == "train":
            continue
        if name == "rule" and not np.array_equal(drawn.rule_answer_NL, drawn.tokens_NL):
            yield f"{stage}/{name}/{split} has items that do not follow the rule (rule_answer_NL is not tokens_NL)"
        if name != "rule" and (drawn.rule_answer_NL != -1).any():
            yield f"{stage}/{name}/{split} has items that a rule answers (rule_answer_NL is not -1)"
        if (drawn.bucket_N != BUCKETS.index("all")).any() or (drawn.repeats_N != 1).any():
            yield f"{stage}/{name}/{split} has items in a bucket or with repeats (bucket_N, repeats_N)"


def by_item(sample: Sample) -> Iterator[str]:
    """A rule's answer depends on the item alone, not on which others are drawn with it."""
    task = sample.task
    for stage, name, split, drawn in sample.sets():
        part = sample.part(stage, name)
        generator = GENERATORS[part.generator]
        options, place = generator.options.model_validate(part.options), Place(0, task.card.origin, stage, name)
        alone = generator.draw(task.language, options, drawn.item_N[::-1].copy(), place, split)
        if len(alone) != len(drawn):
            continue  # `sizes` reports it
        both_N = (drawn.rule_answer_NL[::-1, 0] != -1) & (alone.rule_answer_NL[:, 0] != -1)
        if ((drawn.rule_answer_NL[::-1] != alone.rule_answer_NL).any(1) & both_N).any():
            yield f"{stage}/{name}/{split} has another rule_answer_NL when its items are drawn in another order"


def parts(sample: Sample) -> Iterator[str]:
    """Every syllable of a held-out rule item was trained at its place, by its stage; one of an unseen item was not."""
    spell, stages = sample.task.language.spell, list(sample.task.card.stages)
    for seed in SEEDS:
        for stage, name, split, drawn in sample.sets(seed):
            if split == "train" or name == "fact":
                continue
            word = sample.part(stage, name).options.get("word")
            known = [where for where in sample.slices if sample.part(*where).options.get("word") == word]
            until = [where for where in known if split == "unseen" or stages.index(where[0]) <= stages.index(stage)]
            trained_MS = np.concatenate([spell(sample.draw(s, seed)[n].train.item_N) for s, n in until])
            pairs = zip(spell(drawn.item_N).T, trained_MS.T, strict=True)
            is_new_NS = np.stack([~np.isin(syllable_N, trained_M) for syllable_N, trained_M in pairs], 1)
            if split == "unseen" and not is_new_NS.any(1).all():
                yield f"{stage}/{name}/unseen has items whose syllables were all trained at their places"
            if split != "unseen" and is_new_NS.any():
                yield f"{stage}/{name}/{split} has items with a syllable that is not trained there; train more items"


def unseen(sample: Sample) -> Iterator[str]:
    """There are unseen items where the card holds out parts, and only there."""
    for stage, name in sample.slices:
        count, option = len(sample.draw(stage, 0)[name].unseen), sample.part(stage, name).options.get("unseen", 0)
        if bool(count) != bool(option):
            yield f"{stage}/{name} has {count} unseen items, and unseen = {option}"


def repeatable(sample: Sample) -> Iterator[str]:
    """A stage and a seed give the same data, whatever was drawn before."""
    again = Task(sample.task.card)
    for stage in sample.task.card.stages:
        again.draw(stage, 3)
        for name, splits in again.draw(stage, 0).items():
            if digests(splits) != digests(sample.draw(stage, 0)[name]):
                yield f"{stage}/{name} differs when it is drawn again; draw from synthbench.generators.stream alone"


def global_numbers() -> tuple[Any, ...]:
    """The states of the global random numbers, which can be compared."""
    _, key, position, *_ = np.random.get_state()
    return bytes(key), position, random.getstate()  # type: ignore[arg-type]


def global_state(sample: Sample) -> Iterator[str]:
    """Drawing neither reads nor changes the global random numbers of numpy and Python."""
    before = np.random.get_state(), random.getstate()
    try:
        for stage in sample.task.card.stages:
            drawn = []
            for seed in (0, 1):
                np.random.seed(seed)
                random.seed(seed)
                state = global_numbers()
                drawn.append([digests(splits) for splits in sample.task.draw(stage, 0).values()])
                if state != global_numbers():
                    yield f"{stage} changes the global random numbers; draw from synthbench.generators.stream alone"
            if drawn[0] != drawn[1]:
                yield f"{stage} depends on the global random numbers; draw from synthbench.generators.stream alone"
    finally:
        np.random.set_state(before[0])
        random.setstate(before[1])


def prefix(sample: Sample) -> Iterator[str]:
    """A smaller set has the first items of a larger one, and the same held-out items."""
    for stage, name, size in sample.other_sizes():
        full, other = sample.draw(stage, 0)[name], sample.task.draw(stage, 0, {name: size})[name]
        fewer, more = sorted((full.train, other.train), key=len)
        first = more.take(slice(len(fewer)))
        is_plain = len({*fewer.slice_N, *first.slice_N}) == 1  # what is exception or noise is spread over the whole set
        if not np.array_equal(fewer.item_N, first.item_N) or (is_plain and fewer.digest() != first.digest()):
            yield f"{stage}/{name} with {len(fewer)} items begins in another way than with {len(more)}"
        if digests(other)[1:] != digests(full)[1:]:
            yield f"{stage}/{name} has other held-out items when {size} are trained"


def independent(sample: Sample) -> Iterator[str]:
    """The size of a slice changes no other slice and no other stage."""
    for stage, name, size in sample.other_sizes():
        content = sample.task.card.model_dump(mode="json")
        content["stages"][stage][name]["items"] = size
        changed = Sample(Task(TaskCard.model_validate(content)))
        for other, part in [where for where in sample.slices if where != (stage, name)]:
            if digests(changed.draw(other, 0)[part]) != digests(sample.draw(other, 0)[part]):
                yield f"{other}/{part} differs when {stage}/{name} has {size} items"


def different(sample: Sample) -> Iterator[str]:
    """Other seeds, stages, slices and splits have other data."""
    known: dict[str, str] = {}
    for seed in SEEDS:
        for stage, name, split, drawn in sample.sets(seed):
            digest = drawn.digest()
            if digest in known:
                yield f"{stage}/{name}/{split} at seed {seed} has the data of {known[digest]}"
            known[digest] = f"{stage}/{name}/{split} at seed {seed}"


def digests(splits: Splits) -> list[str]:
    return [split.digest() for split in splits]


Check = Callable[[Sample], Iterator[str]]
QUICK: list[Check] = [  # also made before every run of a task with plug-in generators
    sizes, distinct, apart, slices, held_out, unseen, repeatable, global_state, by_item
]  # fmt: skip
CHECKS: list[Check] = [*QUICK, parts, prefix, independent, different]
