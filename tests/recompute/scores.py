"""What the documentation says of scores: units, margins, and the ranges in which numbers are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, nan
from statistics import fmean, median, stdev

from scipy import stats

from tests.recompute.readings import marks, values
from tests.recompute.rows import Row
from tests.recompute.runs import Object
from tests.recompute.statistics import Contrast

UNITS = {
    "loss_forgetting": "nats/token", "validation_loss": "nats/token", "kl_new": "nats/answer", "bits_per_param": "bits",
    "dataset_bits_per_param": "bits", "steps_to_rule": "steps", "examples_to_rule": "items",
    # of what probes measure, without `.layer` and other details
    **dict.fromkeys(("activation_rms", "activation_max", "qk_nuclear_norm"), "-"),
    **dict.fromkeys(("activation_peak", "activation_kurtosis"), "ratio"),
    **dict.fromkeys(("update_frobenius", "update_spectral", "update_max"), "ratio"),
    **dict.fromkeys(("update_stable_rank", "qk_stable_rank"), "rank"), "intruders": "vectors", "attention_entropy": "nats",
    **dict.fromkeys(("rise", "loss_gap", "kl_exact", "exact_entropy"), "nats/token"),
    "update_curvature": "nats/token a squared unit", "sign_over_orthogonal": "log ratio", "update_norm": "ratio",
}  # fmt: skip
MARGINS = {"share": 0.05, "nats/token": 0.1, "nats/answer": 0.1}
UNBOUNDED = {"loss_forgetting", "rise", "update_curvature", "loss_gap", "sign_over_orthogonal"}  # on either side
SIGNED = {"forgetting": 1, "fact_forgetting": 1, "skill_forgetting": 1, "rote_gap": 2, "relearning_savings": 2}


def unit(name: str) -> str:
    return UNITS.get(name.partition("@")[0].partition(".")[0], "share")


HIGHER = {
    "bits_per_param", "kept", "retention", "unseen_accuracy", "rule_fit", "rule_accuracy", "fit", "learning",
    "validation_learning", "relearning_savings", "separability",
}  # is better  # fmt: skip


def is_up(name: str) -> int:
    """1 where a higher score is better, -1 where a lower one is."""
    return 1 if name.partition("@")[0] in HIGHER else -1


def margin(name: str, card: Object) -> float | None:
    """The largest difference that counts as none."""
    margins: Mapping[str, float] = {**MARGINS, **card.get("margins", {})}
    return margins.get(unit(name))


def ends(name: str) -> tuple[float, float]:
    """The range of a score."""
    score = name.partition("@")[0].partition(".")[0]
    most = SIGNED.get(score, inf if unit(name) != "share" or score == "retention" else 1)
    most = 10 if score == "intruders" else most
    return -most if score in SIGNED or score in UNBOUNDED else 0, most


def _within(name: str, low: float, high: float, *, of_difference: bool) -> tuple[float, float]:
    """An interval within the range of a score, or of its differences."""
    least, most = ends(name)
    least, most = (least - most, most - least) if of_difference else (least, most)
    return (max(low, least), min(high, most)) if low == low else (nan, nan)


def center(of_seeds: Sequence[float], name: str) -> float:
    return (median(of_seeds) if name.endswith("@t") else fmean(of_seeds)) if of_seeds else nan


def cell(row: Row, name: str) -> Object:
    """A cell of the table: mean with its interval, or the median of what may be bounds."""
    by_seed, of_seed, half = values(row, name), marks(row, name), nan
    if name.endswith("@t"):
        ordered = sorted(by_seed, key=lambda seed: (of_seed.get(seed) == ">", by_seed[seed]))
        middle = [ordered[at] for at in ((len(ordered) - 1) // 2, len(ordered) // 2)] if ordered else []
        mean = fmean(by_seed[seed] for seed in middle) if middle else nan
        bounds = [of_seed.get(seed, "") for seed in middle]
        bound = ">" if bounds[-1:] == [">"] else "<" if bounds[:1] == ["<"] else ""
        return _numbers(name, mean, nan, nan, len(by_seed) - len(of_seed)) | {f"{name}_bound": bound}
    mean = center([*by_seed.values()], name)
    if len(by_seed) > 1:
        half = float(stats.t.ppf(0.975, len(by_seed) - 1)) * stdev(by_seed.values()) / len(by_seed) ** 0.5
    return _numbers(name, mean, *_within(name, mean - half, mean + half, of_difference=False), len(by_seed))


def _numbers(name: str, mean: float, low: float, high: float, n: int) -> Object:
    return {name: mean, f"{name}_low": low, f"{name}_high": high, f"{name}_n": n}


def difference(contrast: Contrast | None, name: str) -> Object:
    low, high = _within(name, *contrast.interval(), of_difference=True) if contrast else (nan, nan)
    mean, n = (contrast.mean, contrast.n) if contrast else (nan, 0)
    return {"difference": mean, "low": low, "high": high, "n": n}
