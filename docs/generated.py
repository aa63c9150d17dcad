"""Pages that are made from registries and help texts, and quotations of published rows."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

from typer.main import get_command

from synthbench import cards
from synthbench.analysis import claims, reference
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.common.wording import code, literal
from synthbench.interface.cli import app
from synthbench.interface.listing import LISTS
from synthbench.reporting import claim_answers
from synthbench.reporting.table import github as table
from synthbench.scores import SCORES
from synthbench.scores.registry import Score
from synthbench.trainer.optimizers import OPTIMIZERS

STALE = "Made by `python -m docs.pages`; a test fails when it is stale."  # the first line of every generated page
DIRECTION = {"up": "higher is better", "down": "lower is better", "-": "neither direction is better in itself"}


def scores_page() -> str:
    """Every score by the file that computes it, with formula, unit, range, direction and source."""
    lines = [
        "# Scores", "", STALE, "",
        "`synthbench ls score` prints the same, `synthbench show score rote_gap` one of them.",
        "Exact match is of the whole answer, end token included. *Floors* are what can be had without learning, see",
        "[Tasks](../tasks/README.md).", "",
    ]  # fmt: skip
    for home, scores in groupby(sorted(SCORES.values(), key=_home), _home):
        title, _, rest = _about(home)
        lines += [f"## {title}", "", *([f"{rest[0].upper()}{rest[1:]}", ""] if rest else [])]
        if home == READINGS:
            heads = ["score", "formula", "unit, range", "better", "source"]
            rows = [[code(s.name), literal(s.formula), f"{s.unit}, {s.range}", s.better, s.source] for s in scores]
            lines += [table(heads, rows), ""]
        else:
            lines += [line for score in scores for line in _section(score)]
    return "\n".join(lines)


READINGS = "synthbench.scores.reading"  # scores that are read along the paths of a cell's rates have no function


def _home(score: Score) -> str:
    compute: Any = score.compute
    return str(getattr(compute, "func", compute).__module__) if compute else READINGS


def _about(home: str) -> tuple[str, str, str]:
    """The first line of a module, `Scores of what is lost: rest.`, in its two halves."""
    line = str(sys.modules[home].__doc__).strip().partition("\n")[0].removeprefix("Scores of ")
    title, colon, rest = line.partition(": ")
    return title[0].upper() + title[1:], colon, rest


def _section(score: Score) -> Iterator[str]:
    yield from (f"### {literal(score.name)}", "", code(score.formula), "")
    yield from (f"{score.unit}, {score.range}; {DIRECTION[score.better]}. Source: {score.source}.", "")


def optimizers_page() -> str:
    """Every built-in optimizer with routing and arguments, the generators and the models."""
    lines = [
        "# Optimizers, generators, models", "", STALE, "",
        "What is built in. Any other optimizer: [Add an optimizer](add-an-optimizer.md).", "",
    ]  # fmt: skip
    for optimizer in OPTIMIZERS.values():
        arguments = optimizer.arguments().model_dump()
        lines += [
            f"## {optimizer.name}", "",
            f"{optimizer.summary[0].upper()}{optimizer.summary[1:]}. Source: {optimizer.source}.", "",
            table(["parameters", "moved by"], [[code(pattern), name] for pattern, name in optimizer.routing]), "",
            table(["argument", "default"], [[code(key), code(str(value))] for key, value in arguments.items()]), "",
        ]  # fmt: skip
    lines += ["The first pattern that matches a parameter's name decides. Vectors are parameters of norms.", ""]
    heads, rows = LISTS["generator"]()
    lines += ["## Generators", "", table(heads, [[code(name), literal(summary)] for name, summary in rows]), ""]
    heads, rows = LISTS["model"]()
    names = [code(row[0]) for row in rows]
    turned = [[code(head), *values] for head, *values in zip(heads, *rows, strict=True)][1:]
    return "\n".join([*lines, "## Models", "", table(["", *names], turned), ""])


def commands_page() -> str:
    """The help of every command."""
    lines = ["# Commands", "", STALE, "", "`python -m synthbench` is the same program. [Exit codes](#exit-codes).", ""]
    for name, command in get_command(app).commands.items():
        context = command.make_context(f"synthbench {name}", [], resilient_parsing=True, terminal_width=80)
        lines += [f"## {name}", "", "```text", command.get_help(context).strip(), "```", ""]
    return "\n".join([*lines, EXIT_CODES])


EXIT_CODES = """\
## Exit codes

| code | meaning |
| --- | --- |
| 0 | fine |
| 1 | behaviour changed (`check`), a check failed (`verify`), or a claim is refuted (`--assert-claims`) |
| 2 | bad input: at most three lines that name the file or option, the value and what is allowed |
| 3 | everything was valid, yet nothing could be measured (every run diverged, say), or `check` is inconclusive |
| 4 | an internal error, or a full disk: one sentence, and where the traceback was saved |
| 130 | interrupted |
"""


def published(runner: str) -> tuple[RunnerCard, list[Row]]:
    """A runner's card and its published rows; raises ValueError where none are published."""
    card = cards.load(RunnerCard, runner)
    rows = reference.shipped(card)
    if rows is None:
        raise ValueError(f"There are no published rows of {runner!r}.")
    return card, list(rows.rows)


def claim(runner: str, beginning: str) -> str:
    """The answer to the one claim of a card that begins so, as a quotation; raises ValueError unless there is one."""
    card, rows = published(runner)
    answers = [answer for answer in claims.answers(card, rows) if answer.claim.says.startswith(beginning)]
    if len(answers) != 1:
        raise ValueError(f"{len(answers)} claims of {runner!r} begin with {beginning!r}; a page must name one.")
    return "> " + re.sub(r"^1\. ", "", claim_answers.lines(answers, Path(f"{runner}-results"))[0])


def rates(runner: str, pair: str) -> str:
    """The chosen rates of two optimizers by update: the least and the greatest over tasks, and how they compare."""
    card, rows = published(runner)
    optimizer, _, other = pair.partition(" ")
    chosen = {(r.update, r.optimizer, r.task): r.lr for r in rows if r.base == [r.optimizer] and r.size == 1}
    lines = []
    for update in card.stages[-1].update:
        by_task = [(chosen[update, optimizer, task], chosen[update, other, task]) for task in card.tasks]
        spans = [f"{min(rates):.2g} to {max(rates):.2g}" for rates in zip(*by_task, strict=True)]
        lines.append([code(update), *spans, f"{median(second / first for first, second in by_task):.2g}"])
    return table(["update", optimizer, other, f"{other} over {optimizer}, median over tasks"], lines)


MADE = {"claim": claim, "rates": rates}
