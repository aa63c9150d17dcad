"""reports/paths.md: the rows of `quick` on the native path minus those on torch's, seed by seed."""

from __future__ import annotations

from pathlib import Path

from docs.generated import STALE
from synthbench import cards
from synthbench.analysis.contrast import RESOLUTION, Contrast
from synthbench.analysis.pairing import Pair, values_of
from synthbench.analysis.reference import Reference
from synthbench.analysis.statistics import holm
from synthbench.analysis.verdict import Verdict, verdict
from synthbench.cards import RunnerCard
from synthbench.reporting.sentence import numbers, p_value
from synthbench.reporting.table import github
from synthbench.scores import SCORES

REPORTS = Path(__file__).resolve().parent.parent / "reports"
NATIVE, TORCH = REPORTS / "quick.json", REPORTS / "quick-torch.json"
LEVEL = 0.05


def judged(native: Reference, torch: Reference, card: RunnerCard) -> dict[tuple[str, str, str], Verdict]:
    """By optimizer, update and score: the verdict on native minus torch."""
    others = {(row.task, row.optimizer, row.update): row for row in torch.rows}
    pairs = [Pair(row, others[row.task, row.optimizer, row.update]) for row in native.rows]
    return {
        (pair.row.optimizer, pair.row.update, name): verdict(by_seed(pair, name), card.margins.get(SCORES[name].unit))
        for pair in pairs for name in card.columns
    }  # fmt: skip


def by_seed(pair: Pair, name: str) -> Contrast:
    """The differences of two rows at the same seeds: items, first weights and order are the same on either path, so pairing
    leaves rounding alone, though a report would not pair rows of two devices."""
    first, second = (values_of(row, name) for row in pair)
    resolution = RESOLUTION if SCORES[name].unit == "share" else 0.0
    return Contrast(
        [{seed: first[seed] - second[seed] for seed in sorted(first.keys() & second.keys())}], None, resolution
    )


def paths_page() -> str:
    """The page; raises OSError where rows of a path are not published."""
    native, torch = (Reference.model_validate_json(file.read_text(encoding="utf-8")) for file in (NATIVE, TORCH))
    found = judged(native, torch, cards.load(RunnerCard, native.runner))
    adjusted = holm([of.p for of in found.values()])
    below = sum(of.p < LEVEL for of in found.values())
    rows = [
        [*key, numbers(of, key[-1]), f"{of.difference.n}", p_value(of.p), p_value(p)]
        for (key, of), p in zip(found.items(), adjusted, strict=True)
    ]
    text = (
        "The same runs of `quick`, seeds included, were trained on the native path and on torch's. Sums are rounded "
        "differently, which training amplifies, so that a run's numbers differ; their means should not. Here are the "
        "means of differences, native minus torch, with 95 % intervals, paired by seed (Student's t). "
        f"Of {len(found)} differences {below} have p < .05, where {LEVEL * len(found):.1f} are expected of equal "
        f"paths; after Holm's correction the smallest has {p_value(min(adjusted))}. The gate's baselines are traces of "
        "torch's path on either (it runs the optimizer's own code), so that they have nothing to compare here."
    )
    heads = ["optimizer", "update", "score", "native - torch", "seeds", "p", "p (Holm)"]
    made = [f"- {of.device}; {of.command}" for of in (native, torch)]
    return "\n\n".join(["# Two paths, the same results", STALE, text, github(heads, rows), "\n".join(made)])
