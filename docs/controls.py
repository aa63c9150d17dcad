"""Positive controls: which known effect a task reproduces, by claims of the study that asks about it, or by two scores of
the runner `skills`."""

from __future__ import annotations

from collections.abc import Sequence

from docs.discrimination import command
from docs.generated import claim
from synthbench import cards
from synthbench.analysis import reference
from synthbench.analysis.contrast import RESOLUTION, Contrast
from synthbench.analysis.pairing import differences
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import interval
from synthbench.analysis.verdict import verdict
from synthbench.cards import RunnerCard
from synthbench.generators import Task
from synthbench.reporting.sentence import NAMES, numbers
from synthbench.reporting.table import Entry

STUDIES = {"tail-facts": "tail", "grokking": "grokking", "routing": "routing", "capacity": "capacity",
           "automaton": "automaton"}  # fmt: skip
SKILLS = {
    "two-hop": ("rule_accuracy", "two-hop", "unseen_accuracy", "two-hop",
                "Compositions of entities that finetuning asks about, held out, less those of others"),
    "biographies": ("unseen_accuracy", "biographies", "unseen_accuracy", "biographies:once",
                    "Attributes that finetuning never asks for, after pretraining in four phrasings less after one"),
    "recall": ("rule_accuracy", "recall", None, "",
               "Values recalled after pretraining, of held-out prompts (attention of two layers recalls every one in arXiv "
               "2312.04927)"),
}  # fmt: skip
"""Of a task the score and the rows that are contrasted with others; none: the model before finetuning alone."""


def known_effect(task: Task) -> list[str]:
    """What became of the known effects that a task is a control for, as lines of markdown; empty for other tasks, and
    where they were not measured on this very task."""
    name = task.card.name
    runner = STUDIES.get(name, "skills")
    card = cards.load(RunnerCard, runner)
    published = reference.shipped(card)
    if name not in card.tasks or published is None or published.tasks.get(name) != task.fingerprint:
        return []
    if runner == "skills":
        quoted = [skill(name, card, published.rows), ""]
    else:
        quoted = [line for one in card.claims if one.primary for line in (claim(runner, one.says), "")]
    return ["### Known effect", "", *quoted, *command(runner)]


def skill(task: str, card: RunnerCard, rows: Sequence[Row]) -> str:
    """A sentence on the effect of one of the tasks of `skills`, with each optimizer's numbers."""
    score, first, other_score, other, says = SKILLS[task]
    by_name, found = {(row.task, row.optimizer): row for row in rows}, []
    for optimizer in card.optimizers:
        row, beside = (by_name.get((of, optimizer)) for of in (first, other))
        if row is None:
            continue
        name = NAMES.get(optimizer, optimizer)
        if other_score is None or beside is None:
            found.append(f"{name} {_mean(row.start[score], score)}")
            continue
        one, two = row.exact(score), beside.exact(other_score)
        compared = verdict(Contrast([differences(one, two)], None, RESOLUTION), card.margins["share"])
        found.append(f"{name} {_mean(one, score)} less {_mean(two, score)}, {numbers(compared, score)}")
    return f"{says}: {'; '.join(found)}; {len(card.seed_list)} seeds{', at the last step' * (other_score is not None)}."


def _mean(values: dict[int, float], score: str) -> str:
    mean = interval([*values.values()])
    return Entry.of(mean, score).text(mean.n)
