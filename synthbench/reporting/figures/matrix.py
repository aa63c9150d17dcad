"""What is forgotten and learned by the optimizer that pretrained and the one that finetunes: a matrix for each task."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.common.wording import inert, short
from synthbench.reporting.figures.marks import mean, of_one_size, plain, tasks
from synthbench.reporting.figures.sheet import GREY, INK, Sheet, at_fit, dot

TITLE = "Which optimizer pretrained, and which one finetunes"
CAPTION = (
    "Forgotten facts and learning at equal fit by the optimizer of pretraining (rows) and of finetuning (columns); means "
    "over seeds; outlined: the same optimizer in both."
)
NO_DATA = "no optimizers are crossed with those of pretraining, or an axis is crossed with both"
SCORES = {"fact_forgetting@fit": "forgotten", "learning@fit": "learned"}  # and how panels call them
SHADES = "Greys"
DARK = 0.6  # from where on numbers are white
WIDEST = 30  # characters of all names below a panel


def draw(rows: list[Row], card: RunnerCard) -> Figure | None:
    twins = {name for row in rows for name in card.salted(row.optimizer)}
    rows = [row for row in plain(of_one_size(rows)) if len(row.base) == 1 and row.update == card.stages[-1].update[0]
            and twins.isdisjoint([row.optimizer, *row.base])]  # fmt: skip
    if len({row.place for row in rows}) > 1:
        return None  # a cell would stand for several values of an axis
    bases = list(dict.fromkeys(row.base[0] for row in rows))
    names = list(dict.fromkeys(row.optimizer for row in rows))
    panels = [(task, score) for score in SCORES for task in tasks(rows)
              if any(row.task == task and row.values.get(score) for row in rows)]  # fmt: skip
    if len(bases) < 2 or not any(row.base[0] != row.optimizer for row in rows) or not panels:
        return None
    sheet = Sheet(
        TITLE,
        f"{at_fit(card).partition(';')[0]}; means over seeds.\nForgotten facts: lighter is better. Learned: darker is.",
        [f"{task}: {SCORES[score]}" for task, score in panels], ("finetuned by", "pretrained by"),
        [("outlined", [("the same optimizer in both", dot(INK, "s", markerfacecolor="white", markeredgewidth=1.6))])],
        height=1.7, left=0.8,
    )  # fmt: skip
    for task, score in panels:
        axes = sheet.axes[f"{task}: {SCORES[score]}"]
        found = {(row.base[0], row.optimizer): mean(row.values.get(score)) for row in rows if row.task == task}
        for (base, name), value in found.items():
            x, y = names.index(name), bases.index(base)
            if value:
                axes.imshow([[value.mean]], extent=(x - 0.5, x + 0.5, y - 0.5, y + 0.5), cmap=SHADES, vmin=0, vmax=1)
                axes.text(x, y, f"{value.mean:.2f}", ha="center", va="center", fontsize=8,
                          color="white" if value.mean > DARK else INK)  # fmt: skip
            else:
                axes.text(x, y, "not\nreached", ha="center", va="center", fontsize=7, color=GREY)
            if base == name:
                axes.add_patch(
                    Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, fill=False, edgecolor=INK, linewidth=1.6, zorder=3)
                )
        axes.grid(visible=False)
        axes.set_aspect("auto")
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(bases) - 0.5, -0.5)
        axes.set_xticks(range(len(names)), [short(inert(name), WIDEST // len(names)) for name in names])
        axes.set_yticks(range(len(bases)), [short(inert(base), WIDEST // 4) for base in bases])
    return sheet.figure
