"""The lines below a table: a legend of two lines and a link, then what is particular to these rows."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

from synthbench.analysis import ranks
from synthbench.analysis.cost import Spent
from synthbench.analysis.pairing import Pair, is_paired
from synthbench.analysis.rate_advice import Unread
from synthbench.analysis.rows import SEVERAL, ExperimentResults, Row, Stopped, changes_items
from synthbench.cards import RunnerCard
from synthbench.common import overrides
from synthbench.common.wording import inert, listed
from synthbench.experiment.grids import label_of, update_at
from synthbench.plugins.loading import label
from synthbench.reporting.sentence import UNPAIRED
from synthbench.reporting.table import Table, row_name
from synthbench.scores.reading import FITS
from synthbench.trainer.native.path import IN_BFLOAT16, MARK

COLUMNS = "Columns: docs/columns.md"
COMPLETE = "To complete them: "  # what follows is a command
CALL = "synthbench.run("  # how a command begins that was a call in Python
MOST_ROWS = 4  # that a note names
MOST_ADVICE = 6  # sentences


def legend(table: Table, card: RunnerCard) -> list[str]:
    """What the numbers of a table are."""
    edge = " (! at grid edge)" * any(row.edge for row in table.rows)
    return [
        f"mean {spread(table.has_cuts)}, n seeds; diverged / all runs; lr: best by validation{edge}",
        *at_fit(table.scores, card, has_sizes=len({row.size for row in table.rows}) > 1),
        COLUMNS,
    ]


def spread(has_cuts: bool) -> str:
    """What stands behind a mean."""
    return "±half the 95 % interval" + ", or [low, high] where the score's range cuts it" * has_cuts


def at_fit(scores: Sequence[str], card: RunnerCard, *, has_sizes: bool = False) -> list[str]:
    """What scores `x@fit`, `x@fits` and `x@steps` are, where there are some."""
    reading, step = card.reading, f"step {card.reading.target_step}{' x size' * has_sizes}"
    score = "training accuracy" if reading.fit_of == "fit" else reading.fit_of
    meanings = {
        "@fit": f"interpolated to {score} {reading.fit:g} at {step} (up to {reading.bracket_sample} items)",
        "@fits": f"mean over {score} {FITS[0]:g} to {FITS[-1]:g} on the way to {reading.fit:g} at {step}",
        "@steps": f"{step} at the chosen rate",
    }
    lines = [f"{end}: {where}" for end, where in meanings.items() if any(name.endswith(end) for name in scores)]
    return [*lines[:-1], f"{lines[-1]}; others: last step"] if lines else []


def versus(name: str, pairs: Sequence[Pair], rows: Sequence[Row]) -> str:
    """What the scores of a table are that are differences to an optimizer. pairs: of these rows."""
    unpaired = [row_name(pair.row, rows) for pair in pairs if not is_paired([pair])]
    how = "paired over seeds"
    if unpaired:
        how = f"{how} ({UNPAIRED}: {_first(unpaired)})" if len(unpaired) < len(pairs) else UNPAIRED
    return f"Scores are differences to {name} with the same task and update, {how} (-: no such row)."


def devices(rows: Sequence[Row]) -> list[str]:
    """The devices of rows, where not all were measured on the same one."""
    names = list(dict.fromkeys(row.device for row in rows))
    if len(names) < 2 and not any(SEVERAL in name for name in names):
        return []
    return [
        f"Devices: {'; '.join(names)}. Rows of different devices are never paired by seed; they are compared by Welch's t, "
        "each over its own seeds (n: the fewer)."
    ]


def paths(rows: Sequence[Row]) -> list[str]:
    """That rows were not trained on torch's path, and how their numbers relate to its."""
    names = [name for row in rows for name in row.device.split(SEVERAL)]
    compilers = dict.fromkeys(name.partition(MARK)[2] for name in names if MARK in name)
    rounded = [
        "The model's products are in bfloat16 (--path bfloat16), weights and all else in float32; numbers differ from "
        "float32's as on another device, by more."
    ] * any(IN_BFLOAT16 in name for name in names)
    if not compilers:
        return rounded
    return rounded + [
        f"Trained on the native path ({'; '.join(compilers)}): the same mathematics as torch's, rounded differently, as on "
        "another device."
    ]


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_ROWS} more" if len(names) > MOST_ROWS else ""
    return f"{', '.join(names[:MOST_ROWS])}{more}"


