"""Examples as text: what a language model reads, and what is known about it.

    prompt  `past ka mi to =`      no space at its end
    answer  ` ka mi se.`           the space before it, and the full stop that ends it

Syllables are words of their own: the tokenizers of GPT-2, GPT-4 and GPT-4o then make one token of each (but GPT-2 two of
`ku`), so that a rule that moves a syllable moves a token. Written together, nine names in ten are cut elsewhere: `kamito`
into `kam` and `ito`. The space that begins an answer belongs to its first token there: prompt and answer are the same
tokens apart as together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from synthbench.generators import BUCKETS, SLICES, SPLITS, Examples, Language, Task, by_slice

END = "."
HELD_OUT = ("rule",)  # slices of which items are asked that were never trained


class Record(NamedTuple):
    """An example as it is written, in this order of fields; `FIELDS` says what they mean."""

    prompt: str
    answer: str
    slice: str
    split: str
    stage: str
    item: str
    bucket: str
    repeats: int
    rule_answer: str | None
    bits: float
    chance: float


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
}  # name: (type, meaning)


class Part(NamedTuple):
    """The examples of one slice in one split of a stage.

    train: what is trained of the card's slice that it comes from, which floors are made of.
    """

    stage: str
    split: str
    slice: str
    train: Examples
    examples: Examples


def parts(task: Task, stage: str, seed: int) -> Iterator[Part]:
    """All that is trained or asked in a stage, split after split."""
    drawn = task.draw(stage, seed)
    for place, split in enumerate(SPLITS):
        for splits in drawn.values():
            for name, examples in by_slice(splits[place]).items():
                if split == "train" or name in HELD_OUT:
                    yield Part(stage, split, name, splits.train, examples)


def records(language: Language, part: Part) -> Iterator[Record]:
    """The examples of a part as they are written."""
    examples, words = part.examples, [language.text(token) for token in range(language.vocabulary)]
    for place in range(len(examples)):
        tokens = [words[token] for token in examples.tokens_NL[place]]
        start = int(examples.answer_NL[place].argmax())
        by_rule = examples.rule_answer_NL[place, start:]
        yield Record(
            prompt=" ".join(tokens[:start]),
            answer=_answer(tokens[start:]),
            slice=part.slice,
            split=part.split,
            stage=part.stage,
            item=f"{tokens[0]}-{examples.item_N[place]}",
            bucket=BUCKETS[examples.bucket_N[place]],
            repeats=int(examples.repeats_N[place]) if part.split == "train" else 0,
            rule_answer=None if by_rule[0] < 0 else _answer([words[token] for token in by_rule]),
            bits=float(examples.bits_N[place]),
            chance=float(examples.chance_N[place]),
        )


def _answer(tokens: list[str]) -> str:
    """Up to its end; padding is behind it."""
    return "".join(f" {token}" for token in tokens[: tokens.index(END)]) + END
