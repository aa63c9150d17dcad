"""The contract between generators and tasks, as named checks: each returns None, or a sentence on what breaks it.

Plug-in generators, `synthbench verify --task` and the tests use the same checks. Shapes: N examples, L tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthbench.cards import TaskCard
from synthbench.common.errors import BadInput
from synthbench.generators import BUCKETS, GENERATORS, SLICES, SPLITS, Examples, Language, Place, Splits, Task, examples
from synthbench.generators.floors import prompts

SEEDS = (0, 1, 2)
ADVICE = "draw from synthbench.generators.stream alone"


class Sample:
    """A task and what it draws, drawn once."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.slices = [(stage, name) for stage, parts in task.card.stages.items() for name in parts]
        self._drawn: dict[tuple[str, int], dict[str, Splits]] = {}

    def draw(self, stage: str, seed: int = 0) -> dict[str, Splits]:
        if (stage, seed) not in self._drawn:
            self._drawn[stage, seed] = self.task.draw(stage, seed)
        return self._drawn[stage, seed]

    def sets(self, seed: int = 0) -> Iterator[tuple[str, str, str, Examples]]:
        """Every (stage, slice, split) that has examples, with them."""
        for stage, name in self.slices:
            for split, drawn in zip(SPLITS, self.draw(stage, seed)[name], strict=True):
                if len(drawn):
                    yield stage, name, split, drawn

    def option(self, stage: str, name: str, key: str) -> Any:
        """An option of a slice's generator, None where it is not given."""
        return self.task.card.stages[stage][name].options.get(key)  # type: ignore[index]

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
    like = examples.examples(language, language.words[0], name_NS, name_NS, item_N, SLICES[0])
    for name, usual in vars(like).items():
        array = getattr(drawn, name)
        if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (usual.dtype, usual.shape):
            form = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            return f"returns {name} as {form}, not as {usual.dtype} {usual.shape}"
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
    return _misplaced(drawn, language.length) if len(item_N) else None


def _misplaced(drawn: Examples, length: int) -> str | None:
    """What is wrong with where answers are."""
    answer_L = drawn.answer_NL[0]
    start, size = int(answer_L.argmax()), int(answer_L.sum())
    if not size or not start or not answer_L[start : start + size].all():
        return "marks no answer, one without a prompt before it, or one with gaps, in answer_NL"
    if (drawn.answer_NL != answer_L).any():
        return "has answers at different places in its examples (answer_NL)"
    if (drawn.tokens_NL[:, start + size - 1] != examples.END).any():
        return f"has answers that do not end with the end token ({examples.END})"
    if start + size < length and (drawn.tokens_NL[:, start + size :] != examples.PADDING).any():
        return f"has other tokens than padding ({examples.PADDING}) after its answers"
    return None


def sizes(sample: Sample) -> str | None:
    """Splits have the sizes on the card."""
    held_out = sample.task.card.held_out
    for stage, name in sample.slices:
        splits = sample.draw(stage)[name]
        wanted = (sample.task.card.size(stage)[name], held_out.validation, held_out.test)
        if tuple(map(len, splits))[:3] != wanted or len(splits.unseen) > held_out.test:
            return f"{stage}/{name} has {tuple(map(len, splits))} items in its splits, not {wanted} and at most {wanted[2]}"
    return None


def distinct(sample: Sample) -> str | None:
    """No prompt occurs twice, in any split, slice or stage."""
    for seed in SEEDS[:2]:
        known: dict[bytes, str] = {}
        for stage, name, split, drawn in sample.sets(seed):
            where = f"{stage}/{name}/{split}"
            for prompt in prompts(drawn):
                other = known.setdefault(prompt.tobytes(), where)
                if other != where:
                    return f"{where} has a prompt that {other} has too"
            if len(np.unique(prompts(drawn), axis=0)) < len(drawn):
                return f"{where} has a prompt twice"
    return None


