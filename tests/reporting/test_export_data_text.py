"""Examples as text: tokens can be read back, items are in one split, records have the examples' properties."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import numpy as np

from synthbench.generators import BUCKETS, SLICES, SPLITS, Examples, Language
from synthbench.generators.examples import END, EQUALS, PADDING, examples
from synthbench.reporting.export_data.readme import SCORES as SCORE_NAMES
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
    return tuple((data_part, list(records(task.language, data_part))) for data_part in parts(task, stage, seed))


@cache
def alphabet(language: Language) -> dict[str, int]:
    return {language.text(token): token for token in range(language.first_syllable, language.vocabulary)}


def parsed(language: Language, text: str) -> list[int]:
    """The tokens of an example, read from its text. A word may contain `=`; names and answers do not."""
    ids = alphabet(language)
    assert text.endswith(".")
    prompt, _, answer = text[:-1].rpartition(" = ")
    word, *left_syllables = prompt.rsplit(" ", language.name_length)
    right_syllables = answer.split(" ")
    assert all(SYLLABLE.fullmatch(syllable) for syllable in left_syllables + right_syllables)
    tokens = [3 + language.words.index(word), *(ids[syllable] for syllable in left_syllables), EQUALS]
    tokens += [*(ids[syllable] for syllable in right_syllables), END]
    return tokens + [PADDING] * (language.length - len(tokens))


def check_round_trip(language: Language, data_part: Part) -> None:
    """Asserts that the texts of prompts and answers have the tokens of the examples."""
    records_of_part = list(records(language, data_part))
    of_text = [parsed(language, record["prompt"] + record["answer"]) for record in records_of_part]
    assert np.array_equal(of_text, data_part.examples.tokens_NL)
    by_rule = [
        [-1] * language.length
        if record["rule_answer"] is None
        else parsed(language, record["prompt"] + record["rule_answer"])
        for record in records_of_part
    ]
    assert np.array_equal(by_rule, data_part.examples.rule_answer_NL)
    assert all(record["prompt"].endswith(" =") and record["answer"].startswith(" ") for record in records_of_part)


@each("label", LABELS)
def test_tokens_can_be_read_back_from_the_text_of_every_example(label: str) -> None:
    for (stage, slice_name, split), split_examples in shipped.splits_of(label).items():
        check_round_trip(shipped.task(label).language, Part(stage, split, slice_name, split_examples, split_examples))


@each("words", [("a = b", "a", "a = pa", "pa"), ("=", ".", "_", " "), ("ta te", "ta", "pa\n ta", "ta te to")])
@each(("syllables", "length"), [(1024, 2), (105, 3), (106, 3), (2, 1)])
def test_tokens_can_be_read_back_with_any_words_and_numbers_of_syllables(
    words: tuple[str, ...], syllables: int, length: int
) -> None:
    language = Language(words, syllables, length)
    generator = np.random.default_rng(0)
    for word in words:
        left, right = generator.integers(syllables, size=(2, 60, length)).astype(np.int32)
        for size in range(1, length + 1):
            split_examples = examples(language, word, left, right[:, :size], np.arange(60), "fact")
            check_round_trip(language, Part("pretrain", "train", "fact", split_examples, split_examples))


@each("label", LABELS)
def test_items_and_prompts_are_unique_over_splits_and_stages(label: str) -> None:
    named = [
        [(record["item"], record["prompt"]) for stage in shipped.task(label).card.stages
         for _, records_of_part in exported(label, stage, seed) for record in records_of_part] for seed in (0, 1)
    ]  # fmt: skip
    for of_seed in named:
        assert len({prompt for _, prompt in of_seed}) == len(of_seed)
    all_seeds = set(named[0] + named[1])
    assert len(dict(all_seeds)) == len(all_seeds) == len({prompt for _, prompt in all_seeds})


@each(("label", "stage"), STAGES)
def test_records_have_the_properties_of_their_examples(label: str, stage: str) -> None:
    for data_part, records_of_part in exported(label, stage):
        part_examples: Examples = data_part.examples
        assert {(record["stage"], record["split"], record["slice"]) for record in records_of_part} == {
            (stage, data_part.split, data_part.slice)
        }
        assert [SLICES.index(record["slice"]) for record in records_of_part] == part_examples.slice_N.tolist()
        assert [BUCKETS.index(record["bucket"]) for record in records_of_part] == part_examples.bucket_N.tolist()
        assert [record["bits"] for record in records_of_part] == part_examples.bits_N.tolist()
        assert [record["chance"] for record in records_of_part] == part_examples.chance_N.tolist()
        repeats = part_examples.repeats_N.tolist() if data_part.split == "train" else [0] * len(part_examples)
        assert [record["repeats"] for record in records_of_part] == repeats
        for record in records_of_part:  # only rule items are answered by the rule
            expected = {"rule": record["rule_answer"] == record["answer"], "fact": record["rule_answer"] is None}
            assert expected.get(data_part.slice, record["rule_answer"] not in (None, record["answer"]))


@each(("label", "stage"), STAGES)
def test_all_trained_examples_and_the_held_out_rule_items_are_exported(label: str, stage: str) -> None:
    counts = dict.fromkeys(SPLITS, 0)
    for data_part, exported_records in exported(label, stage):
        counts[data_part.split] += len(exported_records)
        assert data_part.split == "train" or data_part.slice == "rule"
    for index, split in enumerate(SPLITS):
        split_examples = [splits[index] for splits in shipped.draw(label, stage).values()]
        answerable = [
            np.ones(len(slice_examples)) if split == "train" else slice_examples.slice_N == SLICES.index("rule")
            for slice_examples in split_examples
        ]
        assert counts[split] == sum(int(is_answerable_N.sum()) for is_answerable_N in answerable)


def test_the_page_names_scores_as_the_registry_does() -> None:
    text = " ".join([SCORING, *SCORE_NAMES.values()])
    named = set(re.findall("`([a-z_]+)`", text)) - set(FIELDS) - set(SPLITS)
    assert named == named & set(SCORES)
    assert {"fact_recall", "rule_accuracy", "forgetting"} <= named
