"""Axes: any path of a card is crossed with everything, and what an axis does not touch is trained once."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench.common.errors import BadInput
from synthbench.experiment.plan import Experiment
from synthbench.experiment.resolve import RunRequest, experiment_id, resolve
from synthbench.experiment.runs import Run
from tests import tiny
from tests.each import each
from tests.experiment.test_plan import BOTH, cells, ok, runs_of, simulate

DECAYS = "stages.pretrain.weight_decay=0,0.5"


def places(experiment: Experiment, stage: str) -> list[tuple[object, ...]]:
    """Where cells of a stage are: optimizer, update and values on the axes."""
    return [(cell.optimizer, cell.update, *cell.point) for cell in cells(experiment, stage)]


def test_an_axis_of_an_earlier_stage_has_bases_of_its_own_and_rates_are_chosen_for_each(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "stages.finetune.lr=[1e-3, 2e-3]", axes=[DECAYS])
    bases = {run.id: run.weight_decay for run in runs_of(experiment, "adamw", "pretrain")}
    assert sorted(bases.values()) == [0.0, 0.0, 0.5, 0.5]  # of two seeds
    for cell, runs in cells(experiment, "finetune").items():
        assert {bases[str(run.parent)] for run in runs} == {dict(cell.point)["weight-decay"]}
        assert {run.weight_decay for run in runs} == {0.0}

    def outcome(run: Run) -> object:
        """The larger rate is better from a model without decay, the smaller one else."""
        if not run.parent:
            return ok(run)
        return ok(run, 0.9 if (run.lr == 2e-3) == (bases[run.parent] == 0.0) else 0.1)

    done = {run.id: outcome(run) for wave in simulate(experiment, outcome) for run in wave}  # type: ignore[arg-type]
    assert len(done) == 4 + 2 * 2 * 2


def test_every_axis_is_crossed_with_every_other(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, axes=[DECAYS, "model.width=16,32"])
    points = [(("weight-decay", decay), ("width", width)) for decay in (0, 0.5) for width in (16, 32)]
    assert places(experiment, "pretrain") == places(experiment, "finetune") == [("adamw", "full", *p) for p in points]
    widths = {
        (dict(cell.point)["width"], runs[0].model["width"]) for cell, runs in cells(experiment, "finetune").items()
    }
    assert widths == {(16, 16), (32, 32)}


def test_runs_that_an_axis_does_not_touch_are_trained_once(tmp_path: Path) -> None:
    """An axis of finetuning leaves pretraining alone; that of one optimizer's argument leaves the other alone."""
    steps = tiny.experiment(tmp_path, axes=["stages.finetune.steps=8,10"])
    assert places(steps, "pretrain") == [("adamw", "full")]
    assert places(steps, "finetune") == [("adamw", "full", ("steps", 8)), ("adamw", "full", ("steps", 10))]
    ratio = tiny.experiment(tmp_path, BOTH, axes=["optimizer.aux_lr_ratio=0.1,1"])
    ratios = [("muon", "full", ("aux-lr-ratio", value)) for value in (0.1, 1)]
    assert sorted(places(ratio, "finetune"), key=str) == [("adamw", "full"), *ratios]
    assert len(runs_of(ratio, "adamw", "pretrain")) == len(runs_of(tiny.experiment(tmp_path), "adamw", "pretrain"))


def test_the_card_s_own_value_has_the_runs_of_a_card_without_the_axis(tmp_path: Path) -> None:
    with_axis = runs_of(tiny.experiment(tmp_path, axes=["stages.finetune.steps=8,10"]), "adamw")
    assert {run.id for run in runs_of(tiny.experiment(tmp_path), "adamw")} <= {run.id for run in with_axis}


def test_an_axis_counts_over_what_is_said_for_one_optimizer(tmp_path: Path) -> None:
    """As --weight-decay does."""
    card = "stages.pretrain.for.adamw.weight_decay=0.2"
    decays = {run.weight_decay for run in runs_of(tiny.experiment(tmp_path, card, axes=[DECAYS]), "adamw", "pretrain")}
    assert decays == {0.0, 0.5}


def test_an_axis_for_some_optimizers_leaves_others_at_the_card_s_value(tmp_path: Path) -> None:
    axis = "axes=[{path='stages.pretrain.weight_decay', values=[0.3, 0.5], label='before', optimizers=['muon']}]"
    experiment = tiny.experiment(tmp_path, BOTH, axis)
    expected = {
        ("adamw", "full", ("before", 0.0)),
        ("muon", "full", ("before", 0.3)),
        ("muon", "full", ("before", 0.5)),
    }
    assert {*places(experiment, "finetune")} == {*places(experiment, "pretrain")} == expected


def test_values_may_be_added_to_an_axis_but_another_axis_is_another_experiment(tmp_path: Path) -> None:
    names = [experiment_id(tiny.experiment(tmp_path, axes=axes))
             for axes in ([DECAYS], [DECAYS + ",1"], ["stages.pretrain.steps=12,24"], [])]  # fmt: skip
    assert names[0] == names[1]
    assert len({*names}) == 3


