"""Positive controls: which known effect a task reproduces. The rows are in `reports/controls.json`."""

from __future__ import annotations

from docs.discrimination import command
from docs.generated import claim
from synthbench import cards
from synthbench.analysis import reference
from synthbench.cards import RunnerCard
from synthbench.generators import Task


def known_effect(task: Task) -> list[str]:
    """What became of the known effects that a task is a control for, as lines of markdown; empty for other tasks, and
    where they were not measured on this very task."""
    card = cards.load(RunnerCard, "controls")
    of_task = [one for one in card.claims if task.card.name in (one.tasks or ())]
    published = reference.shipped(card)
    is_measured = published is not None and published.tasks.get(task.card.name) == task.fingerprint
    if not of_task or not is_measured:
        return []
    lines = [line for one in of_task for line in (claim("controls", one.says), "")]
    return ["### Known effect", "", *lines, *command("controls")]
