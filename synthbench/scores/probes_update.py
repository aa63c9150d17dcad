"""Scores of the structure of an update: its size in three norms, its spectrum, and where it lies in the base's.

Measured by the probe `update` at the end of finetuning: the change of each hidden matrix since the stage's start (adapters
merged; query, key and value are matrices of their own), mean over matrices. Shapes: r rows, c columns, s = min(r, c).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthbench.scores.observations import Floats
from synthbench.scores.probes import probe_score

Numbers = NDArray[np.floating]
TOP = 10  # singular vectors that count as the top
INTRUDES = 0.5  # least |cosine| to some vector of the base of one that does not
NAMES = ("update_frobenius", "update_spectral", "update_max", "update_stable_rank", "update_entropy", "intruders",
         "update_in_top")  # fmt: skip


def stable_rank(singular_s: Numbers) -> float:
    """Sum of squares over the greatest square: the rank of a matrix whose singular values are equal. NaN for 0."""
    return float(np.square(singular_s).sum() / singular_s.max() ** 2) if singular_s.max() else float("nan")


def entropy(singular_s: Numbers) -> float:
    """Of the squares' shares, over that of equal ones: 1 where all are equal, 0 where there is one."""
    share = np.square(singular_s) / np.square(singular_s).sum() if singular_s.any() else np.full(1, np.nan)
    return float(-(share * np.log(np.maximum(share, 1e-300))).sum() / np.log(len(singular_s)))


def intruders(before_rs: Floats, after_rs: Floats) -> int:
    """Of the top left singular vectors after the update, how many are like none before it. (arXiv 2410.21228)"""
    cosine = np.abs(after_rs[:, :TOP].T @ before_rs)
    return int((cosine.max(axis=1) < INTRUDES).sum())


def in_top(change_rc: Floats, left_rs: Floats, right_sc: Floats) -> float:
    """The share of an update's square between the base's top left and right singular vectors."""
    inside = left_rs[:, :TOP].T @ change_rc @ right_sc[:TOP].T
    return float(np.square(inside).sum() / np.square(change_rc).sum())


def structure(before: Sequence[Floats], after: Sequence[Floats]) -> dict[str, float]:
    """The scores of an update, from its matrices before and after it; nothing where no matrix moved."""
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if (old != new).any()]
    of_matrices = [_of_matrix(old.astype(np.float64), new.astype(np.float64)) for old, new in pairs]
    return dict(zip(NAMES, map(float, np.mean(of_matrices, axis=0)), strict=True)) if of_matrices else {}


def _of_matrix(old_rc: Floats, new_rc: Floats) -> tuple[float, ...]:
    change_rc = new_rc - old_rc
    singular_s = np.linalg.svd(change_rc, compute_uv=False)
    left_rs, old_s, right_sc = np.linalg.svd(old_rc, full_matrices=False)
    after_rs = np.linalg.svd(new_rc, full_matrices=False)[0]
    return (
        float(np.linalg.norm(change_rc) / np.linalg.norm(old_rc)), float(singular_s[0] / old_s[0]),
        float(np.abs(change_rc).max() / np.abs(old_rc).max()), stable_rank(singular_s), entropy(singular_s),
        intruders(left_rs, after_rs), in_top(change_rc, left_rs, right_sc),
    )  # fmt: skip


for name, formula, unit, span, source in (
    ("update_frobenius", "Frobenius norm of the change / that of the base", "ratio", "0 to inf", "arXiv 2605.10468"),
    ("update_spectral", "spectral norm of the change / that of the base", "ratio", "0 to inf", "arXiv 2605.06654"),
    ("update_max", "greatest absolute value of the change / that of the base", "ratio", "0 to inf", "arXiv 2605.06654"),
    ("update_stable_rank", "sum of squares of the change's singular values / the greatest square", "rank", "0 to inf",
     "arXiv 2605.06654"),
    ("update_entropy", "entropy of the shares of the squares of the change's singular values / log of their number",
     "share", "0 to 1", "arXiv 2502.16982"),
    ("intruders", f"of the top {TOP} left singular vectors after the update, how many have an absolute cosine below "
     f"{INTRUDES} to all before it", "vectors", f"0 to {TOP}", "arXiv 2410.21228"),
    ("update_in_top", f"share of the change's square between the base's top {TOP} left and right singular vectors",
     "share", "0 to 1", "synthbench"),
):  # fmt: skip
    probe_score(name, f"{formula}; mean over hidden matrices", unit, span, source)
