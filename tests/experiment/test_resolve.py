"""A request resolves to an experiment, or is refused with a message that names the mistake and what is allowed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synthbench.cards import MODELS, RunnerCard, load, names
from synthbench.common.errors import BadInput
from synthbench.experiment.resolve import RunRequest, experiment_id, resolve
from tests import tiny
from tests.each import each


def refusal(request: RunRequest) -> str:
    """The message with which a request is refused."""
    with pytest.raises(BadInput) as caught:
        resolve(request)
    message = str(caught.value)
    assert len(message.splitlines()) <= 3
    assert len(message) < 500, message
    assert message.endswith((".", "\n")), message
    return message


@each(
    ("options", "expected"),
    [
        ({"runner": "no/such.toml"}, ["'no/such.toml'", "quick"]),
        ({"runner": "quick.toml"}, ["'quick.toml'"]),
        ({"runner": ""}, ["''", "quick"]),
        ({"tasks": ["no/such.toml"]}, ["'no/such.toml'"]),
        ({"tasks": []}, ["tasks", "1"]),
        ({"optimizers": []}, ["optimizers", "1"]),
        ({"optimizers": ["adamw", "adamw"]}, ["optimizers"]),
        ({"updates": ["ful"]}, ["'ful'", "full-hidden", "lora-R"]),
        ({"updates": ["lora-17"]}, ["'lora-17'", "16"]),
        ({"updates": []}, ["update"]),
        ({"lr": []}, ["lr"]),
        ({"lr": [-1e-3]}, ["lr", "-0.001", "0"]),
        ({"lr": [float("nan")]}, ["lr", "nan"]),
        ({"weight_decay": [0.0, -0.1]}, ["weight", "-0.1"]),
        ({"weight_decay": []}, ["weight"]),
        ({"seeds": [0, -1]}, ["seeds", "-1"]),
        ({"seeds": []}, ["seeds", "[]"]),
        ({"seeds": [4, 4]}, ["seeds", "[4, 4]"]),
    ],
)
def test_an_invalid_option_is_refused_and_named(tmp_path: Path, options: dict[str, Any], expected: list[str]) -> None:
    message = refusal(replace(RunRequest(str(tiny.write(tmp_path)), device="cpu"), **options))
    assert all(text in message for text in expected), message


@each(
    ("old", "new", "expected"),
    [
        ("tasks = [", "tasks = {a = 1} # [", "tasks = {'a': 1}: must be a list"),
        ('optimizers = ["adamw"]', 'optimizers = "adamw"', "optimizers = 'adamw': must be a list: [\"adamw\"]."),
        ("seeds = 2", 'seeds = 2\nvariants = "x"', "variants = 'x': must be a valid dictionary"),
        ("points = 2", "pointz = 2", "unknown key 'stages.finetune.pointz'"),
    ],
)
def test_a_mistake_in_a_card_is_named_with_the_file_alone(tmp_path: Path, old: str, new: str, expected: str) -> None:
    path = tiny.write(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    for settings in ([], ["seeds=1"]):
        assert refusal(RunRequest(str(path), settings=settings, device="cpu")).startswith(f"{path}: {expected}")


@each(
    ("name", "hint"),
    [
        ("head_recal", "did you mean 'head_recall'"),
        ("rule_accuracy@fit", ""),
        ("validation_learning", ""),  # not measured along a path
        ("steps_to_rule@t", ""),
    ],
)
def test_only_a_score_along_a_path_may_be_meant_by_fit(tmp_path: Path, name: str, hint: str) -> None:
    message = refusal(RunRequest(str(tiny.write(tmp_path)), settings=[f"reading.fit_of='{name}'"], device="cpu"))
    assert f": reading.fit_of: unknown score along a path '{name}'" in message
    assert hint in message
    assert len(message.splitlines()) == 1
    experiment = tiny.experiment(tmp_path, "reading.fit_of='head_recall'")
    assert experiment.card.reading.at == "head_recall 0.9"
    assert experiment.card.fingerprint() != tiny.experiment(tmp_path).card.fingerprint()


@each("setting", ["variants=3", "optimizers=3", "stages=3"])
def test_a_setting_of_another_form_is_refused_with_set(tmp_path: Path, setting: str) -> None:
    message = refusal(RunRequest(str(tiny.write(tmp_path)), settings=[setting], device="cpu"))
    assert "with --set: " in message
    assert setting.replace("=", " = ") in message


@each(
    ("setting", "expected"),
    [
        # misspelled names
        ("modell=tiny", ["'modell'", "'model'"]),
        ("reading.fitt=0.5", ["'reading.fitt'", "'fit'"]),
        ("stages.finetune.name=finetuna", ["'finetuna'", "'finetune'", "tiny-task"]),
        ("stages.finetune.for.muonn={steps=3}", ["'muonn'", "'muon'"]),
        ("stages.finetune.for.muon={stepz=3}", ["stepz'", "'steps'"]),
        ("stages.finetune.lr={adam=[1e-3]}", ["'adam'", "'adamw'"]),
        ("stages.finetune.optimizer=['sdg']", ["'sdg'", "'sgd'"]),
        ("optimizer.betaz=[0.9, 0.9]", ["'betaz'", "'betas'", "adamw"]),
        ("arguments.muonn.nesterov=true", ["'muonn'", "'muon'"]),
        ("scale=larg", ["'large'"]),
        *((f"scale={scale}", ["large"]) for scale in ("[1]", "{a = 1}", "3", "true", "''")),
        # types and ranges
        ("stages.finetune.steps=2.5", ["steps = 2.5"]),
        ("stages.finetune.steps=true", ["steps = True"]),
        ("stages.finetune.warmup=2", ["warmup = 2", "1"]),
        ("stages.finetune.schedule=linear", ["'linear'", "'cosine'", "'constant'"]),
        ("stages.finetune.points=11", ["points = 11", "steps, 10"]),
        ("stages.finetune.examples.rule=81", ["finetune.rule", "81", "80"]),
        ("stages.finetune.batch=18", ["finetune", "batch = 18", "4"]),
        ("stages.finetune.lr=[1e-3, 'x']", ["lr.1 = 'x'"]),
        ("stages.finetune.lr=fast", ["lr = 'fast'"]),
        ("stages.finetune.lr={adamw={lora=[1e-3]}}", ["adamw", "full"]),
        ("stages.finetune=3", ["stages.finetune"]),
        ("stages=[]", ["stages = []", "1"]),
        ("stages.finetune.name=pretrain", ["same name", "pretrain, pretrain"]),
        ("stages.pretrain.update=['lora-4']", ["pretrain.update", "'lora-4'"]),
        ("stages.pretrain.update=['full', 'full-hidden']", ["pretrain"]),
        ("reading.target_step=7", ["7", "[4, 5]"]),
        ("reading.fit=1.5", ["reading.fit = 1.5", "1"]),
        ("columns=[]", ["columns = []", "1"]),
        ("optimizer.betas=[2, 3]", ["betas", "2", "1"]),
        ("optimizer.betas=3", ["betas", "3"]),
        ("optimizer.eps=0", ["eps", "0", "0"]),
        ("arguments=3", ["arguments = 3"]),
        ("name=A b", ["name = 'A b'"]),
        ("version=1", ["version = 1"]),
        # keys whose values may have several types
        ("model.width=0", ["model.width = 0", "0"]),
        ("model.width=18", ["18", "head_width", "8"]),
        ("model.widht=16", ["'model.widht'", "'width'"]),
        ("seeds='three'", ["seeds = 'three'"]),
        ("stages.finetune.lr={adamw=[]}", ["lr.adamw = []", "1"]),
        ("stages.finetune.lr={adamw=[-1.0]}", ["lr.adamw.0 = -1.0", "0"]),
        ("stages.finetune.lr={adamw={fully=[1e-3]}}", ["lr.adamw.fully", "'full'"]),
        ("stages.finetune.weight_decay=[-1.0]", ["weight_decay = -1.0", "0"]),
        # control characters are escaped
        *((text, []) for text in ("columns=['\x1b[31m']", "x\x1b[31m\n\n\n\n", "x\x1b[31m=3", "stages.\x1b[31m.x=3")),
    ],
)
def test_an_invalid_setting_is_refused_and_named(tmp_path: Path, setting: str, expected: list[str]) -> None:
    message = refusal(RunRequest(str(tiny.write(tmp_path)), settings=[setting], device="cpu"))
    assert all(text in message for text in expected), message
    assert not any(internal in message for internal in ("constrained", "function-after", "ModelCard")), message
    assert message.isprintable()


@each(
    ("old", "new", "options", "expected"),
    [
        (tiny.RUNNER, "", {}, []),
        ('version = "1.0"', "", {}, ["version"]),
        ('[[stages]]\nname = "pretrain"', "[[stages]]\nname = 3", {}, ["name = 3"]),
        ("seeds = 2", "seeds = 2\nseed = 3", {}, ["'seed'", "'seeds'"]),
        ("[scales.large]", "[scales.Large]", {}, ["Large"]),
        # a wrong type in a key that a setting or an option reads first
        ('optimizers = ["adamw"]', "optimizers = 3", {"settings": ["optimizer.eps=1e-6"]}, []),
        ("[scales.large]\nseeds = 5", "[scales]\nlarge = 3\n[more]", {"settings": ["scale=large"]}, []),
        ("[scales.large]", "[other.large]\n[scales_]", {"settings": ["scale=large"]}, []),
        ("points = 2", "points = 2\nfor = 3", {"weight_decay": [0.1]}, ["stages.finetune.for"]),
        ("points = 2", "points = 2\nfor = { adamw = 3 }", {"weight_decay": [0.1]}, ["stages.finetune.for"]),
    ],
)
def test_an_invalid_runner_card_is_refused_with_its_file(
    tmp_path: Path, old: str, new: str, options: dict[str, Any], expected: list[str]
) -> None:
    assert old in tiny.RUNNER
    path = tiny.write(tmp_path, tiny.RUNNER.replace(old, new))
    message = refusal(RunRequest(str(path), device="cpu", **options))
    assert all(text in message for text in [str(path), *expected]), message


def test_an_invalid_task_card_is_refused_with_its_file(tmp_path: Path) -> None:
    runner, task = tiny.write(tmp_path), tmp_path / "task.toml"
    noise = 'noise = { generator = "noisy", word = "wrong", shifts = [7], noise = 0.5, items = 36, share = 4 }'
    for content, expected in (
        (tiny.TASK.replace("name_length = 2", "name_length = 0"), f"{task}: language.name_length = 0"),
        (f"{tiny.TASK}{noise}", "rule and noise"),
    ):
        task.write_text(content)
        assert expected in refusal(RunRequest(str(runner), device="cpu"))


def test_two_tasks_with_the_same_name_are_refused(tmp_path: Path) -> None:
    runner = tiny.write(tmp_path)
    (tmp_path / "other.toml").write_text(tiny.TASK.replace("items = 36", "items = 30"))
    both = [str(tmp_path / "task.toml"), str(tmp_path / "other.toml")]
    assert "tiny-task" in refusal(RunRequest(str(runner), tasks=both, device="cpu"))


def test_options_replace_axes_of_the_runner_and_of_its_last_stage(tmp_path: Path) -> None:
    card = tiny.experiment(
        tmp_path, optimizers=["muon", "sgd"], seeds=[3, 5], updates=["lora-2"], lr=[0.5], weight_decay=[0.1, 0.2]
    ).card
    assert (card.optimizers, card.seed_list) == (["muon", "sgd"], [3, 5])
    first, last = card.stages
    assert (last.update, last.lr, last.weight_decay) == (["lora-2"], [0.5], 0.1)
    assert [(axis.name, axis.path, axis.values) for axis in card.axes] == [
        ("decay", "stages.finetune.weight_decay", [0.1, 0.2])
    ]
    assert (first.update, first.lr, first.weight_decay) == (["full"], [1e-3], 0.0)


def test_a_scale_applies_before_settings_a_model_may_be_a_preset_and_arguments_reach_every_optimizer(
    tmp_path: Path,
) -> None:
    settings = "seeds=7", "scale=large", "model=tiny", "optimizers=['adamw', 'muon']", "optimizer.betas=[0.5, 0.6]"
    experiment = tiny.experiment(tmp_path, *settings)
    assert (experiment.card.seeds, experiment.card.stage("finetune").steps) == (7, 20)
    assert experiment.card.shape == MODELS["tiny"]
    betas = {name: optimizer.arguments["betas"] for name, optimizer in experiment.optimizers.items()}
    assert betas == {"adamw": [0.5, 0.6], "muon": [0.5, 0.6]}


SAME_ID = (
    "optimizers=['muon']", "seeds=5", "seeds=[9]", "stages.finetune.update=['lora-4']",
    "stages.finetune.optimizer=['sgd']", "question=other", "cost=other", "scales.more.seeds=9",
)  # fmt: skip
OTHER_ID = (
    "reading.fit=0.8", "reading.target_step=4", "stages.finetune.lr=[1e-3]", "stages.finetune.steps=11",
    "stages.finetune.weight_decay=0.1", "stages.finetune.for.adamw={steps=11}", "stages.pretrain.batch=32",
    "optimizer.eps=1e-6", "model.layers=2", "columns=['fit']", "version='1.1'", "name=other",
)  # fmt: skip


def test_an_experiments_id_changes_with_what_rows_share_and_not_with_axes_or_prose(tmp_path: Path) -> None:
    original = tiny.experiment(tmp_path)
    for setting in (*SAME_ID, *OTHER_ID):
        same = experiment_id(tiny.experiment(tmp_path, setting)) == experiment_id(original)
        assert same == (setting in SAME_ID), setting
    on_cuda = replace(original, environment=replace(original.environment, device="cuda"))
    assert experiment_id(on_cuda) != experiment_id(original)
    (tmp_path / "task.toml").write_text(tiny.TASK.replace("items = 36", "items = 30"))
    edited = resolve(RunRequest(str(tmp_path / "runner.toml"), device="cpu"))
    assert experiment_id(edited) != experiment_id(original)


@each("name", names(RunnerCard))
def test_every_shipped_runner_resolves_and_its_scales_are_larger(name: str) -> None:
    default, *larger = (
        resolve(RunRequest(name, settings=[f"scale={scale}"] if scale else [], device="cpu"))
        for scale in (None, *load(RunnerCard, name).scales)
    )
    assert default.card.name == name
    assert default.tasks
    assert default.optimizers.keys() >= set(default.card.optimizers)
    default_size = len(default.card.seed_list) * default.card.shape.width
    for experiment in larger:
        assert len(experiment.card.seed_list) * experiment.card.shape.width > default_size
