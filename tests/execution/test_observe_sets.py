"""The items that are scored, with their floors, are drawn once for runs of the same data, and are what a new draw gives."""

from __future__ import annotations

import pytest

from synthbench.cards import TaskCard, load
from synthbench.execution import observe
from synthbench.generators import Examples, Task, floor


def digests(sets: dict[str, tuple[Examples, float]]) -> dict[str, tuple[str, float]]:
    return {name: (examples.digest(), least) for name, (examples, least) in sets.items()}


def test_each_task_stage_seed_and_size_has_its_own_sets() -> None:
    seen = set()
    for name in ("rote-vs-rule", "wugs"):  # which share their first stage
        card = load(TaskCard, name)
        first, last = next(iter(card.stages)), list(card.stages)[-1]
        fewer = dict.fromkeys(card.stages[last], 64)
        other = card.model_copy(update={"held_out": card.held_out.model_copy(update={"test": 128})})
        for of in (card, other):
            for asked in ((first, (), 0, {}), (first, (), 1, {}), (last, (first,), 0, {}), (last, (first,), 0, fewer)):
                found = digests(observe._sets(Task(of), *asked))
                assert found == digests(observe._sets.__wrapped__(Task(of), *asked))  # type: ignore[attr-defined]
                assert found == digests(observe._sets(Task(of), *asked))
                seen.add(str(found))
    assert len(seen) == 2 * 2 * 4 - 4


def test_floors_are_computed_once_for_runs_of_the_same_data(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    monkeypatch.setattr(observe, "floor", lambda *sets: counted.append(1) or floor(*sets))
    card = load(TaskCard, "rote-vs-rule")
    for _ in range(3):  # fleets, each with a task of its own
        observe.item_sets(Task(card), "pretrain", (), [123, 124, 123], {})
    assert len(counted) == 2 * len(observe.item_sets(Task(card), "pretrain", (), [123], {}))
