"""Probes of trained fleets: what they look at, that they are off, and that a run's values are its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from synthbench.execution.fleet_job import Job, Trained, run_fleet
from synthbench.execution.probes import PROBES, landscape
from synthbench.execution.probes.subject import Subject, hidden_names, tokens
from synthbench.execution.probing import measured, probed, subject_of
from synthbench.experiment.plan import Plan
from synthbench.experiment.runs import Run
from synthbench.scores.probes import MEASURED
from synthbench.trainer import transformer
from tests import tiny
from tests.each import each

ALL = [*PROBES]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, list[Trained], Job, list[Trained]]:
    """A fleet of bases and one of finetuned models, with every probe."""
    folder = tmp_path_factory.mktemp("probed")
    experiment = tiny.experiment(folder, f"probes={ALL}", "model.layers=2", updates=["full", "lora-2"])
    task = experiment.tasks["tiny-task"].card
    bases = Plan(experiment, {}).ready()
    job = Job(bases, task, [None] * len(bases), folder, [1] * len(bases))
    results = probed(job, run_fleet(job, "cpu"), "cpu")
    done = {run.id: one.result for run, one in zip(bases, results, strict=True)}
    files = {run.id: one.weights for run, one in zip(bases, results, strict=True)}
    children = [run for run in Plan(experiment, done).ready() if run.update == "lora-2"]
    child_job = Job(children, task, [files[run.parent or ""] for run in children], folder, [1] * len(children))
    return job, results, child_job, probed(child_job, run_fleet(child_job, "cpu"), "cpu")


def test_every_probe_measures_its_scores_of_bases_and_of_finetuned_models(trained: Any) -> None:
    _, bases, _, children = trained
    registered = {*MEASURED}
    of_base, of_child = ({*one[0].result.scores} & registered for one in (bases, children))
    of_updates = {name for name in registered if "update" in name} | {"intruders"}
    layers = {f"activation_{name}.{layer}" for name in ("rms", "max", "peak", "kurtosis") for layer in (2, 3)}
    of_bases_alone = {name for name in registered if name.startswith("rise.") and "update" not in name}
    strings = {"kl_exact", "kl_exact.train", "exact_entropy"}
    assert of_base | {"sign_over_orthogonal"} == registered - of_updates - layers - strings
    assert of_child == registered - of_bases_alone - layers - strings - {"sign_over_orthogonal"}


def test_values_of_a_run_do_not_depend_on_the_fleet(trained: Any) -> None:
    job, bases, *_ = trained
    for k, one in enumerate(bases):
        (alone,) = measured(subject_of(job, [one], [k], "cpu"))
        for name, value in alone.items():
            if value == value:  # else it is no score
                assert one.result.scores[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


def test_looked_into_the_model_gives_its_own_logits(trained: Any) -> None:
    _, _, job, children = trained
    subject = subject_of(job, children, range(len(children)), "cpu")
    tokens_KNL = tokens(subject.items_K)[..., :-1]
    states, attended = subject.states(subject.after, tokens_KNL)
    x = states[-1].flatten(1, 2)
    logits = transformer.norm(subject.model, subject.after, "norm_head", x) @ subject.after["head"].mT
    expected = transformer.logits(subject.model, subject.after, tokens_KNL)
    torch.testing.assert_close(logits.view_as(expected), expected, rtol=1e-4, atol=1e-5)
    for chance in attended:
        torch.testing.assert_close(chance.sum(-1), torch.ones(chance.shape[:-1]))


def test_attention_is_looked_at_where_answers_are_predicted(trained: Any) -> None:
    """Of every such position, head and layer the entropy, one after the other."""
    _, _, job, children = trained
    subject = subject_of(job, children, range(len(children)), "cpu")
    _, attended = subject.states(subject.after, tokens(subject.items_K)[..., :-1])
    for k, of_run in enumerate(measured(subject)):
        entropies = [
            entropy(chance[k, item, head, position].double().numpy())
            for chance in attended
            for item, answers in enumerate(subject.items_K[k].answer_NL)
            for position in np.flatnonzero(answers) - 1
            for head in range(chance.shape[2])
        ]
        assert of_run["attention_entropy"] == pytest.approx(np.mean(entropies))


@each("kind", ["gaussian", "sign", "orthogonal"])
def test_perturbations_move_every_hidden_matrix_by_their_share(trained: Any, kind: str) -> None:
    job, bases, *_ = trained
    weights = subject_of(job, bases, range(len(bases)), "cpu").after
    moved = landscape.moved(weights, landscape.drawn(weights, 0)[kind], 0.03)
    for name in weights:
        change, norm = (torch.linalg.matrix_norm(of) for of in (moved[name] - weights[name], weights[name]))
        wanted = 0.03 * norm if name in hidden_names(weights) else torch.zeros_like(norm)
        torch.testing.assert_close(change, wanted, rtol=1e-3, atol=1e-6)
    directions = landscape.drawn(weights, 0)["orthogonal"]
    singular = torch.linalg.svdvals(directions["layers.0.up"])
    torch.testing.assert_close(singular, torch.ones_like(singular))


def test_the_curvature_along_an_update_is_that_of_finite_differences(trained: Any) -> None:
    """The second derivative along the update, from gradients."""
    _, _, job, children = trained
    subject = subject_of(job, children, range(len(children)), "cpu")
    names = hidden_names(subject.before)
    subject.fleet.native = None  # which has no float64
    double = {name: value.double() for name, value in subject.before.items()}
    exact = Subject(
        subject.fleet, subject.task, subject.runs, double, {n: v.double() for n, v in subject.after.items()}
    )
    found = landscape.on_the_way(exact)
    step = 1e-3
    change = {name: exact.after[name] - double[name] for name in names}
    length_K = landscape.norms([change[name] for name in names])
    unit = {name: of / length_K.view(-1, *[1] * (of.dim() - 1)) for name, of in change.items()}
    ends = [
        exact.loss_K(double | {name: double[name] + sign * step * unit[name] for name in names}) for sign in (1, 0, -1)
    ]
    expected = (ends[0] + ends[2] - 2 * ends[1]) / step**2
    curvatures = np.array([of_run["update_curvature"] for of_run in found])
    np.testing.assert_allclose(curvatures, expected, rtol=0.2, atol=np.abs(expected).max() * 0.1)


def test_probes_are_off_unless_a_card_asks_and_only_then_part_of_an_id(tmp_path: Path) -> None:
    plain, with_probes = (
        Plan(tiny.experiment(tmp_path, *settings), {}).ready() for settings in ((), ("probes=['update']",))
    )
    assert all(run.probes == () and "probes" not in run.identity for run in plain)
    assert {run.id for run in plain}.isdisjoint(run.id for run in with_probes)
    assert all(run.environment.source != plain[0].environment.source for run in with_probes)

    def bare(run: Run) -> Run:
        return replace(run, probes=(), environment=plain[0].environment)

    assert [bare(run).id for run in with_probes] == [run.id for run in plain]


def test_a_card_without_probes_keeps_its_fingerprint(tmp_path: Path) -> None:
    cards = [tiny.experiment(tmp_path, *settings).card for settings in ((), ("probes=[]",), ("probes=['update']",))]
    assert cards[0].fingerprint() == cards[1].fingerprint() != cards[2].fingerprint()
    assert cards[0].setting() == cards[1].setting()