@each(("axis", "label"), [(DECAYS, "before"), ("before=0,0.5", "before"), ("weight-decay=0,0.5", "")])
def test_an_axis_on_the_command_line_has_other_values_than_that_of_the_card(
    tmp_path: Path, axis: str, label: str
) -> None:
    """Named by its path, or by its column: the label, which it keeps so that claims along it stand, or without one the last
    part of the path."""
    axis_card = '[[axes]]\npath = "stages.pretrain.weight_decay"\nvalues = [1.0, 2.0]'
    axis_card += f'\nlabel = "{label}"' if label else ""
    card = tiny.write(tmp_path, f"{tiny.RUNNER}\n{axis_card}\n")
    (resolved,) = resolve(RunRequest(str(card), axes=[axis], device="cpu")).card.axes
    assert (resolved.name, resolved.values) == (label or "weight-decay", [0, 0.5])


def test_values_on_the_command_line_may_have_an_equals_sign(tmp_path: Path) -> None:
    (axis,) = tiny.experiment(tmp_path, axes=["stages.finetune.remedy=none,replay=0.25"]).card.axes
    assert axis.values == ["none", "replay=0.25"]


@each(
    ("axis", "expected"),
    [
        ("stages.pretrain.weight_decay", ["--axis", "PATH=a,b"]),
        ("stages.pretrain.wd=0,1", ["stages.pretrain.wd", "weight_decay"]),
        ("stages.pretrain.weight_decay=0,-1", ["weight_decay = -1"]),
        ("stages.pretrain.weight_decay=0,0", ["axes.0.values", "twice"]),
        ("stages.warmup.steps=1,2", ["stages.warmup", "pretrain"]),
        ("optimizer.momentums=0,1", ["optimizer.momentums", "adamw"]),
        ("seeds=1,2", ["seeds", "no axis"]),
        ("stages.finetune.lr=1e-3,2e-3", ["column", "'lr'", "label"]),
        ("model.width=16,17", ["width", "17"]),
        ("stages.pretrain.name=a,b", ["stages.pretrain.name", "no axis"]),
        ("=1", ["--axis"]),
    ],
)
def test_an_invalid_axis_is_refused_in_one_sentence(tmp_path: Path, axis: str, expected: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        tiny.experiment(tmp_path, axes=[axis])
    assert all(text in str(caught.value) for text in expected), str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@each(
    ("axis", "expected"),
    [
        ("path='model.width', values=[16, 32], label='learning'", ["'learning'", "taken"]),
        ("path='model.width', values=[16, 32], label='size'", ["'size'", "taken"]),
        ("path='stages.finetune.size', values=[1, 2], label='data'", ["'size'", "leave out"]),
    ],
)
def test_a_label_that_means_something_else_is_refused(tmp_path: Path, axis: str, expected: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        tiny.experiment(tmp_path, f"axes=[{{{axis}}}]")
    assert all(text in str(caught.value) for text in expected), str(caught.value)


@each(
    ("limits", "expected"),
    [
        ("tasks=['tiny-tusk']", ["axes.0.tasks", "'tiny-tusk'", "'tiny-task'"]),
        ("optimizers=['adamv']", ["axes.0.optimizers", "'adamv'", "'adamw'"]),
        ("updates=['lora']", ["axes.0.updates", "lora-R"]),
    ],
)
def test_limits_of_an_axis_name_what_is_there(tmp_path: Path, limits: str, expected: list[str]) -> None:
    with pytest.raises(BadInput) as caught:
        tiny.experiment(tmp_path, f"axes=[{{path='stages.pretrain.steps', values=[6, 12], {limits}}}]")
    assert all(text in str(caught.value) for text in expected), str(caught.value)


def test_a_stage_that_is_not_trained_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = tiny.write(tmp_path, tiny.RUNNER.partition('[[stages]]\nname = "finetune"')[0])
    resolve(RunRequest(str(card), axes=["stages.pretrain.steps=6,12"], device="cpu"))
    assert capsys.readouterr().err.count("trains no stage finetune") == 1


def test_a_base_may_have_a_crossing_of_its_own(tmp_path: Path) -> None:
    names, crossed = "optimizers=['adamw', 'muon', 'sgd']", "stages.finetune.optimizer=['adamw', 'muon']"
    experiment = tiny.experiment(tmp_path, names, crossed, "stages.finetune.for.sgd.optimizer=['sgd']")
    pairs = {(*cell.base, cell.optimizer) for cell in cells(experiment, "finetune")}
    assert pairs == {(a, b) for a in ("adamw", "muon") for b in ("adamw", "muon")} | {("sgd", "sgd")}
    of_task = tiny.experiment(tmp_path, names, crossed, "stages.finetune.for={'tiny-task/sgd'={optimizer=['sgd']}}")
    assert {(*cell.base, cell.optimizer) for cell in cells(of_task, "finetune")} == pairs
    with pytest.raises(BadInput, match=r"for\.tiny-task\.optimizer: other optimizers follow one: name it, .*\.$"):
        tiny.experiment(tmp_path, names, "stages.finetune.for.tiny-task.optimizer=['sgd']")


def test_a_task_may_have_updates_of_its_own(tmp_path: Path) -> None:
    several = "stages.finetune.for.tiny-task.update=['full', 'lora-2']"
    assert places(tiny.experiment(tmp_path, several), "finetune") == [("adamw", "full"), ("adamw", "lora-2")]