def stopped(cells: Sequence[Stopped]) -> list[str]:
    return [
        f"{cell.stage.capitalize()} of {cell.optimizer} ({cell.task}) diverged at seed{'s' * (len(seeds) > 1)} "
        f"{', '.join(map(str, seeds))}; no later stage starts there."
        for cell, seeds, _ in cells
    ]


def left_out(rows: Sequence[Row]) -> list[str]:
    """Why reference rows that were measured with another card are not shown."""
    if not rows:
        return []
    names = listed(dict.fromkeys(row.optimizer for row in rows))
    return [
        f"Reference rows ({names}) are left out: they were measured with the card's settings as shipped, and these are "
        "others (--weight-decay, --set or the like). Run these optimizers to compare with them."
    ]


def spent(total: Spent) -> str:
    return (
        f"{total.runs} runs, {total.steps} run-steps, {total.seconds / 60:.3g} minutes of worker processes (one thread "
        f"each), {total.span / 60:.3g} minutes from first start to last end"
    )


def rank_notes(rows: Sequence[Row], card: RunnerCard, command: str, folder: Path | None) -> list[str]:
    """What a rank is, which rows have none and why, and the command that completes them."""
    score, seeds = str(card.rank), card.seed_list
    if len(seeds) < ranks.SEEDS_FOR_RANKS:
        return [f"Ranks ({score}) need at least {ranks.SEEDS_FOR_RANKS} seeds."]
    notes = [
        f"Rows are sorted by {score}; behind: difference to the task's best row; rank: from 1 + the rows that are "
        "significantly better to N - the rows that are significantly worse, of N (Holm over all pairs of a task, 5 %)."
    ]
    reasons = [(rows[index], why) for index, why in ranks.lacking(rows, score, card).items()]
    if reasons:
        names = [f"{row_name(row, rows)} ({why})" for row, why in reasons]
        notes.append(f"No rank: {_first(names)}.")
    wanted = [row for row, _ in reasons if row.reference or set(seeds) - set(row.seeds)]
    return notes + ([f"{COMPLETE}{completing(command, wanted, card, folder)}"] if wanted else [])


def completing(command: str, rows: Sequence[Row], card: RunnerCard, folder: Path | None) -> str:
    """The command that trains what these rows lack: that of the experiment, for their optimizers and updates.

    Its other options stay (`--task` too), for they are part of what makes it the same experiment.
    """
    updates = list(dict.fromkeys(row.update for row in rows))
    if command.startswith(CALL):
        optimizers = list(dict.fromkeys(row.optimizer for row in rows))
        return inert(f"{CALL}{card.name!r}, ..., optimizer={optimizers}, update={updates})")
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--optimizer", "--update", "--out"):
        parser.add_argument(option)
    for flag in ("--fresh", "--dry-run", "--quiet", "--debug"):
        parser.add_argument(flag, action="store_true")
    try:
        options, others = parser.parse_known_args(shlex.split(command))
    except (ValueError, argparse.ArgumentError):  # not as we recorded it
        return inert(command)
    typed = {label(name): name for name in (options.optimizer or "").split(",")}  # a file's folder is in no table
    trained = (row.optimizer if row.optimizer in card.variants else [*row.base, row.optimizer][0] for row in rows)
    names = dict.fromkeys(typed.get(name, name) for name in trained)
    out = str(folder) if folder else options.out
    words = [*others, "--optimizer", ",".join(names), "--update", ",".join(updates), *(["--out", out] if out else [])]
    return inert(shlex.join(words))


