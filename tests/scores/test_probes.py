"""The formulas of probes, each against an independent computation and a case with a known answer."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy
from scipy.stats import kurtosis, ortho_group

from synthbench.scores import SCORES, Observations, Point, at_point
from synthbench.scores.probes import BASE, MEASURED
from synthbench.scores.probes_activations import activations
from synthbench.scores.probes_automaton import divergence, entropy
from synthbench.scores.probes_landscape import along, curvature, landscape, log_ratio
from synthbench.scores.probes_representations import attention_entropy, linear_probe, query_key
from synthbench.scores.probes_update import entropy as spectral_entropy
from synthbench.scores.probes_update import in_top, intruders, stable_rank, structure
from tests.each import each

RANDOM = np.random.default_rng(0)


def test_activations_agree_with_scipy_and_a_normal_stream_has_kurtosis_three() -> None:
    x_Nd = RANDOM.standard_normal((20_000, 8)) * 2
    found = activations([x_Nd, np.ones((4, 8))])
    flat = x_Nd.reshape(-1)
    assert found["activation_rms.0"] == pytest.approx(np.linalg.norm(flat) / len(flat) ** 0.5)
    assert found["activation_max.0"] == np.linalg.norm(flat, np.inf)
    centred = np.concatenate([flat, -flat])  # scipy's is of deviations from the mean
    assert found["activation_kurtosis.0"] == pytest.approx(kurtosis(centred, fisher=False))
    assert found["activation_kurtosis.0"] == pytest.approx(3, abs=0.05)
    assert [found[f"activation_{name}.1"] for name in ("rms", "max", "peak", "kurtosis")] == [1, 1, 1, 1]
    assert found["activation_peak"] == pytest.approx((found["activation_max.0"] / found["activation_rms.0"] + 1) / 2)


@each("rank", [1, 3, 6])
def test_equal_singular_values_have_their_number_as_stable_rank(rank: int) -> None:
    singular_s = np.array([2.0] * rank + [0.0] * (6 - rank))
    assert stable_rank(singular_s) == pytest.approx(rank)
    assert spectral_entropy(singular_s) == pytest.approx(log(rank) / log(6))


def test_the_spectrum_of_a_change_agrees_with_norms_and_scipy() -> None:
    old, change = RANDOM.standard_normal((12, 7)), RANDOM.standard_normal((12, 7)) / 10
    found = structure([old], [old + change])
    gram = np.linalg.eigvalsh(change.T @ change)  # squares of the singular values
    assert found["update_frobenius"] == pytest.approx(np.linalg.norm(change) / np.linalg.norm(old))
    assert found["update_spectral"] == pytest.approx(np.linalg.norm(change, 2) / np.linalg.norm(old, 2))
    assert found["update_max"] == pytest.approx(np.abs(change).max() / np.abs(old).max())
    assert found["update_stable_rank"] == pytest.approx(gram.sum() / gram.max())
    assert found["update_entropy"] == pytest.approx(scipy_entropy(gram) / log(7))
    both = structure([old, old], [old + change, old])
    assert both == found  # a matrix that did not move has no structure


def test_intruders_are_new_directions_and_old_ones_are_none() -> None:
    basis = ortho_group.rvs(40, random_state=1)
    before, old = basis[:, :20], basis[:, :10]
    assert intruders(before, old) == 0
    assert intruders(before, basis[:, 20:30]) == 10
    half = np.concatenate([basis[:, :4], basis[:, 20:26]], axis=1)
    assert intruders(before, half) == 6
    tilted = np.cos(1.0) * basis[:, :10] + np.sin(1.0) * basis[:, 20:30]  # cosine .54
    assert intruders(before, tilted) == 0
    tilted = np.cos(1.1) * basis[:, :10] + np.sin(1.1) * basis[:, 20:30]  # cosine .45
    assert intruders(before, tilted) == 10


def test_the_share_in_the_top_subspace_is_that_of_the_projected_change() -> None:
    left, _, right = np.linalg.svd(RANDOM.standard_normal((30, 20)), full_matrices=False)
    inside, outside = np.outer(left[:, 2], right[5]), np.outer(left[:, 15], right[16])
    assert in_top(inside, left, right) == pytest.approx(1)
    assert in_top(outside, left, right) == pytest.approx(0)
    assert in_top(3 * inside + 4 * outside, left, right) == pytest.approx(9 / 25)
    change = RANDOM.standard_normal((30, 20))
    projected = (left[:, :10] @ left[:, :10].T) @ change @ (right[:10].T @ right[:10])
    assert in_top(change, left, right) == pytest.approx((np.linalg.norm(projected) / np.linalg.norm(change)) ** 2)


def test_curvature_of_a_quadratic_is_its_second_derivative() -> None:
    hessian = np.diag([1.0, 4.0])
    direction, start = np.array([0.6, 0.8]), np.array([0.3, -0.2])

    def loss(step: float) -> float:
        at = start + step * direction
        return float(at @ hessian @ at / 2 + at @ np.array([5.0, 1.0]))

    assert curvature(loss(0), loss(0.1), loss(-0.1), 0.1) == pytest.approx(direction @ hessian @ direction)
    found = along(loss(0), [{size: loss(sign * size * 2) for size in (0.01, 0.03, 0.1)} for sign in (1, -1)], 2.0)
    assert found["update_curvature"] == pytest.approx(direction @ hessian @ direction)
    assert found["rise.update.10"] == pytest.approx(direction @ hessian @ direction * 0.2**2 / 2)  # the slope cancels


def test_rises_are_means_over_draws_and_a_rise_that_is_none_has_no_ratio() -> None:
    perturbed = {
        (kind, size): np.array([1.5, 2.5]) for kind in ("gaussian", "sign", "orthogonal") for size in (0.01, 0.1)
    }
    perturbed["sign", 0.1] = np.array([1.0, 1.0 + 2 * np.e])
    found = landscape(1.0, perturbed)
    assert found["rise.gaussian.1"] == 1
    assert found["sign_over_orthogonal"] == pytest.approx(1)
    assert log_ratio(-0.1, 1) != log_ratio(-0.1, 1)
    assert log_ratio(1, 0) != log_ratio(1, 0)


def ridge(train: np.ndarray, of_train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """The same regression by least squares on rows that stand for the penalty."""
    classes = np.unique(of_train)
    target = np.where(of_train[:, None] == classes, 1.0, -1.0)
    centre, offset = train.mean(0), target.mean(0)
    rows = np.concatenate([train - centre, np.eye(train.shape[1])])
    targets = np.concatenate([target - offset, np.zeros((train.shape[1], len(classes)))])
    weight, *_ = np.linalg.lstsq(rows, targets, rcond=None)
    return np.asarray(classes[((test - centre) @ weight + offset).argmax(1)])


def test_a_linear_probe_is_a_ridge_regression() -> None:
    centres, class_N = RANDOM.standard_normal((4, 16)), RANDOM.integers(4, size=400)
    x_Nd = centres[class_N] + RANDOM.standard_normal((400, 16))
    halves = x_Nd[:200], class_N[:200], x_Nd[200:], class_N[200:]
    accuracy = linear_probe(*halves)
    assert 0.5 < accuracy < 1
    assert accuracy == (ridge(*halves[:3]) == halves[3]).mean()
    apart = np.eye(4)[class_N]
    assert linear_probe(apart[:200], class_N[:200], apart[200:], class_N[200:]) == 1
    noise = RANDOM.standard_normal((4000, 4))
    class_N = RANDOM.integers(4, size=4000)
    assert linear_probe(noise[:2000], class_N[:2000], noise[2000:], class_N[2000:]) == pytest.approx(0.25, abs=0.05)


def test_a_linear_probe_agrees_with_scikit_learn() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    class_N = RANDOM.integers(3, size=300)
    x_Nd = RANDOM.standard_normal((300, 8)) + np.eye(8)[class_N]
    fitted = linear_model.RidgeClassifier(alpha=1.0).fit(x_Nd[:150], class_N[:150])
    assert linear_probe(x_Nd[:150], class_N[:150], x_Nd[150:], class_N[150:]) == fitted.score(x_Nd[150:], class_N[150:])


def test_query_and_key_of_one_head_and_of_two() -> None:
    query, key = RANDOM.standard_normal((8, 8)), RANDOM.standard_normal((8, 8))
    rank, norm = query_key(query, key, 8)
    product = query.T @ key
    assert norm == pytest.approx(np.linalg.norm(product, "nuc"))
    assert rank == pytest.approx(np.linalg.norm(product) ** 2 / np.linalg.norm(product, 2) ** 2)
    rank, norm = query_key(np.eye(8), np.eye(8), 4)  # each head: the projection on four dimensions
    assert (rank, norm) == (pytest.approx(4), pytest.approx(4))


def test_attention_entropy_of_even_and_of_certain_attention() -> None:
    assert attention_entropy(np.full((2, 3, 5), 0.2)) == pytest.approx(log(5))
    assert attention_entropy(np.eye(4)) == 0
    chance = RANDOM.dirichlet(np.ones(6), size=(3, 2))
    assert attention_entropy(chance) == pytest.approx(scipy_entropy(chance, axis=-1).mean())


def test_divergence_agrees_with_scipy_and_is_zero_for_the_exact_distribution() -> None:
    exact, other = RANDOM.dirichlet(np.ones(5), size=(7, 3)), RANDOM.dirichlet(np.ones(5), size=(7, 3))
    exact[0, 0] = [1, 0, 0, 0, 0]
    assert divergence(exact, np.log(other)) == pytest.approx(scipy_entropy(exact, other, axis=-1).mean())
    assert divergence(other, np.log(other)) == pytest.approx(0, abs=1e-12)
    assert entropy(exact) == pytest.approx(scipy_entropy(exact, axis=-1).mean())


def test_what_was_measured_is_a_score_and_without_it_there_is_none() -> None:
    sets = {"new/fact/train": Observations(*(np.ones(1),) * 5, tokens=1, floor=0.0)}  # type: ignore[arg-type]
    point = Point(sets, {"hidden": 0.5, "update_entropy": 0.25})
    assert at_point(point, point)["update_entropy"] == 0.25
    probes = {*MEASURED}
    assert all(f"{name}{BASE}" in SCORES for name in probes)
    assert at_point(point, point).keys() & probes == {"update_entropy"}
    assert not [name for name in SCORES if name.partition("@")[0] in probes and not name.endswith(BASE) and "@" in name]
