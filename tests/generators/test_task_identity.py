"""Digests and fingerprints are equal if and only if data and cards are equal."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from synthbench.generators import Examples, Place, Task
from synthbench.generators import facts as generator
from tests import tiny
from tests.each import each


def draw() -> Examples:
    return Task(tiny.task_card()).draw("finetune", 0)["rule"].train


@each("name", [field.name for field in fields(Examples)])
def test_the_digest_changes_with_a_value_and_with_a_type(name: str) -> None:
    examples = draw()
    before = getattr(examples, name)
    array = before.copy()
    array[-1] = ~array[-1] if array.dtype == bool else array[-1] + 1
    assert replace(examples, **{name: array}).digest() != examples.digest()
    other = before.astype(np.uint16 if before.dtype.itemsize < 8 else np.float32)
    assert replace(examples, **{name: other}).digest() != examples.digest()


def test_the_digest_does_not_depend_on_memory_layout() -> None:
    examples = draw()
    assert replace(examples, tokens_NL=np.asfortranarray(examples.tokens_NL)).digest() == examples.digest()
    assert examples.take(np.arange(len(examples))).digest() == examples.digest()
    assert examples.take(np.arange(len(examples))[::-1]).digest() != examples.digest()


def test_the_fingerprint_changes_with_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    before, original = Task(tiny.task_card()).fingerprint, generator.stream
    assert Task(tiny.task_card()).fingerprint == before
    monkeypatch.setattr(
        generator, "stream", lambda place, split, purpose: original(Place(*place[:3], "other"), split, purpose)
    )
    assert Task(tiny.task_card()).fingerprint != before
