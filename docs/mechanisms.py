"""reports/mechanisms.md: which measures of a model or an update go with what comes of finetuning; claims on fresh seeds.

Rows of `geometry` on its own seeds and, in `reports/geometry-again.json`, on fresh ones; rows of `decay`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from docs import papers
from docs.generated import STALE
from docs.predictors import correlations, table
from synthbench import cards
from synthbench.analysis.claims import Answer, answers
from synthbench.analysis.reference import Reference
from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.common.wording import code, literal
from synthbench.reporting import claim_answers
from synthbench.reporting.table import github

AGAIN = Path(__file__).resolve().parent.parent / "reports" / "geometry-again.json"
SALTED = "adamw-again"
FORGOTTEN, LEARNED = "fact_forgetting", "learning"
OF_UPDATES = [
    "update_curvature", "rise.update.1", "rise.update.10", "update_frobenius", "update_spectral", "update_max",
    "update_stable_rank", "update_entropy", "update_in_top", "intruders", "update_norm.embedding", "kl_new",
]  # fmt: skip
OF_BASES = [
    "activation_rms@base", "activation_max@base", "activation_peak@base", "activation_kurtosis@base",
    "rise.gaussian.10@base", "rise.sign.10@base", "rise.orthogonal.10@base", "sign_over_orthogonal@base",
    "validation_loss@base",
]  # fmt: skip
OF_DECAY = [
    "separability@base", "qk_stable_rank@base", "qk_nuclear_norm@base", "attention_entropy@base", "loss_gap@base",
]  # fmt: skip
HEAD = """# Why

{stale}

What a probe measured of a model before finetuning, or of finetuning's update, beside what came of it: rank correlations
over a study's rows, taken seed by seed, with 95 % intervals over seeds; beside them the same at equal ranks of another
score. What goes together need not be a cause: what happens when an update is given another structure is asked by
[intervention](studies/intervention.md). Scores: [docs/scores.md](../docs/scores.md).
"""
FORGETTING = """## What goes with forgetting

Rows of [geometry](studies/geometry.md): AdamW, Muon and SGD, each on the models of all three, on two tasks; forgotten are
facts, at the last step. *Confirmed*: the same on 16 seeds that were trained after the first ones were read. *A/A*: the
first seeds, AdamW's own models replaced by those of another initialization and order of examples, which should repeat the
first column. Measures `@base` are of three models a seed, which differ in all of them at once: they cannot be told from
each other, or from how well a model was pretrained (`validation_loss@base`). By arXiv 2509.04259 forgetting is explained by
`kl_new`, and by norms or ranks of updates no further."""
GAIN = """## What carries the gain of weight decay

Rows of [decay](studies/decay.md): one optimizer, pretrained under six weight decays and finetuned; what is learned, at the
last step, beside what decay did to the model, and the same at equal loss after pretraining (`validation_loss@base`). A
measure carries the gain no further than its correlation at equal loss does. *adamw-again* is the A/A: AdamW under another
initialization and order of examples."""
FOUND = """## Claims of geometry on fresh seeds

The claims of the card, answered on its own seeds and once more on seeds that were trained after those were read. *new*: we
know of no paper that asks it."""
NEW = ("At an equal rise", "At an equal norm", "At an equal stable rank")


def mechanisms_page() -> str:
    """The page; raises OSError where rows are not published."""
    first, again = papers.published("geometry"), Reference.model_validate_json(AGAIN.read_text(encoding="utf-8")).rows
    if not first:
        raise OSError("reports/geometry.json has no rows of this card.")
    parts = [
        HEAD.format(stale=STALE),
        FORGETTING,
        forgetting(first, again),
        GAIN,
        *gains(),
        FOUND,
        repeated(first, again),
    ]
    made = [code(papers.command("geometry")), code("python -m tests.publish geometry-again")]
    return "\n\n".join([*parts, f"Commands: {', '.join(made)}"])


def forgetting(first: Sequence[Row], again: Sequence[Row]) -> str:
    """The table of predictors of forgetting."""
    names = [*OF_BASES, *OF_UPDATES]
    sides: list[Callable[[str], dict[int, float]]] = [
        lambda name: correlations(unsalted(first), FORGOTTEN, name),
        lambda name: correlations(unsalted(first), FORGOTTEN, name, "fit"),
        lambda name: correlations(unsalted(again), FORGOTTEN, name),
        lambda name: correlations(replaced(first), FORGOTTEN, name),
    ]
    return table(["measure", "first seeds", "at equal fit", "confirmed", "A/A"], names, sides)


def unsalted(rows: Sequence[Row]) -> list[Row]:
    """The rows without those of the A/A."""
    return [row for row in rows if SALTED not in (row.optimizer, *row.base)]


def replaced(rows: Sequence[Row]) -> list[Row]:
    """The rows with AdamW's on its own models replaced by those of the A/A."""
    of_again = [row for row in rows if row.optimizer == SALTED and row.base == [SALTED]]
    return [row for row in unsalted(rows) if (row.optimizer, row.base) != ("adamw", ["adamw"])] + of_again


def gains() -> list[str]:
    """A table for each optimizer of `decay`; none where it is not published."""
    rows = papers.published("decay")
    given = "validation_loss@base"
    parts = []
    for name in dict.fromkeys(row.optimizer for row in rows):
        own = [row for row in rows if row.optimizer == name and row.base == [name]]
        sides: list[Callable[[str], dict[int, float]]] = [
            lambda score, own=own: correlations(own, LEARNED, score),  # type: ignore[misc]
            lambda score, own=own: correlations(own, LEARNED, score, given),  # type: ignore[misc]
        ]
        parts += [f"{name}:", table(["measure", "learning", "at equal loss"], [*OF_DECAY, given], sides)]
    return parts


def repeated(first: Sequence[Row], again: Sequence[Row]) -> str:
    """The claims of `geometry` on both sets of seeds."""
    card = cards.load(RunnerCard, "geometry")
    fresh = card.model_copy(update={"seeds": again[0].seeds})
    rows = []
    for one, other in zip(answers(card, first), answers(fresh, again), strict=True):
        new = " *(new)*" * one.claim.says.startswith(NEW)
        rows.append([literal(one.claim.says) + new, *_cells(one), *_cells(other)])
    return github(["claim", f"first {_span(first)}", "A/A", f"fresh {_span(again)}", "A/A"], rows)


def _span(rows: Sequence[Row]) -> str:
    """`seeds 3300 to 3315`."""
    return f"seeds {min(rows[0].seeds)} to {max(rows[0].seeds)}"


def _cells(answer: Answer) -> list[str]:
    reading = answer.first
    if not reading.tasks:
        return ["not measured", "-"]
    numbers = claim_answers.numbers_of(reading.pooled, answer.claim, reading.score)
    twins = "; ".join(text for text in claim_answers.again_by_name(reading, answer.claim).values())
    return [literal(f"{claim_answers.in_words(answer)}: {numbers}"), literal(twins) or "none on the card"]