def apart(sample: Sample) -> str | None:
    """No two sets under one word share an item."""
    for seed in SEEDS[:2]:
        known: dict[tuple[Any, int], str] = {}
        for stage, name, split, drawn in sample.sets(seed):
            where, word = f"{stage}/{name}/{split}", sample.option(stage, name, "word")
            for item in drawn.item_N.tolist():
                if (other := known.setdefault((word, item), where)) != where:
                    return f"{where} has an item that {other} has too"
    return None


def slices(sample: Sample) -> str | None:
    """Trained items include the slice that the card names; held-out items are all of it."""
    for stage, name, split, drawn in sample.sets():
        kinds = {SLICES[index] for index in drawn.slice_N}
        if (name not in kinds) if split == "train" else (kinds != {name}):
            return f"{stage}/{name}/{split} has items of {', '.join(sorted(kinds))} (slice_N)"
    return None


def held_out(sample: Sample) -> str | None:
    """Held-out items of a rule follow it, others follow none; each counts once."""
    for stage, name, split, drawn in sample.sets():
        if split == "train":
            continue
        if name == "rule" and not np.array_equal(drawn.rule_answer_NL, drawn.tokens_NL):
            return f"{stage}/{name}/{split} has items that do not follow the rule (rule_answer_NL is not tokens_NL)"
        if name != "rule" and (drawn.rule_answer_NL != -1).any():
            return f"{stage}/{name}/{split} has items that a rule answers (rule_answer_NL is not -1)"
        if (drawn.bucket_N != BUCKETS.index("all")).any() or (drawn.repeats_N != 1).any():
            return f"{stage}/{name}/{split} has items in a bucket or with repeats (bucket_N, repeats_N)"
    return None


def by_item(sample: Sample) -> str | None:
    """A rule's answer depends on the item alone, not on which others are drawn with it."""
    task = sample.task
    for stage, name, split, drawn in sample.sets():
        part = task.card.stages[stage][name]  # type: ignore[index]
        generator = GENERATORS[part.generator]
        options, place = generator.options.model_validate(part.options), Place(0, task.card.origin, stage, name)
        alone = generator.draw(task.language, options, drawn.item_N[::-1].copy(), place, split)
        if len(alone) != len(drawn):
            continue  # `sizes` reports it
        both_N = (drawn.rule_answer_NL[::-1, 0] != -1) & (alone.rule_answer_NL[:, 0] != -1)
        if ((drawn.rule_answer_NL[::-1] != alone.rule_answer_NL).any(1) & both_N).any():
            return f"{stage}/{name}/{split} has another rule_answer_NL when its items are drawn in another order"
    return None


def parts(sample: Sample) -> str | None:
    """Every syllable of a held-out rule item was trained at its place, by its stage; one of an unseen item was not."""
    spell, stages = sample.task.language.spell, list(sample.task.card.stages)
    for seed in SEEDS:
        for stage, name, split, drawn in sample.sets(seed):
            if split == "train" or name == "fact":
                continue
            word = sample.option(stage, name, "word")
            known = [part for part in sample.slices if sample.option(*part, "word") == word]
            until = [part for part in known if split == "unseen" or stages.index(part[0]) <= stages.index(stage)]
            trained = np.concatenate([spell(sample.draw(s, seed)[n].train.item_N) for s, n in until])
            pairs = zip(spell(drawn.item_N).T, trained.T, strict=True)
            is_new_NS = np.stack([~np.isin(asked, seen) for asked, seen in pairs], 1)
            if split == "unseen" and not is_new_NS.any(1).all():
                return f"{stage}/{name}/unseen has items whose syllables were all trained at their places"
            if split != "unseen" and is_new_NS.any():
                return f"{stage}/{name}/{split} has items with a syllable that is not trained there; train more items"
    return None


def unseen(sample: Sample) -> str | None:
    """There are unseen items where the card holds out parts, and only there."""
    for stage, name in sample.slices:
        count, asked = len(sample.draw(stage)[name].unseen), sample.option(stage, name, "unseen") or 0
        if bool(count) != bool(asked):
            return f"{stage}/{name} has {count} unseen items, and unseen = {asked}"
    return None


