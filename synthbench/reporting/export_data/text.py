"""Examples as text: what a language model reads, and what is known about it.

    prompt  `past ka mi to =`      no space at its end
    answer  ` ka mi se.`           the space before it, and the full stop that ends it

Syllables are words: the tokenizers of GPT-2, GPT-4 and GPT-4o make one token of each (but GPT-2 two of `ku`), so a rule
that moves a syllable moves a token. Written together, nine names in ten are cut elsewhere: `kamito` into `kam` and `ito`.
The space that begins an answer belongs to its first token there: prompt and answer are the same tokens apart as together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from synthbench.generators import BUCKETS, SLICES, SPLITS, Examples, Language, Task, by_slice

END = "."
HELD_OUT = ("rule",)  # slices of which items are asked that were never trained
FIELDS = {
    "prompt": ("string", "what the model is given"),
    "answer": ("string", "what it has to go on with, up to and including the full stop"),
    "slice": ("string", f"what the example is: {', '.join(SLICES)}"),
    "split": (
        "string",
        "train, validation (for choosing settings), test, unseen (the rule meets a syllable that training never showed it)",
    ),
    "stage": ("string", "the stage whose data it is"),
    "item": ("string", "which item: the same name is the same prompt, in every stage and variant"),
    "bucket": ("string", f"of how often it is seen in training: {', '.join(BUCKETS)}"),
    "repeats": ("int64", "how often it is seen in training while one with 1 is seen once; 0 where it is held out"),
    "rule_answer": ("string", "what the rule would answer; null where no rule applies"),
    "bits": ("float64", "entropy of the answer for who knows neither the item nor the rule"),
    "chance": ("float64", "probability that a uniform guess among well-formed answers is right"),
}  # name: (type, meaning), in the order in which they are written


class Part(NamedTuple):
    """The examples of one slice in one split of a stage. train: what is trained of it, which floors are made of."""

    stage: str
    split: str
    slice: str
    train: Examples
    examples: Examples


def file_name(stage: str, split: str, form: str) -> str:
    return f"{stage}-{split}.{form}"


def parts(task: Task, stage: str, seed: int) -> Iterator[Part]:
    """All that is trained or asked in a stage, split after split."""
    drawn = task.draw(stage, seed)
    for index, split in enumerate(SPLITS):
        for splits in drawn.values():
            for name, examples in by_slice(splits[index]).items():
                if split == "train" or name in HELD_OUT:
                    yield Part(stage, split, name, splits.train, examples)


def records(language: Language, part: Part) -> Iterator[dict[str, Any]]:
    """The examples of a part, each with its FIELDS."""
    examples, words = part.examples, [language.text(token) for token in range(language.vocabulary)]
    for index in range(len(examples)):
        tokens = [words[token] for token in examples.tokens_NL[index]]
        start = int(examples.answer_NL[index].argmax())
        by_rule = examples.rule_answer_NL[index, start:]
        yield {
            "prompt": " ".join(tokens[:start]),
            "answer": _answer(tokens[start:]),
            "slice": part.slice,
            "split": part.split,
            "stage": part.stage,
            "item": f"{tokens[0]}-{examples.item_N[index]}",
            "bucket": BUCKETS[examples.bucket_N[index]],
            "repeats": int(examples.repeats_N[index]) if part.split == "train" else 0,
            "rule_answer": None if by_rule[0] < 0 else _answer([words[token] for token in by_rule]),
            "bits": float(examples.bits_N[index]),
            "chance": float(examples.chance_N[index]),
        }


def _answer(tokens: list[str]) -> str:
    """Up to its end; padding is behind it."""
    return "".join(f" {token}" for token in tokens[: tokens.index(END)]) + END
