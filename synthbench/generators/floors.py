"""Floors: the accuracies that are possible without learning."""

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


def floor(train: Examples, evaluated: Examples) -> float:
    """The best of four ways to answer without learning, as exact match on the evaluated items.

    Uniform guessing among well-formed answers; the most common trained answer; copying the prompt's name; the answer
    of the nearest trained item (least Hamming distance between prompts, the first of equals; an evaluated
    item is not its own neighbour).
    """
    return max(floors(train, evaluated).values())


def floors(train: Examples, evaluated: Examples) -> dict[str, float]:
    """The four, by name."""
    return {
        "uniform": uniform(evaluated), "modal": modal(train, evaluated), "copy": copied(evaluated),
        "nearest": nearest(train, evaluated),
    }  # fmt: skip


def uniform(evaluated: Examples) -> float:
    return float(evaluated.chance_N.mean())


def modal(train: Examples, evaluated: Examples) -> float:
    distinct, counts = np.unique(answers(train), axis=0, return_counts=True)
    return _match(np.broadcast_to(distinct[counts.argmax()], answers(evaluated).shape), evaluated)


def copied(evaluated: Examples) -> float:
    """The prompt is `word name =`, the answer `name .`: the copy is as much of the name, with the right end."""
    copy = answers(evaluated).copy()
    copy[:, :-1] = prompts(evaluated)[:, 1 : copy.shape[1]]
    return _match(copy, evaluated)


def nearest(train: Examples, evaluated: Examples, block: int = 256) -> float:
    known, answer = prompts(train), answers(train)
    right = 0
    for start in range(0, len(evaluated), block):
        items = evaluated.take(slice(start, start + block))
        distance = (prompts(items)[:, None] != known[None]).sum(-1)
        distance[items.item_N[:, None] == train.item_N[None]] = known.shape[1] + 1
        right += int((answer[distance.argmin(1)] == answers(items)).all(-1).sum())
    return right / len(evaluated)


def _match(prediction: NDArray[np.int32], evaluated: Examples) -> float:
    return float((prediction == answers(evaluated)).all(-1).mean())
