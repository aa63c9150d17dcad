"""Rows made by hand, for tests of what is written about them."""

from __future__ import annotations

from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard, load

CARD = load(RunnerCard, "quick")
SPEED = CARD.reading.target_step


def row(
    optimizer: str,
    update: str = "full",
    readings: dict[str, list[float]] | None = None,
    reference: bool = False,
    lr: float | None = 1e-3,
    seeds: int = 3,
) -> Row:
    """A row whose scores are those of `readings` by seed (the same at every target step), .5 where it says nothing."""
    values = {name: dict(enumerate((readings or {}).get(name, [0.5] * seeds))) for name in CARD.columns}
    values = {name.removesuffix("@fit"): dict.fromkeys(range(seeds), 0.5) for name in CARD.columns} | values
    if lr is None:
        values = {name: {} for name in values}
    return Row(
        task="rote-vs-rule", base=[optimizer], optimizer=optimizer, update=update, weight_decay=0.0, lr=lr, edge=False,
        seeds=list(range(seeds)), runs=3 * seeds, diverged=0 if lr else 3 * seeds, values=values,
        target_steps={name: dict.fromkeys(CARD.reading.target_steps, values[name]) for name in values if "@" in name},
        start={}, start_lr=None, device="a device", reference=reference,
    )  # fmt: skip
