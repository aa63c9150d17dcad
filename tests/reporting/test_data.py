"""Examples as text: nothing is lost, nothing is in two splits, and what is known of an example stands beside it."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np

from synthbench.generators import BUCKETS, SLICES, SPLITS, Examples, Language
from synthbench.generators.examples import END, EQUALS, PADDING, examples
from synthbench.reporting.export_data.readme import SCORES as CALLED
from synthbench.reporting.export_data.readme import SCORING
from synthbench.reporting.export_data.text import FIELDS, Part, parts, records
from synthbench.scores import SCORES
from tests.each import each
from tests.generators import shipped

LABELS = [*shipped.NAMES, "wugs:20-4x"]
STAGES = [(label, stage) for label, stage in shipped.STAGES if label in LABELS]
SYLLABLE = re.compile("[^aeiou ]+[aeiou]")


@cache
def exported(label: str, stage: str, seed: int = 0) -> tuple[tuple[Part, list[dict[str, Any]]], ...]:
    task = shipped.task(label)
    return tuple((part, list(records(task.language, part))) for part in parts(task, stage, seed))


@cache
def alphabet(language: Language) -> dict[str, int]:
    return {language.text(token): token for token in range(language.first_syllable, language.vocabulary)}


def parsed(language: Language, text: str) -> list[int]:
    """The tokens of an example, from its text alone. The answer and the prompt's name have no `=`, a word may."""
    ids = alphabet(language)
    assert text.endswith(".")
    before, _, after = text[:-1].rpartition(" = ")
    word, *left = before.rsplit(" ", language.name_length)
    right = after.split(" ")
    assert all(SYLLABLE.fullmatch(syllable) for syllable in left + right)
    tokens = [3 + language.words.index(word), *(ids[syllable] for syllable in left), EQUALS]
    tokens += [*(ids[syllable] for syllable in right), END]
    return tokens + [PADDING] * (language.length - len(tokens))


def same(language: Language, part: Part) -> None:
    """Text has the very tokens of a part's examples, prompt and answer apart where they are apart."""
    found = list(records(language, part))
    of_text = [parsed(language, record["prompt"] + record["answer"]) for record in found]
    assert np.array_equal(of_text, part.examples.tokens_NL)
    by_rule = [
        [-1] * language.length
        if record["rule_answer"] is None
        else parsed(language, record["prompt"] + record["rule_answer"])
        for record in found
    ]
    assert np.array_equal(by_rule, part.examples.rule_answer_NL)
    assert all(record["prompt"].endswith(" =") and record["answer"].startswith(" ") for record in found)


@each("label", LABELS)
def test_the_tokens_of_every_example_can_be_read_back_from_its_text(label: str) -> None:
    for (stage, part, split), drawn in shipped.splits_of(label).items():
        same(shipped.task(label).language, Part(stage, split, part, drawn, drawn))


@each("words", [("a = b", "a", "a = pa", "pa"), ("=", ".", "_", " "), ("ta te", "ta", "pa\n ta", "ta te to")])
@each(("syllables", "length"), [(1024, 2), (105, 3), (106, 3), (2, 1)])
def test_so_they_can_whatever_words_and_however_many_syllables_a_card_has(
    words: tuple[str, ...], syllables: int, length: int
) -> None:
    language = Language(words, syllables, length)
    chance = np.random.default_rng(0)
    for word in words:
        left, right = chance.integers(syllables, size=(2, 60, length)).astype(np.int32)
        for size in range(1, length + 1):
            drawn = examples(language, word, left, right[:, :size], np.arange(60), "fact")
            same(language, Part("pretrain", "train", "fact", drawn, drawn))


@each("label", LABELS)
def test_an_item_has_one_name_and_one_prompt_that_no_other_split_or_stage_has(label: str) -> None:
    named = [
        [(record["item"], record["prompt"]) for stage in shipped.task(label).card.stages
         for _, found in exported(label, stage, seed) for record in found] for seed in (0, 1)
    ]  # fmt: skip
    for of_seed in named:
        assert len({prompt for _, prompt in of_seed}) == len(of_seed)
    both = set(named[0] + named[1])
    assert len(dict(both)) == len(both) == len({prompt for _, prompt in both})


@each(("label", "stage"), STAGES)
def test_what_is_known_of_an_example_stands_beside_it(label: str, stage: str) -> None:
    for part, found in exported(label, stage):
        drawn: Examples = part.examples
        assert {(record["stage"], record["split"], record["slice"]) for record in found} == {
            (stage, part.split, part.slice)
        }
        assert [SLICES.index(record["slice"]) for record in found] == drawn.slice_N.tolist()
        assert [BUCKETS.index(record["bucket"]) for record in found] == drawn.bucket_N.tolist()
        assert [record["bits"] for record in found] == drawn.bits_N.tolist()
        assert [record["chance"] for record in found] == drawn.chance_N.tolist()
        times = drawn.repeats_N.tolist() if part.split == "train" else [0] * len(drawn)
        assert [record["repeats"] for record in found] == times
        for record in found:  # the rule answers rule items, and neither exceptions nor noise nor facts
            expected = {"rule": record["rule_answer"] == record["answer"], "fact": record["rule_answer"] is None}
            assert expected.get(part.slice, record["rule_answer"] not in (None, record["answer"]))


@each(("label", "stage"), STAGES)
def test_everything_trained_is_there_and_of_what_is_held_out_what_can_be_answered(label: str, stage: str) -> None:
    counts = dict.fromkeys(SPLITS, 0)
    for part, found in exported(label, stage):
        counts[part.split] += len(found)
        assert part.split == "train" or part.slice == "rule"
    for place, split in enumerate(SPLITS):
        drawn = [splits[place] for splits in shipped.drawn(label, stage).values()]
        answerable = [np.ones(len(one)) if split == "train" else one.slice_N == SLICES.index("rule") for one in drawn]
        assert counts[split] == sum(int(found.sum()) for found in answerable)


def test_the_page_names_scores_by_their_names() -> None:
    told = " ".join([SCORING, *CALLED.values()])
    named = set(re.findall("`([a-z_]+)`", told)) - set(FIELDS) - set(SPLITS)
    assert named == named & set(SCORES)
    assert {"fact_recall", "rule_accuracy", "forgetting"} <= named
