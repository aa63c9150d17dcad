"""Scores of representations: what can be read off hidden states, and what attention is made of.

Measured by the probe `representations` on the pretraining language. Shapes: N items, d width, C classes, h head width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthbench.scores.observations import Floats
from synthbench.scores.probes import probe_score
from synthbench.scores.probes_update import Numbers, stable_rank

PENALTY = 1.0  # of the ridge regression


def linear_probe(
    train_Nd: Floats, of_train_N: NDArray[np.int64], test_Nd: Floats, of_test_N: NDArray[np.int64]
) -> float:
    """The accuracy on test items of a ridge regression of the class (1 where it is it, -1 elsewhere) with an intercept,
    fitted to other items: of the regressions the largest one answers."""
    classes = np.unique(of_train_N)
    target_NC = np.where(of_train_N[:, None] == classes, 1.0, -1.0)
    mean_d, offset_C = train_Nd.mean(axis=0), target_NC.mean(axis=0)
    centred_Nd = train_Nd - mean_d
    gram_dd = centred_Nd.T @ centred_Nd + PENALTY * np.eye(train_Nd.shape[1])
    weight_dC = np.linalg.solve(gram_dd, centred_Nd.T @ (target_NC - offset_C))
    answer_N = classes[((test_Nd - mean_d) @ weight_dC + offset_C).argmax(axis=1)]
    return float((answer_N == of_test_N).mean())


def query_key(query_dd: Numbers, key_dd: Numbers, head_width: int) -> tuple[float, float]:
    """Stable rank and nuclear norm of W_Q^T W_K of every head, mean over heads; rotations between them are left out. Both
    matrices map the stream (columns) to the heads (rows)."""
    heads = zip(query_dd.reshape(-1, head_width, query_dd.shape[1]), key_dd.reshape(-1, head_width, key_dd.shape[1]),
                strict=True)  # fmt: skip
    singular = [np.linalg.svd(query_hd.T @ key_hd, compute_uv=False) for query_hd, key_hd in heads]
    return float(np.mean([*map(stable_rank, singular)])), float(np.mean([of_head.sum() for of_head in singular]))


def attention_entropy(chance: Floats) -> float:
    """Nats of distributions over the last dimension, mean over all others."""
    return float(-(chance * np.log(np.maximum(chance, 1e-30))).sum(axis=-1).mean())


for name, formula, unit, span, source, better in (
    ("separability", "accuracy of a ridge regression from the last state at = to the class of the stem, split by item",
     "share", "0 to 1", "arXiv 2602.11137", "up"),
    ("qk_stable_rank", "stable rank of W_Q W_K, mean over heads", "rank", "0 to inf", "arXiv 2602.11137", "-"),
    ("qk_nuclear_norm", "nuclear norm of W_Q W_K, mean over heads", "-", "0 to inf", "arXiv 2602.11137", "-"),
    ("attention_entropy", "nats of the attention where answers are predicted, mean over heads and items", "nats",
     "0 to inf", "arXiv 2602.11137", "-"),
    ("loss_gap", "nats per answer token on held-out items of the pretraining rule - on its trained items", "nats/token",
     "-inf to inf", "arXiv 2602.11137", "down"),
):  # fmt: skip
    probe_score(name, formula, unit, span, source, better)  # type: ignore[arg-type]
