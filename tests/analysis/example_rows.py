"""Rows with chosen scores and a card with hypotheses, for tests of what is computed from rows and written about them."""

from __future__ import annotations

from synthbench.analysis.rows import Row
from synthbench.cards import ClaimCard, RunnerCard, load
from synthbench.cards.runner import ReadingCard

# what is shown and where it is read does not follow the shipped card
READING = ReadingCard(fit=0.9, target_steps=[60, 100, 180], target_step=100)
COLUMNS = ["fact_recall", "rule_accuracy@fit", "rote_gap@fit", "forgetting@fit", "learning"]
CARD = load(RunnerCard, "quick").model_copy(update={"columns": COLUMNS, "reading": READING, "seeds": 3})
TARGET_STEP = CARD.reading.target_step
NOISE = [0.01, -0.01, 0.02, -0.02, 0.0, 0.005, -0.005, 0.015]
CLEAR_DIFFERENCES, NOISY_DIFFERENCES = [0.21, 0.20, 0.22, 0.19], [0.3, -0.2, 0.25, -0.1]
SMALL_DIFFERENCES = [0.011, -0.012, 0.004, -0.001]
CLAIM = {
    "says": "Muon learns more.", "source": "a paper", "score": "learning", "rows": {"optimizer": "muon"},
    "than": {"optimizer": "adamw"}, "expected": "higher",
}  # fmt: skip


def row(
    optimizer: str,
    update: str = "full",
    readings: dict[str, list[float]] | None = None,
    reference: bool = False,
    lr: float | None = 1e-3,
    seeds: int = 3,
) -> Row:
    """A row with these scores by seed, the same at every target step; every other score of the card is 0.5. Without a
    learning rate the row has diverged."""
    values = {name: dict(enumerate((readings or {}).get(name, [0.5] * seeds))) for name in CARD.columns}
    values = {name.removesuffix("@fit"): dict.fromkeys(range(seeds), 0.5) for name in CARD.columns} | values
    if lr is None:
        values = {name: {} for name in values}
    return Row(
        task="rote-vs-rule", base=[], optimizer=optimizer, update=update, weight_decay=0.0, lr=lr, edge=False,
        seeds=list(range(seeds)), runs=3 * seeds, diverged=0 if lr else 3 * seeds, values=values,
        target_steps={name: dict.fromkeys(CARD.reading.target_steps, values[name]) for name in values if "@" in name},
        start={}, start_lr=None, device="a device", reference=reference,
    )  # fmt: skip


def on_device(device: str, row: Row) -> Row:
    return row.model_copy(update={"device": device})


def task_row(optimizer: str, task: str, values: list[float], score: str = "learning") -> Row:
    return row(optimizer, readings={score: values}, seeds=len(values)).model_copy(update={"task": task})


def muon_and_adamw(task: str, difference: float, spread: float = 1.0, score: str = "learning") -> list[Row]:
    """The rows of Muon and AdamW on a task; their difference varies by seed, in proportion to the spread."""
    muon = [0.5 + difference + spread * noise for noise in NOISE]
    return [task_row("muon", task, muon, score), task_row("adamw", task, [0.5] * len(muon), score)]


def row_around(
    mean: float, optimizer: str, update: str = "full", score: str = "learning", reversed_seeds: bool = False
) -> Row:
    """A row whose score varies around a mean, over seeds in one order or the other."""
    noise_by_seed = reversed(NOISE) if reversed_seeds else NOISE
    return row(optimizer, update, {score: [mean + noise for noise in noise_by_seed]}, seeds=8)


def card_with_claims(*claims: dict[str, object]) -> RunnerCard:
    """The card with copies of CLAIM, each with the given changes."""
    claim_cards = [ClaimCard.model_validate(CLAIM | changes) for changes in claims]
    return CARD.model_copy(update={"seeds": 8, "claims": claim_cards})


def based(optimizer: str, base: str, task: str, values: list[float], score: str = "learning", **changes: object) -> Row:
    """A row of an optimizer on the base of another."""
    return task_row(optimizer, task, values, score).model_copy(update={"base": [base], **changes})


def card_of(*claims: dict[str, object]) -> RunnerCard:
    """The card with these claims about `learning`, whatever their kind."""
    cards = [
        ClaimCard.model_validate({"says": "It is so.", "source": "us", "score": "learning"} | one) for one in claims
    ]
    return CARD.model_copy(update={"seeds": 8, "claims": cards})