def repeatable(sample: Sample) -> str | None:
    """A stage and a seed give the same data, whatever was drawn before."""
    again = Task(sample.task.card)
    for stage in sample.task.card.stages:
        again.draw(stage, 3)
        for name, splits in again.draw(stage, 0).items():
            if digests(splits) != digests(sample.draw(stage)[name]):
                return f"{stage}/{name} differs when it is drawn again; {ADVICE}"
    return None


def global_state(sample: Sample) -> str | None:
    """Drawing neither reads nor changes the global random numbers of numpy and Python."""
    before, ours = np.random.get_state(), random.getstate()
    try:
        for stage in sample.task.card.stages:
            drawn = []
            for seed in (0, 1):
                np.random.seed(seed)
                random.seed(seed)
                state = np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]
                drawn.append({name: digests(splits) for name, splits in sample.task.draw(stage, 0).items()})
                now = np.random.get_state()[1], random.getstate()  # type: ignore[index]
                if not np.array_equal(state[0], now[0]) or state[1] != now[1]:
                    return f"{stage} changes the global random numbers; {ADVICE}"
            if drawn[0] != drawn[1]:
                return f"{stage} depends on the global random numbers; {ADVICE}"
    finally:
        np.random.set_state(before)
        random.setstate(ours)
    return None


def prefix(sample: Sample) -> str | None:
    """A smaller set has the first items of a larger one, and the same held-out items."""
    for stage, name, size in sample.other_sizes():
        full, other = sample.draw(stage)[name], sample.task.draw(stage, 0, {name: size})[name]
        fewer, more = sorted((full.train, other.train), key=len)
        first = more.take(slice(len(fewer)))
        is_plain = len({*fewer.slice_N, *first.slice_N}) == 1  # what is exception or noise is spread over the whole set
        if not np.array_equal(fewer.item_N, first.item_N) or (is_plain and fewer.digest() != first.digest()):
            return f"{stage}/{name} with {len(fewer)} items begins in another way than with {len(more)}"
        if digests(other)[1:] != digests(full)[1:]:
            return f"{stage}/{name} has other held-out items when {size} are trained"
    return None


def independent(sample: Sample) -> str | None:
    """The size of a slice changes no other slice and no other stage."""
    for stage, name, size in sample.other_sizes():
        content = sample.task.card.model_dump(mode="json")
        content["stages"][stage][name]["items"] = size
        changed = Sample(Task(TaskCard.model_validate(content)))
        for other, part in sample.slices:
            if (other, part) != (stage, name) and digests(changed.draw(other)[part]) != digests(
                sample.draw(other)[part]
            ):
                return f"{other}/{part} differs when {stage}/{name} has {size} items"
    return None


def different(sample: Sample) -> str | None:
    """Other seeds, stages, slices and splits have other data."""
    known: dict[str, str] = {}
    for seed in SEEDS:
        for stage, name, split, drawn in sample.sets(seed):
            where = f"{stage}/{name}/{split} at seed {seed}"
            if (other := known.setdefault(drawn.digest(), where)) != where:
                return f"{where} has the data of {other}"
    return None


def digests(splits: Splits) -> list[str]:
    return [split.digest() for split in splits]


class Check(NamedTuple):
    """is_quick: also made before every run of a task with plug-in generators."""

    name: str
    holds: Callable[[Sample], str | None]
    is_quick: bool = False

    @property
    def title(self) -> str:
        """What it checks, in a sentence."""
        return " ".join((self.holds.__doc__ or "").split())


CHECKS = (
    Check("sizes", sizes, True), Check("prompts", distinct, True), Check("items", apart, True),
    Check("slices", slices, True), Check("held out", held_out, True), Check("parts", parts), Check("unseen", unseen, True),
    Check("repeatable", repeatable, True), Check("global state", global_state, True), Check("by item", by_item, True),
    Check("prefix", prefix), Check("independent", independent), Check("different", different),
)  # fmt: skip
