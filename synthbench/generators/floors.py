"""Floors: what an accuracy is worth without learning anything of the kind that it measures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthbench.generators.examples import Examples, Ints


def answers(examples: Examples) -> Ints:
    """The answers, shape (N, answer length); every example must have its answer at the same place."""
    return examples.tokens_NL[:, examples.answer_NL[0]]


def prompts(examples: Examples) -> Ints:
    """The prompts, shape (N, prompt length)."""
    return examples.tokens_NL[:, : int(examples.answer_NL[0].argmax())]


def floor(train: Examples, asked: Examples) -> float:
    """The best of four ways to answer without learning, as exact match on `asked`.

    Uniform guessing among well-formed answers; the most common trained answer; copying the prompt's name; the answer
    of the nearest trained item (least Hamming distance between prompts, the first of equals; an item that is asked
    about is not its own neighbour).
    """
    return max(floors(train, asked).values())


def floors(train: Examples, asked: Examples) -> dict[str, float]:
    """The four, by name."""
    return {
        "uniform": uniform(asked), "modal": modal(train, asked), "copy": copied(asked), "nearest": nearest(train, asked),
    }  # fmt: skip


def uniform(asked: Examples) -> float:
    return float(asked.chance_N.mean())


def modal(train: Examples, asked: Examples) -> float:
    distinct, counts = np.unique(answers(train), axis=0, return_counts=True)
    return _match(np.broadcast_to(distinct[counts.argmax()], answers(asked).shape), asked)


def copied(asked: Examples) -> float:
    """The prompt is `word name =`, the answer `name .`: the copy is as much of the name, with the right end."""
    copy = answers(asked).copy()
    copy[:, :-1] = prompts(asked)[:, 1 : copy.shape[1]]
    return _match(copy, asked)


def nearest(train: Examples, asked: Examples, block: int = 256) -> float:
    known, answer = prompts(train), answers(train)
    right = 0
    for start in range(0, len(asked), block):
        part = asked.take(slice(start, start + block))
        distance = (prompts(part)[:, None] != known[None]).sum(-1)
        distance[part.item_N[:, None] == train.item_N[None]] = known.shape[1] + 1
        right += int((answer[distance.argmin(1)] == answers(part)).all(-1).sum())
    return right / len(asked)


def _match(prediction: NDArray[np.int32], asked: Examples) -> float:
    return float((prediction == answers(asked)).all(-1).mean())