def settings(rows: Sequence[Row], results: ExperimentResults, card: RunnerCard) -> list[str]:
    """The arguments and the chosen rates of pretraining of measured rows, where there are some."""
    names = list(dict.fromkeys(name for row in rows if not row.reference for name in (*row.base, row.optimizer)))
    arguments = [f"{name}: {text}" for name in names if (text := _arguments(name, card))]
    rates = _rates(results, card, names)
    lines = [f"Arguments: {'; '.join(arguments)}."] if arguments else []
    if rates:
        edge = " (! at grid edge)" * any(rate.endswith("!") for rate in rates)
        lines.append(f"Learning rates of earlier stages, best by validation: {listed(rates)}{edge}.")
    return lines


def _arguments(name: str, card: RunnerCard) -> str:
    """Those of the card, and of a variant, in one line."""
    variant = card.variants[name].arguments if name in card.variants else {}
    return ", ".join(overrides.typed(card.arguments.get(card.optimizer_of(name), {}) | variant))


def _rates(results: ExperimentResults, card: RunnerCard, names: Sequence[str]) -> list[str]:
    """Of each cell before the last stage that had several rates: whose it is, and which was chosen."""
    rates = []
    has_tasks, has_stages = len({cell.task for cell in results.cells}) > 1, len(card.stages) > 2
    for cell, trials in results.cells.items():
        if cell.stage != card.stages[-1].name and cell.optimizer in names and len({trial.lr for trial in trials}) > 1:
            choice = next(iter(results.choices[cell].values()), None)
            where = f"{cell.optimizer}{f' on {cell.task}' * has_tasks}{f' in {cell.stage}' * has_stages}"
            rates.append(f"{where} " + (f"{choice.lr:.3g}{'!' * choice.edge}" if choice else "none"))
    return sorted(rates)


def rate_advice(cells: Sequence[Unread], card: RunnerCard) -> list[str]:
    """A sentence for each of the first cells without an `@fit` value, and how many more there are."""
    sentences = [rates_to_add(result, card) for result in cells]
    more = len(sentences) - MOST_ADVICE
    return sentences[:MOST_ADVICE] + [f"{more} more row{'s have' if more > 1 else ' has'} no @fit value."] * (more > 0)


def rates_to_add(result: Unread, card: RunnerCard) -> str:
    """Why a cell has no `@fit` value, and which learning rates would give it one."""
    cell, target_step, rates, reached, bracketed, seeds = result
    at = card.reading.at
    size = f", {cell.size:g}x the items" * (cell.size != 1 and not any(changes_items(axis) for axis in card.axes))
    where = f"{label_of(cell, card)} ({update_at(cell)}) on {cell.task}{size}: no @fit value,"
    if not reached:
        return f"{where} no learning rate reaches {at}; train more steps or add other rates (--lr)."
    slowest, fastest = max(reached, key=reached.__getitem__), min(reached, key=reached.__getitem__)
    if reached[fastest] <= target_step <= reached[slowest]:
        medians = ", ".join(f"{step:.0f} at {lr:.3g}" for lr, step in reached.items())
        return (
            f"{where} learning rates reach {at} on both sides of the target step {target_step:g} at {bracketed} "
            f"of {seeds} seeds (median steps: {medians}); add rates beyond or between them (--lr)."
        )
    if reached[slowest] < target_step:
        index = rates.index(slowest)
        slower = f"rates between {rates[index - 1]:.3g} and {slowest:.3g}" if index else "smaller rates"
        side, rate, add = "before", f"slowest rate {slowest:.3g}: step {reached[slowest]:.0f}", slower
    else:
        faster = "larger rates" if fastest == rates[-1] else "rates that reach it sooner"
        side, rate, add = "after", f"fastest rate {fastest:.3g}: step {reached[fastest]:.0f}", faster
    if len(reached) == len(rates):
        reach = f"every learning rate reaches {at}"
    else:
        reach = f"the learning rates that reach {at} do so"
    return f"{where} {reach} {side} the target step {target_step:g} ({rate}); add {add} (--lr)."
