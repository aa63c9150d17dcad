"""What a person asks for becomes an experiment, or one sentence that names what is wrong and what is near."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synthbench.cards import MODELS, RunnerCard, load, names
from synthbench.errors import BadInput
from synthbench.experiment import identity
from synthbench.experiment.plan import Experiment
from synthbench.experiment.resolve import Asked, experiment_id, resolve
from tests.each import each
from tests.experiment import tiny


def refused(asked: Asked) -> str:
    """The sentence with which something is refused."""
    with pytest.raises(BadInput) as caught:
        resolve(asked)
    message = str(caught.value)
    assert len(message.splitlines()) <= 3
    assert len(message) < 500, message
    assert message.endswith((".", "\n")), message
    return message


@each(
    ("asked", "said"),
    [
        ({"runner": "quik"}, ["'quik'", "'quick'"]),
        ({"runner": "no/such.toml"}, ["'no/such.toml'", "quick"]),
        ({"runner": "quick.toml"}, ["'quick.toml'"]),
        ({"runner": "/"}, ["'/'"]),
        ({"runner": ""}, ["''", "quick"]),
        ({"tasks": ["rote-vs-rul"]}, ["'rote-vs-rul'", "'rote-vs-rule'"]),
        ({"tasks": ["no/such.toml"]}, ["'no/such.toml'"]),
        ({"tasks": []}, ["tasks", "1"]),
        ({"optimizers": ["muonn"]}, ["'muonn'", "'muon'"]),
        ({"optimizers": []}, ["optimizers", "1"]),
        ({"optimizers": ["adamw", "adamw"]}, ["optimizers"]),
        ({"updates": ["ful"]}, ["'ful'", "full-hidden", "lora-R"]),
        ({"updates": ["lora-0"]}, ["'lora-0'", "1"]),
        ({"updates": ["lora-17"]}, ["'lora-17'", "16"]),
        ({"updates": []}, ["update"]),
        ({"updates": ["full", "full"]}, ["twice"]),
        ({"lr": []}, ["lr"]),
        ({"lr": [0.0]}, ["lr", "0", "0"]),
        ({"lr": [-1e-3]}, ["lr", "-0.001", "0"]),
        ({"lr": [float("nan")]}, ["lr", "nan"]),
        ({"lr": [float("inf")]}, ["lr", "inf"]),
        ({"lr": [1e-3, 1e-3]}, ["lr"]),
        ({"weight_decay": [0.0, -0.1]}, ["weight", "-0.1"]),
        ({"weight_decay": []}, ["weight"]),
        ({"seeds": 0}, ["seeds", "0", "0"]),
        ({"seeds": -3}, ["seeds", "-3", "0"]),
        ({"seeds": [0, -1]}, ["seeds", "-1"]),
        ({"seeds": []}, ["seeds", "[]"]),
        ({"seeds": [4, 4]}, ["seeds", "[4, 4]"]),
        ({"device": "tpu"}, ["'tpu'", "cuda"]),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_naming_it(
    tmp_path: Path, asked: dict[str, Any], said: list[str]
) -> None:
    message = refused(replace(Asked(str(tiny.write(tmp_path)), device="cpu"), **asked))
    assert all(part in message for part in said), message


@each(
    ("setting", "said"),
    [
        # names that are near
        ("columns=['lerning']", ["'lerning'", "'learning'"]),
        ("modell=tiny", ["'modell'", "'model'"]),
        ("model=tini", ["'tini'", "'tiny'"]),
        ("reading.fitt=0.5", ["'reading.fitt'", "'fit'"]),
        ("stages.finetun.steps=3", ["'stages.finetun'", "'finetune'"]),
        ("stages.finetune.stepz=3", ["stepz'", "'steps'"]),
        ("stages.finetune.name=finetuna", ["'finetuna'", "'finetune'", "tiny-task"]),
        ("stages.finetune.examples.rul=3", ["'rul'", "'rule'"]),
        ("stages.finetune.for.muonn={steps=3}", ["'muonn'", "'muon'"]),
        ("stages.finetune.for.muon={stepz=3}", ["stepz'", "'steps'"]),
        ("stages.finetune.lr={adam=[1e-3]}", ["'adam'", "'adamw'"]),
        ("stages.finetune.optimizer=['sdg']", ["'sdg'", "'sgd'"]),
        ("optimizer.betaz=[0.9, 0.9]", ["'betaz'", "'betas'", "adamw"]),
        ("arguments.muonn.nesterov=true", ["'muonn'", "'muon'"]),
        ("scale=larg", ["'large'"]),
        # types and sizes
        ("stages.finetune.steps=many", ["steps = 'many'"]),
        ("stages.finetune.steps=2.5", ["steps = 2.5"]),
        ("stages.finetune.steps=true", ["steps = True"]),
        ("stages.finetune.steps=0", ["steps = 0", "0"]),
        ("stages.finetune.batch=-16", ["batch = -16", "0"]),
        ("stages.finetune.warmup=2", ["warmup = 2", "1"]),
        ("stages.finetune.schedule=linear", ["'linear'", "'cosine'", "'constant'"]),
        ("stages.finetune.points=11", ["points = 11", "steps, 10"]),
        ("stages.finetune.examples.rule=0", ["examples.rule = 0", "0"]),
        ("stages.finetune.examples.rule=81", ["finetune.rule", "81", "80"]),
        ("stages.finetune.batch=18", ["finetune", "batch = 18", "4"]),
        ("stages.finetune.lr=[]", ["lr = []", "1"]),
        ("stages.finetune.lr=[1e-3, 'x']", ["lr.1 = 'x'"]),
        ("stages.finetune.lr=fast", ["lr = 'fast'"]),
        ("stages.finetune.lr={sgd=[1e-3]}", ["adamw", "sgd"]),
        ("stages.finetune.lr={adamw={lora=[1e-3]}}", ["adamw", "full"]),
        ("stages.finetune=3", ["stages.finetune"]),
        ("stages=[]", ["stages = []", "1"]),
        ("stages.finetune.name=pretrain", ["same name", "pretrain, pretrain"]),
        ("stages.pretrain.update=['lora-4']", ["pretrain.update", "'lora-4'"]),
        ("stages.pretrain.update=['full', 'full-hidden']", ["pretrain"]),
        ("stages.pretrain.weight_decay=[0.0, 0.1]", ["pretrain"]),
        ("reading.speed=7", ["7", "[4, 5]"]),
        ("reading.fit=1.5", ["reading.fit = 1.5", "1"]),
        ("columns=[]", ["columns = []", "1"]),
        ("optimizer.betas=[2, 3]", ["betas", "2", "1"]),
        ("optimizer.betas=3", ["betas", "3"]),
        ("optimizer.eps=0", ["eps", "0", "0"]),
        ("arguments=3", ["arguments = 3"]),
        ("name=A b", ["name = 'A b'"]),
        ("version=1", ["version = 1"]),
        ("no path", ["'no path'", "path=value"]),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_naming_it(tmp_path: Path, setting: str, said: list[str]) -> None:
    message = refused(Asked(str(tiny.write(tmp_path)), settings=[setting], device="cpu"))
    assert all(part in message for part in said), message


@each(
    ("setting", "said"),
    [
        ("model.width=0", ["model.width = 0", "0"]),
        ("model.width=18", ["18", "head_width", "8"]),
        ("model.widht=16", ["'model.widht'", "'width'"]),
        ("seeds='three'", ["seeds = 'three'"]),
        ("stages.finetune.lr={adamw=[]}", ["lr.adamw = []", "1"]),
        ("stages.finetune.lr={adamw=[-1.0]}", ["lr.adamw.0 = -1.0", "0"]),
        ("stages.finetune.lr={adamw={fully=[1e-3]}}", ["lr.adamw.fully", "'full'"]),
        ("stages.finetune.weight_decay=[-1.0]", ["weight_decay.0 = -1.0", "0"]),
    ],
)
def test_what_is_wrong_in_a_value_of_several_forms_is_named_in_the_form_it_has(
    tmp_path: Path, setting: str, said: list[str]
) -> None:
    message = refused(Asked(str(tiny.write(tmp_path)), settings=[setting], device="cpu"))
    assert all(part in message for part in said), message
    assert not any(inner in message for inner in ("constrained", "function-after", "ModelCard")), message


@each("scale", ["[1]", "{a = 1}", "3", "true", "''"])
def test_a_scale_that_is_no_name_is_refused(tmp_path: Path, scale: str) -> None:
    assert "large" in refused(Asked(str(tiny.write(tmp_path)), settings=[f"scale={scale}"], device="cpu"))


def edited(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


@each(
    ("edit", "said"),
    [
        (lambda text: text + "\n[[stages", []),
        (lambda text: "", []),
        (edited('version = "1.0"', ""), ["version"]),
        (edited('[[stages]]\nname = "pretrain"', "[[stages]]\nname = 3"), ["name = 3"]),
        (edited("seeds = 2", "seeds = 2\nseed = 3"), ["'seed'", "'seeds'"]),
        (edited("[scales.large]", "[scales.Large]"), ["Large"]),
    ],
)
def test_a_broken_card_is_refused_by_naming_its_file(
    tmp_path: Path, edit: Callable[[str], str], said: list[str]
) -> None:
    path = tiny.write(tmp_path, edit(tiny.RUNNER))
    message = refused(Asked(str(path), device="cpu"))
    assert all(part in message for part in [str(path), *said]), message


@each(
    ("old", "new", "setting"),
    [
        ('optimizers = ["adamw"]', "optimizers = 3", "optimizer.eps=1e-6"),
        ("[scales.large]\nseeds = 5", "[scales]\nlarge = 3\n[more]", "scale=large"),
        ("[scales.large]", "[other.large]\n[scales_]", "scale=large"),
    ],
)
def test_a_card_of_the_wrong_form_is_refused_though_a_setting_reads_it_first(
    tmp_path: Path, old: str, new: str, setting: str
) -> None:
    assert old in tiny.RUNNER
    refused(Asked(str(tiny.write(tmp_path, tiny.RUNNER.replace(old, new))), settings=[setting], device="cpu"))


@each("own", ["3", "{ adamw = 3 }"])
def test_what_an_optimizer_does_differently_in_the_wrong_form_is_refused_though_an_option_reads_it_first(
    tmp_path: Path, own: str
) -> None:
    path = tiny.write(tmp_path, tiny.RUNNER.replace("points = 2", f"points = 2\nfor = {own}"))
    assert "stages.finetune.for" in refused(Asked(str(path), weight_decay=[0.1], device="cpu"))


def test_a_card_that_is_not_text_is_refused_by_naming_its_file(tmp_path: Path) -> None:
    path = tmp_path / "runner.toml"
    path.write_bytes(b"\xff\xfe\x00")
    assert str(path) in refused(Asked(str(path), device="cpu"))


def test_a_broken_task_card_is_refused_by_naming_its_file(tmp_path: Path) -> None:
    runner, task = tiny.write(tmp_path), tmp_path / "task.toml"
    task.write_text(tiny.TASK.replace("name_length = 2", "name_length = 0"))
    message = refused(Asked(str(runner), device="cpu"))
    assert str(task) in message
    assert "language.name_length = 0" in message


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    runner = tiny.write(tmp_path)
    (tmp_path / "other.toml").write_text(tiny.TASK.replace("items = 36", "items = 30"))
    both = [str(tmp_path / "task.toml"), str(tmp_path / "other.toml")]
    assert "tiny-task" in refused(Asked(str(runner), tasks=both, device="cpu"))


@pytest.mark.skipif(identity.cuda_devices() > 0, reason="there is a CUDA device here")
def test_a_stage_whose_parts_share_a_slice_is_refused(tmp_path: Path) -> None:
    content = (
        tiny.TASK
        + """noise = { generator = "noisy", word = "wrong", shifts = [7], noise = 0.5, items = 36, share = 4 }"""
    )
    (tmp_path / "both.toml").write_text(content)
    with pytest.raises(BadInput, match="rule and noise"):
        resolve(Asked(str(tiny.write(tmp_path)), tasks=[str(tmp_path / "both.toml")], device="cpu"))


def test_a_device_that_is_absent_is_refused(tmp_path: Path) -> None:
    message = refused(Asked(str(tiny.write(tmp_path)), device="cuda"))
    assert "--device cuda" in message
    assert "cpu" in message


def test_a_setting_with_control_characters_is_shown_inert(tmp_path: Path) -> None:
    for setting in ("columns=['\x1b[31m']", "x\x1b[31m\n\n\n\n", "x\x1b[31m=3", "stages.\x1b[31m.x=3"):
        assert refused(Asked(str(tiny.write(tmp_path)), settings=[setting], device="cpu")).isprintable()


@each("name", names(RunnerCard))
def test_every_shipped_runner_resolves(name: str) -> None:
    experiment = resolve(Asked(name, device="cpu"))
    assert experiment.card.name == name
    assert experiment.tasks
    assert experiment.rules.keys() >= set(experiment.card.optimizers)


def test_options_are_the_runners_axes_and_those_of_its_last_stage(tmp_path: Path) -> None:
    card = tiny.experiment(
        tmp_path, optimizers=["muon", "sgd"], seeds=[3, 5], updates=["lora-2"], lr=[0.5], weight_decay=[0.1, 0.2]
    ).card
    assert (card.optimizers, card.seed_list) == (["muon", "sgd"], [3, 5])
    first, last = card.stages
    assert (last.update, last.lr, last.weight_decay) == (["lora-2"], [0.5], [0.1, 0.2])
    assert (first.update, first.lr, first.weight_decay) == (["full"], [1e-3], 0.0)


def test_a_scale_is_applied_before_other_settings_whatever_their_order(tmp_path: Path) -> None:
    card = tiny.experiment(tmp_path, "seeds=7", "scale=large").card
    assert (card.seeds, card.stage("finetune").steps) == (7, 20)


def test_an_optimizers_argument_reaches_every_optimizer_that_is_run(tmp_path: Path) -> None:
    rules = tiny.experiment(tmp_path, "optimizers=['adamw', 'muon']", "optimizer.betas=[0.5, 0.6]").rules
    assert rules.keys() == {"adamw", "muon"}
    assert all(rule.arguments["betas"] == [0.5, 0.6] for rule in rules.values())


def test_a_models_preset_and_its_own_table_are_the_same_experiment(tmp_path: Path) -> None:
    shape = tiny.experiment(tmp_path, "model=tiny").card.shape
    assert shape == MODELS["tiny"]


def ids(folder: Path, *settings: str, **asked: Any) -> str:
    found: Experiment = tiny.experiment(folder, *settings, **asked)
    return experiment_id(found)


@each(
    "setting",
    [
        "optimizers=['muon']",
        "seeds=5",
        "seeds=[9]",
        "stages.finetune.update=['lora-4']",
        "stages.finetune.optimizer=['sgd']",
        "question=other",
        "cost=other",
        "scales.more.seeds=9",
    ],
)
def test_an_experiments_id_does_not_depend_on_axes_and_prose(tmp_path: Path, setting: str) -> None:
    assert ids(tmp_path, setting) == ids(tmp_path)


@each(
    "setting",
    [
        "reading.fit=0.8",
        "reading.speed=4",
        "stages.finetune.lr=[1e-3]",
        "stages.finetune.steps=11",
        "stages.finetune.weight_decay=0.1",
        "stages.finetune.for.adamw={steps=11}",
        "stages.pretrain.batch=32",
        "optimizer.eps=1e-6",
        "model.layers=2",
        "columns=['fit']",
        "version='1.1'",
        "name=other",
    ],
)
def test_an_experiments_id_changes_with_all_that_rows_must_share(tmp_path: Path, setting: str) -> None:
    assert ids(tmp_path, setting) != ids(tmp_path)


def test_an_experiments_id_changes_with_its_tasks_data_and_its_device(tmp_path: Path) -> None:
    before = tiny.experiment(tmp_path)
    other = replace(before, environment=replace(before.environment, device="cuda"))
    assert experiment_id(other) != experiment_id(before)
    (tmp_path / "task.toml").write_text(tiny.TASK.replace("items = 36", "items = 30"))
    edited_task = resolve(Asked(str(tmp_path / "runner.toml"), device="cpu"))
    assert experiment_id(edited_task) != experiment_id(before)


SCALES = [(name, scale) for name in names(RunnerCard) for scale in load(RunnerCard, name).scales]


@each(("runner", "scale"), SCALES)
def test_every_scale_of_a_shipped_runner_can_be_planned(runner: str, scale: str) -> None:
    found, usual = (resolve(Asked(runner, settings=given, device="cpu")) for given in ([f"scale={scale}"], []))
    assert len(found.card.seed_list) * found.card.shape.width > len(usual.card.seed_list) * usual.card.shape.width
