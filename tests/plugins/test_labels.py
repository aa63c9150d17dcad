"""A plug-in has one label: its name as typed for `run` is accepted wherever the label is."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from synthbench.common.errors import BadInput
from synthbench.experiment import labels
from synthbench.experiment.resolve import RunRequest, resolve
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.reporting import filled

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
    out = filled.folder(tmp_path / "out", lambda run: {"learning": 0.5 + 1e-3 * run.seed}, optimizers=[typed, "adamw"])
    named = [call(f"{words} --out {out}") for words in (f"compare {typed} adamw", f"compare {LABEL} adamw")]
    assert named[0] == named[1]
    assert (named[0].code, named[0].err) == (0, "")
    for words in (f"report --versus {typed}", f"compare full lora-4 --optimizer {typed}"):
        assert call(f"{words} --out {out}")[::2] == (0, "")
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
    asked = RunRequest(str(tiny.write(tmp_path)), [typed, "adamw"], device="cpu")
    found = [resolve(replace(asked, settings=[setting.format(name)])).card for name in (typed, LABEL)]
    assert found[0] == found[1] != resolve(asked).card


def test_what_is_set_under_both_names_is_one_table_and_an_arm_is_of_either(typed: str, tmp_path: Path) -> None:
    given = ((LABEL, "floor=0.5"), (LABEL, 'routing="hidden"'), (typed, "floor=0.1"))
    settings = [f'arguments."{name}".{value}' for name, value in given]
    card = resolve(RunRequest(str(tiny.write(tmp_path)), [typed], settings=settings, device="cpu")).card
    assert card.arguments == {LABEL: {"floor": 0.1, "routing": "hidden"}}
    settings = [f'variants.floored={{of="{typed}", arguments={{floor=0.5}}}}']
    found = resolve(RunRequest(str(tiny.write(tmp_path)), ["floored"], settings=[*settings, "optimizers=['floored']"]))
    assert found.card.variants["floored"].of == LABEL
    assert found.optimizers["floored"].name == LABEL


@each(
    ("name", "sentence"),
    [
        ("mine/own.py", "mine/own.py:Mine"), ("mine/none.py", "'mine/none.py'"),
        ("Mine", r"'Mine'.*adamw, adamw-split, muon, sgd.*path/file\.py:Mine"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("typed")
def test_an_incomplete_name_is_answered_with_a_complete_one(
    name: str, sentence: str, tmp_path: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (f"run --optimizer {name} --dry-run", f"verify --optimizer {name}"):
        code, _, err = call(command)
        assert code == 2
        assert re.search(sentence, err)


def test_two_files_of_one_name_are_refused(typed: str, tmp_path: Path, call: Caller) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "own.py").write_text(FILE)
    code, _, err = call(f"run --optimizer {typed},{tmp_path}/other/{LABEL} --dry-run")
    assert code == 2
    assert f"have the same label, {LABEL}" in err
    labels.check_distinct(
        [typed, f"{tmp_path}/other/../mine/{LABEL}"], "--optimizer"
    )  # one file: another check refuses it
    code, _, err = call(f"run --optimizer {typed},{typed} --dry-run")
    assert code == 2
    assert f"['{LABEL}', '{LABEL}']" in err


def test_an_argument_that_one_of_several_lacks_is_shown_how_to_give_to_the_other(typed: str, tmp_path: Path) -> None:
    asked = RunRequest(str(tiny.write(tmp_path)), [typed, "adamw"], settings=["optimizer.floor=0.01"], device="cpu")
    setting = f'arguments."{LABEL}".floor=0.01'
    with pytest.raises(BadInput, match=f"adamw.*--set '{re.escape(setting)}'"):
        resolve(asked)
    found = resolve(replace(asked, settings=[setting]))
    assert found.optimizers[LABEL].arguments["floor"] == 0.01


@each("setting", ["optimizer.momentun=0.9", "arguments.adamw.bets=[0.9, 0.95]", "optimizer.eps=small"])
def test_a_wrong_argument_is_said_to_come_from_set(setting: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"runner\.toml .*--set"):
        resolve(RunRequest(str(tiny.write(tmp_path)), ["adamw"], settings=[setting], device="cpu"))


def test_a_rate_for_what_nothing_is_left_to_is_refused(typed: str, tmp_path: Path) -> None:
    ratio = "optimizer.aux_lr_ratio=0.3"
    asked = RunRequest(str(tiny.write(tmp_path)), [typed], settings=[ratio], device="cpu")
    with pytest.raises(BadInput, match="--set routing=hidden"):
        resolve(asked)
    found = resolve(replace(asked, settings=[ratio, "routing=hidden"]))
    assert found.optimizers[LABEL].arguments["aux_lr_ratio"] == 0.3
