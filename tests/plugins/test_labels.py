"""A plug-in has one label: its name as typed for `run` is accepted wherever the label is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from synthbench.common.errors import BadInput
from synthbench.experiment import optimizers
from synthbench.experiment.resolve import RunRequest, resolve
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.reporting import synthetic_results

FILE = '''
import torch
class Mine(torch.optim.SGD):
    """Takes its step."""
    def __init__(self, params, lr=1e-2, weight_decay=0.0, floor=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay)
class _Hidden: pass
def helper(): pass
'''
LABEL = "own.py:Mine"


@pytest.fixture
def typed(tmp_path: Path) -> str:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.py").write_text(FILE)
    return f"{tmp_path}/mine/{LABEL}"


def test_compare_versus_and_optimizer_take_the_name_that_run_takes(typed: str, tmp_path: Path, call: Caller) -> None:
    out = synthetic_results.write(
        tmp_path / "out", lambda run: {"learning": 0.5 + 1e-3 * run.seed}, optimizers=[typed, "adamw"]
    )
    outputs = [call(f"{command} --out {out}") for command in (f"compare {typed} adamw", f"compare {LABEL} adamw")]
    assert outputs[0] == outputs[1]
    assert (outputs[0].code, outputs[0].err) == (0, "")
    for command in (f"report --versus {typed}", f"compare full lora-4 --optimizer {typed}"):
        assert call(f"{command} --out {out}")[::2] == (0, "")
    code, _, err = call(f"compare {typed} {LABEL} --out {out}")
    assert code == 2
    assert "compare" in err
    assert str(tmp_path)[:20] in err


@each(
    "setting",
    [
        'arguments."{}".floor=0.5', 'stages.pretrain.lr={{adamw=[1e-3], "{}"=[3e-3]}}', 'stages.pretrain.for."{}".steps=5',
        'stages.finetune.for."tiny-task/{}".steps=5', 'stages.finetune.optimizer=["adamw","{}"]',
    ],
)  # fmt: skip
def test_set_takes_the_name_that_run_takes(setting: str, typed: str, tmp_path: Path) -> None:
    request = RunRequest(str(tiny.write(tmp_path)), [typed, "adamw"], device="cpu")
    cards = [resolve(replace(request, settings=[setting.format(name)])).card for name in (typed, LABEL)]
    assert cards[0] == cards[1] != resolve(request).card


def test_settings_under_both_names_are_merged_and_a_variant_accepts_either(typed: str, tmp_path: Path) -> None:
    arguments = ((LABEL, "floor=0.5"), (LABEL, 'routing="hidden"'), (typed, "floor=0.1"))
    settings = [f'arguments."{name}".{value}' for name, value in arguments]
    card = resolve(RunRequest(str(tiny.write(tmp_path)), [typed], settings=settings, device="cpu")).card
    assert card.arguments == {LABEL: {"floor": 0.1, "routing": "hidden"}}
    settings = [f'variants.floored={{of="{typed}", arguments={{floor=0.5}}}}']
    experiment = resolve(
        RunRequest(str(tiny.write(tmp_path)), ["floored"], settings=[*settings, "optimizers=['floored']"])
    )
    assert experiment.card.variants["floored"].of == LABEL
    assert experiment.optimizers["floored"].name == LABEL


@each(
    ("name", "sentence"),
    [
        ("mine/own.py", "'mine/own.py' .*mine/own.py:Name"), ("mine/none.py", "'mine/none.py' .*mine/none.py:Name"),
        ("Mine", r"'Mine'.*adamw, adamw-split, muon, sgd.*path/file\.py:Mine"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("typed")
def test_an_incomplete_name_is_answered_with_the_complete_form(
    name: str, sentence: str, tmp_path: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (f"run --optimizer {name} --dry-run", f"verify --optimizer {name}"):
        code, _, err = call(command)
        assert code == 2
        assert re.search(sentence, err)


def test_a_name_that_the_file_lacks_is_answered_with_those_that_it_defines(typed: str, call: Caller) -> None:
    code, _, err = call(f"run --optimizer {typed.replace('Mine', 'Nine')} --dry-run")
    assert code == 2
    assert "has no 'Nine'; did you mean 'Mine'? Allowed are Mine, helper." in err


def test_a_variant_of_a_class_is_read_from_the_working_directory_if_set_names_it(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cards").mkdir()
    card = tiny.write(tmp_path / "cards")
    card.write_text(f"{card.read_text()}\n[variants.slow]\nof = 'adamw'\nlr = [1e-4]\n")
    monkeypatch.chdir(tmp_path)
    settings = [f"variants.slow.of=mine/{LABEL}"]
    assert resolve(RunRequest(str(card), settings=settings, device="cpu")).card.variants["slow"].of == LABEL


def test_two_files_of_one_name_are_rejected(typed: str, tmp_path: Path, call: Caller) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "own.py").write_text(FILE)
    code, _, err = call(f"run --optimizer {typed},{tmp_path}/other/{LABEL} --dry-run")
    assert code == 2
    assert f"have the same label, {LABEL}" in err
    optimizers.check_distinct(
        [typed, f"{tmp_path}/other/../mine/{LABEL}"], "--optimizer"
    )  # one file twice: rejected below
    code, _, err = call(f"run --optimizer {typed},{typed} --dry-run")
    assert code == 2
    assert f"['{LABEL}', '{LABEL}']" in err


def test_an_argument_that_one_optimizer_lacks_comes_with_the_setting_for_the_other(typed: str, tmp_path: Path) -> None:
    request = RunRequest(str(tiny.write(tmp_path)), [typed, "adamw"], settings=["optimizer.floor=0.01"], device="cpu")
    setting = f'arguments."{LABEL}".floor=0.01'
    with pytest.raises(BadInput, match=f"adamw.*--set '{re.escape(setting)}'"):
        resolve(request)
    experiment = resolve(replace(request, settings=[setting]))
    assert experiment.optimizers[LABEL].arguments["floor"] == 0.01


@each("setting", ["optimizer.momentun=0.9", "arguments.adamw.bets=[0.9, 0.95]", "optimizer.eps=small"])
def test_a_wrong_argument_names_the_option_set(setting: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"runner\.toml .*--set"):
        resolve(RunRequest(str(tiny.write(tmp_path)), ["adamw"], settings=[setting], device="cpu"))


def test_the_rate_of_adamw_beside_a_plug_in_needs_hidden_routing(typed: str, tmp_path: Path) -> None:
    ratio = "optimizer.aux_lr_ratio=0.3"
    request = RunRequest(str(tiny.write(tmp_path)), [typed], settings=[ratio], device="cpu")
    with pytest.raises(BadInput, match="--set routing=hidden"):
        resolve(request)
    experiment = resolve(replace(request, settings=[ratio, "routing=hidden"]))
    assert experiment.optimizers[LABEL].arguments["aux_lr_ratio"] == 0.3
