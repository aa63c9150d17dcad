"""What every generator promises of the data of a task, as named checks: each returns nothing, or a sentence.

Built-in generators, those that somebody else wrote, `synthbench verify --task` and the tests use the same ones.
Shapes: N examples, L tokens.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from synthbench.cards import TaskCard
from synthbench.common.errors import BadInput
from synthbench.generators import BUCKETS, GENERATORS, SLICES, SPLITS, Examples, Language, Place, Splits, Task, examples
from synthbench.generators.floors import prompts

SEEDS = (0, 1, 2)


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
            for split, found in zip(SPLITS, self.draw(stage, seed)[name], strict=True):
                if len(found):
                    yield stage, name, split, found

    def option(self, stage: str, name: str, key: str) -> Any:
        """An option of a slice's generator, None where it has none of that name."""
        return self.task.card.stages[stage][name].options.get(key)  # type: ignore[index]

    def other_size(self, stage: str, name: str) -> int | None:
        """A number of items that the slice may have, too: fewer where it may, else more."""
        items = self.task.card.size(stage)[name]
        for other in (items // 3, items // 5, items * 2):
            try:
                self.task.check_sizes(stage, {name: other})
            except BadInput:
                continue
            if other:
                return other
        return None


def malformed(found: Any, language: Language, item_N: NDArray[np.int64]) -> str | None:
    """What is wrong with the form of what was drawn for these items."""
    if not isinstance(found, Examples):
        return f"returns a {type(found).__name__}, not synthbench.generators.Examples"
    count, length = len(item_N), language.length
    name_NS = language.spell(item_N)
    like = examples.examples(language, language.words[0], name_NS, name_NS, item_N, SLICES[0])
    for name, usual in vars(like).items():
        array = getattr(found, name)
        if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (usual.dtype, usual.shape):
            given = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            return f"returns {name} as {given}, not as {usual.dtype} {usual.shape}"
    if not np.array_equal(found.item_N, item_N):
        return "returns other items in item_N than it was given, or in another order"
    ranges: dict[str, tuple[float, float]] = {
        "tokens_NL": (0, language.vocabulary - 1), "rule_answer_NL": (-1, language.vocabulary - 1),
        "slice_N": (0, len(SLICES) - 1), "bucket_N": (0, len(BUCKETS) - 1), "repeats_N": (1, np.inf),
        "bits_N": (0, np.finfo(float).max), "chance_N": (0, 1),
    }  # fmt: skip
    for name, (least, most) in ranges.items():
        array = getattr(found, name)
        if not ((array >= least) & (array <= most)).all():
            return f"returns {name} with values outside {least} to {most:g}"
    return _ill_placed(found, length) if count else None


def _ill_placed(found: Examples, length: int) -> str | None:
    """What is wrong with where answers are."""
    answer_L = found.answer_NL[0]
    start, size = int(answer_L.argmax()), int(answer_L.sum())
    if not size or not start or not answer_L[start : start + size].all():
        return "marks no answer, one without a prompt before it, or one with gaps, in answer_NL"
    if (found.answer_NL != answer_L).any():
        return "has its answers not at the same place in all examples (answer_NL)"
    if (found.tokens_NL[:, start + size - 1] != examples.END).any():
        return f"has answers that do not end with the end token ({examples.END})"
    if start + size < length and (found.tokens_NL[:, start + size :] != examples.PADDING).any():
        return f"has other tokens than padding ({examples.PADDING}) behind its answers"
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
    """No prompt is asked twice, in whatever split, slice or stage."""
    for seed in SEEDS[:2]:
        known: dict[bytes, str] = {}
        for stage, name, split, found in sample.sets(seed):
            where = f"{stage}/{name}/{split}"
            for prompt in prompts(found):
                other = known.setdefault(prompt.tobytes(), where)
                if other != where:
                    return f"{where} asks a prompt that {other} asks, too"
            if len(np.unique(prompts(found), axis=0)) < len(found):
                return f"{where} asks a prompt twice"
    return None


def apart(sample: Sample) -> str | None:
    """No two sets under one word share an item."""
    for seed in SEEDS[:2]:
        known: dict[tuple[Any, int], str] = {}
        for stage, name, split, found in sample.sets(seed):
            where, word = f"{stage}/{name}/{split}", sample.option(stage, name, "word")
            for item in found.item_N.tolist():
                if (other := known.setdefault((word, item), where)) != where:
                    return f"{where} has an item that {other} has, too"
    return None


def slices(sample: Sample) -> str | None:
    """Trained items include the slice that the card names; held-out ones are all of it."""
    for stage, name, split, found in sample.sets():
        kinds = {SLICES[index] for index in found.slice_N}
        if (name not in kinds) if split == "train" else (kinds != {name}):
            return f"{stage}/{name}/{split} has items of {', '.join(sorted(kinds))} (slice_N)"
    return None


def held_out(sample: Sample) -> str | None:
    """Held-out items of a rule follow it, others follow none; all are seen alike."""
    for stage, name, split, found in sample.sets():
        if split == "train":
            continue
        if name == "rule" and not np.array_equal(found.rule_answer_NL, found.tokens_NL):
            return f"{stage}/{name}/{split} has items that do not follow the rule (rule_answer_NL is not tokens_NL)"
        if name != "rule" and (found.rule_answer_NL != -1).any():
            return f"{stage}/{name}/{split} has items that a rule answers (rule_answer_NL is not -1)"
        if (found.bucket_N != BUCKETS.index("all")).any() or (found.repeats_N != 1).any():
            return f"{stage}/{name}/{split} has items that are seen unequally often (bucket_N, repeats_N)"
    return None


def by_item(sample: Sample) -> str | None:
    """What a rule answers depends on the item alone, not on which others are drawn with it."""
    task = sample.task
    for stage, name, split, found in sample.sets():
        part = task.card.stages[stage][name]  # type: ignore[index]
        generator = GENERATORS[part.generator]
        options, place = generator.options.model_validate(part.options), Place(0, task.card.origin, stage, name)
        alone = generator.draw(task.language, options, found.item_N[::-1].copy(), place, split)
        if len(alone) != len(found):
            continue  # of another size than asked for, which is another promise
        both_N = (found.rule_answer_NL[::-1, 0] != -1) & (alone.rule_answer_NL[:, 0] != -1)
        wrong_N = (found.rule_answer_NL[::-1] != alone.rule_answer_NL).any(1) & both_N
        if wrong_N.any():
            return (
                f"{stage}/{name}/{split} has {int(wrong_N.sum())} items to which the rule has another answer "
                "(rule_answer_NL) when they are drawn in another order"
            )
    return None


def parts(sample: Sample) -> str | None:
    """Of a held-out rule item every syllable was trained in its place, up to its stage; an unseen one has one that never
    was."""
    return next((wrong for seed in SEEDS if (wrong := _parts(sample, seed))), None)


def _parts(sample: Sample, seed: int) -> str | None:
    spell, stages = sample.task.language.spell, list(sample.task.card.stages)
    for stage, name, split, found in sample.sets(seed):
        if split == "train" or name == "fact":
            continue
        word = sample.option(stage, name, "word")
        known = [one for one in sample.slices if sample.option(*one, "word") == word]
        until = [one for one in known if split == "unseen" or stages.index(one[0]) <= stages.index(stage)]
        trained = np.concatenate([spell(sample.draw(s, seed)[n].train.item_N) for s, n in until])
        pairs = zip(spell(found.item_N).T, trained.T, strict=True)
        is_new_NS = np.stack([~np.isin(asked, own) for asked, own in pairs], 1)
        if split == "unseen" and not is_new_NS.any(1).all():
            return f"{stage}/{name}/unseen has items whose syllables were all trained in their places"
        if split != "unseen" and is_new_NS.any():
            return f"{stage}/{name}/{split} has items with a syllable that training never shows there; train more items"
    return None


def unseen(sample: Sample) -> str | None:
    """There are unseen items where the card holds parts out, and only there."""
    for stage, name in sample.slices:
        count, asked = len(sample.draw(stage)[name].unseen), sample.option(stage, name, "unseen") or 0
        if bool(count) != bool(asked):
            return f"{stage}/{name} has {count} unseen items, and unseen = {asked}"
    return None


def repeatable(sample: Sample) -> str | None:
    """The same address gives the same data, whatever was drawn before."""
    again = Task(sample.task.card)
    for stage in sample.task.card.stages:
        again.draw(stage, 3)
        for name, splits in again.draw(stage, 0).items():
            if digests(splits) != digests(sample.draw(stage)[name]):
                return (
                    f"{stage}/{name} is other data when it is drawn again; draw from synthbench.generators.stream alone"
                )
    return None


def global_state(sample: Sample) -> str | None:
    """Data neither reads nor moves the global random numbers of numpy and Python."""
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
                    return f"{stage} moves the global random numbers; draw from synthbench.generators.stream alone"
            if drawn[0] != drawn[1]:
                return f"{stage} depends on the global random numbers; draw from synthbench.generators.stream alone"
    finally:
        np.random.set_state(before)
        random.setstate(ours)
    return None


def prefix(sample: Sample) -> str | None:
    """A smaller set has the first items of a larger one, and the same held-out ones."""
    for stage, name in sample.slices:
        if (size := sample.other_size(stage, name)) is None:
            continue
        whole, other = sample.draw(stage)[name], sample.task.draw(stage, 0, {name: size})[name]
        fewer, more = sorted((whole.train, other.train), key=len)
        first = more.take(slice(len(fewer)))
        is_plain = len({*fewer.slice_N, *first.slice_N}) == 1  # what is exception or noise is spread over the whole set
        if not np.array_equal(fewer.item_N, first.item_N) or (is_plain and fewer.digest() != first.digest()):
            return f"{stage}/{name} with {len(fewer)} items does not begin as it does with {len(more)}"
        if digests(other)[1:] != digests(whole)[1:]:
            return f"{stage}/{name} has other held-out items with {size} trained ones"
    return None


def independent(sample: Sample) -> str | None:
    """The size of a slice changes no other slice and no other stage."""
    for stage, name in sample.slices:
        if (size := sample.other_size(stage, name)) is None:
            continue
        content = sample.task.card.model_dump(mode="json")
        content["stages"][stage][name]["items"] = size
        changed = Task(TaskCard.model_validate(content))
        for other in changed.card.stages:
            for own, splits in changed.draw(other, 0).items():
                if (other, own) != (stage, name) and digests(splits) != digests(sample.draw(other)[own]):
                    return f"{other}/{own} is other data when {stage}/{name} has {size} items"
    return None


def different(sample: Sample) -> str | None:
    """Other seeds, stages, slices and splits have other data."""
    known: dict[str, str] = {}
    for seed in SEEDS:
        for stage, name, split, found in sample.sets(seed):
            where = f"{stage}/{name}/{split} at seed {seed}"
            if (other := known.setdefault(found.digest(), where)) != where:
                return f"{where} is the same data as {other}"
    return None


def digests(splits: Splits) -> list[str]:
    return [one.digest() for one in splits]


class Check(NamedTuple):
    """is_quick: also made before every run of a task whose generators are not built in."""

    name: str
    holds: Callable[[Sample], str | None]
    is_quick: bool = False

    @property
    def promise(self) -> str:
        """What it checks, in a sentence."""
        return " ".join((self.holds.__doc__ or "").split())


CHECKS = (
    Check("sizes", sizes, True),
    Check("prompts", distinct, True),
    Check("items", apart, True),
    Check("slices", slices, True),
    Check("held out", held_out, True),
    Check("parts", parts),
    Check("unseen", unseen, True),
    Check("repeatable", repeatable, True),
    Check("global state", global_state, True),
    Check("by item", by_item, True),
    Check("prefix", prefix),
    Check("independent", independent),
    Check("different", different),
)
