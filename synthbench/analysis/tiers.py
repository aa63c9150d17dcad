"""Tiers: within a task, a row's place among rows that differ for certain."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from synthbench.analysis.pairing import SETTING, differences, named, setting
from synthbench.analysis.rows import Row
from synthbench.analysis.statistics import holm, paired_p
from synthbench.analysis.verdict import LEAST, LEVEL
from synthbench.cards import RunnerCard
from synthbench.common.wording import inert
from synthbench.plugins.loading import label
from synthbench.scores import SCORES
from synthbench.scores.reading import ENOUGH

LEAST_SEEDS = 8  # of a card that shows tiers
COMPLETE = "To complete them: "  # what follows is a command
CALL = "synthbench.run("  # how a command begins that was a call in Python
MOST_SAID = 4  # rows without a tier that a note names


def lacking(row: Row, score: str, seeds: Sequence[int]) -> str | None:
    """Why a row gets no tier, in words; None where it gets one. seeds: those of the card."""
    return "a reference row" if row.reference else incomplete(row, score, seeds)


def incomplete(row: Row, score: str, seeds: Sequence[int]) -> str | None:
    """What of these seeds a row lacks in a score, in words; None where it has all that it takes."""
    values = row.exact(score)
    if row.lr is None:
        return "diverged"
    if missing := set(seeds) - set(row.seeds):
        return f"{len(seeds) - len(missing)} of {len(seeds)} seeds"
    if SCORES[score].level != "cell" and (lost := set(seeds) - values.keys()):
        return f"diverged at {len(lost)} of {len(seeds)} seeds"
    return None if len(values) >= max(LEAST, ENOUGH * len(seeds)) else "not reached"


def tiers(rows: Sequence[Row], score: str, seeds: Sequence[int]) -> list[int | None]:
    """By row: 1 + the number of rows of its task that are significantly better in a score that has a direction; None for
    a row that lacks something. Paired t tests over common seeds, Holm over all pairs of a task, 5 %."""
    found: dict[int, int] = {}
    ranked = [place for place, row in enumerate(rows) if lacking(row, score, seeds) is None]
    for group in {setting(rows[place]) for place in ranked}:
        own = [place for place in ranked if setting(rows[place]) == group]
        found |= dict.fromkeys(own, 1)
        pairs = list(combinations(own, 2))
        paired = [differences(rows[a].exact(score), rows[b].exact(score)) for a, b in pairs]
        for (a, b), differs, p in zip(pairs, paired, holm([paired_p(one) for one in paired]), strict=True):
            if p < LEVEL:
                first_is_better = (sum(differs) > 0) is (SCORES[score].better == "up")
                found[b if first_is_better else a] += 1
    return [found.get(place) for place in range(len(rows))]


def notes(rows: Sequence[Row], card: RunnerCard, command: str, folder: Path | None) -> list[str]:
    """What a tier of the card's score means, which rows have none and why, and the command that completes them."""
    score, seeds = str(card.tier), card.seed_list
    if len(seeds) < LEAST_SEEDS:
        return [f"Tiers ({score}) are given from {LEAST_SEEDS} seeds on."]
    said = [
        f"tier: 1 + the rows of the same task that are significantly better in {score} (paired t over common seeds, Holm "
        "over all pairs, 5 %)."
    ]
    without = [(row, why) for row in rows if (why := lacking(row, score, seeds))]
    if without:
        names = [f"{_name(row, rows)} ({why})" for row, why in without]
        more = f" and {len(names) - MOST_SAID} more" if len(names) > MOST_SAID else ""
        said.append(f"No tier: {', '.join(names[:MOST_SAID])}{more}.")
    wanted = [row for row, _ in without if row.reference or set(seeds) - set(row.seeds)]
    return said + ([f"{COMPLETE}{completing(command, wanted, card, folder)}"] if wanted else [])


def _name(row: Row, rows: Sequence[Row]) -> str:
    """A row by what tells it from the others, at least its optimizer and update."""
    telling = [axis for axis in (*SETTING, "weight_decay") if len({getattr(one, axis) for one in rows}) > 1]
    return " ".join(named(row, axis) for axis in (*telling, "label", "update"))


def completing(command: str, rows: Sequence[Row], card: RunnerCard, folder: Path | None) -> str:
    """The command that trains what these rows lack: an experiment's own, for their optimizers and updates.

    Its other options stay (`--task` too), for they are part of what makes it the same experiment.
    """
    if command.startswith(CALL):
        rules, updates = (list(dict.fromkeys(getattr(row, axis) for row in rows)) for axis in ("optimizer", "update"))
        return inert(f"{CALL}{card.name!r}, ..., optimizer={rules}, update={updates})")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--optimizer", "--update", "--out"):
        parser.add_argument(option)
    for flag in ("--fresh", "--dry-run", "--quiet", "--debug"):
        parser.add_argument(flag, action="store_true")
    try:
        asked, others = parser.parse_known_args(shlex.split(command))
    except (ValueError, argparse.ArgumentError):  # not as we recorded it
        return inert(command)
    typed = {label(name): name for name in (asked.optimizer or "").split(",")}  # a file's folder is in no table
    names = (row.optimizer if row.optimizer in card.variants else [*row.base, row.optimizer][0] for row in rows)
    axes = {"--optimizer": (typed.get(name, name) for name in names), "--update": (row.update for row in rows)}
    words = [word for option, names in axes.items() for word in (option, ",".join(dict.fromkeys(names)))]
    out = str(folder) if folder else asked.out
    return inert(shlex.join([*others, *words, *(["--out", out] if out else [])]))
