"""Whether tasks tell optimizers apart: planted optimizers in their ranks, and rules found with more data.

The runners `planted` and `sizes` measure; `reports/planted.json` and `reports/sizes.json` hold their rows; these are the
last two sections of tasks/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from synthbench import cards
from synthbench.analysis import reference
from synthbench.analysis.ranks import ranks
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.reporting.table import Table, github


def shipped(runner: str, tasks: Mapping[str, str]) -> tuple[RunnerCard, list[Row]] | None:
    """The rows of a runner that were measured on these very tasks (fingerprints by name), or None."""
    card = cards.load(RunnerCard, runner)
    published = reference.shipped(card)
    if published is None or published.card != card.fingerprint() or not published.tasks.items() <= tasks.items():
        return None
    return card, published.rows


def planted(tasks: Mapping[str, str]) -> list[str]:
    """Ranks of optimizers that are known to differ, or not to; nothing where they were not measured."""
    if (published := shipped("planted", tasks)) is None:
        return []
    card, rows = published
    drawn = []
    for score in (str(card.rank), *(name for name in card.columns if "forgetting" in name)):
        lines = [[name, *_placed(rows, score, name, card)] for name in card.optimizers]
        drawn += [github([f"rank by {score}", *card.tasks], lines), ""]
    return [
        "## Planted optimizers", "",
        f"Rank, and mean over {len(card.seed_list)} seeds, of AdamW; of the same with other random numbers (whose ranks "
        "should overlap, but for a false alarm in twenty); at a quarter of its tuned rate; with embeddings and head frozen "
        "from the beginning; and with both frozen in finetuning alone. No rank: not reached.", "",
        *drawn, *command("planted"),
    ]  # fmt: skip


def _placed(rows: Sequence[Row], score: str, optimizer: str, card: RunnerCard) -> list[str]:
    """Rank and mean of an optimizer, task by task."""
    placed = {(row.task, row.optimizer): rank for row, rank in zip(rows, ranks(rows, score, card), strict=True)}
    means = {(row.task, row.optimizer): _mean(row, score) for row in rows}
    return [
        f"{placed.get((task, optimizer)) or '-'} ({means.get((task, optimizer), '-')})".replace("- (-)", "-")
        for task in card.tasks
    ]


def sizes(tasks: Mapping[str, str]) -> list[str]:
    """Rule accuracy by the number of trained items; nothing where it was not measured."""
    if (published := shipped("sizes", tasks)) is None:
        return []
    card, rows = published
    lines = []
    for task in card.tasks:
        for name in card.optimizers:
            by_size = sorted(
                (row for row in rows if (row.task, row.optimizer) == (task, name)), key=lambda row: row.size
            )
            if by_size:
                accuracies = [f"{row.items['rule']}: {_mean(row, 'rule_accuracy')}" for row in by_size]
                lines.append([task, name, *accuracies, _examples(by_size[0])])
    most = max((len(line) for line in lines), default=0)
    heads = ["task", "optimizer", *(["items: rule accuracy"] * (most - 3)), f"examples to {card.reading.rule:g}"]
    return [
        "## How much data the rule takes", "",
        f"Held-out rule accuracy at the end, at the rate chosen for each size, over {len(card.seed_list)} seeds; every "
        "item is seen equally often at every size. Examples: the median over seeds, a bound where most never do.", "",
        github(heads, lines), "",
        *command("sizes"),
    ]  # fmt: skip


def _mean(row: Row, name: str) -> str:
    values = row.values.get(name)
    return f"{fmean(values.values()):.2f}" if values else "-"


def _examples(row: Row) -> str:
    return Table([row], ["examples_to_rule@t"]).cells()[0][-1]


def command(runner: str) -> list[str]:
    """The commands that measure and ship the rows of a runner."""
    run, out = f"synthbench run {runner} --out {runner}-results", f"--out {runner}-results"
    return [f"```sh\n{run} && synthbench report {out} --format reference > reports/{runner}.json\n```", ""]
