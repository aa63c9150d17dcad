"""`synthbench verify RUN`: a stored run trained again as a fleet of one and in a plain loop, on the command line."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from contextlib import closing
from math import inf, nan
from pathlib import Path
from unittest.mock import patch

import pytest

from synthbench.trainer.optimizers import IMPLEMENTATIONS, OPTIMIZERS
from synthbench.verification import reference
from synthbench.verification.replay import Curves
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.reliability.program import invoke

CLASS = """
import torch
class Mine(torch.optim.SGD):
    def __init__(self, params, lr=1e-2, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay, momentum=0.5)
"""
MATRIX = """
import synthbench
@synthbench.matrix_optimizer(state=("momentum",), lr=1e-2, routing="hidden", beta=0.9)
def matrix(grad, state, param, hyper):
    momentum = hyper.beta * state["momentum"] + grad / (1 + grad.norm())
    decayed = param * (1 - hyper.lr * hyper.weight_decay)
    return decayed - hyper.lr / hyper.step**0.5 * momentum, {"momentum": momentum}
"""
BUILT_IN = ("adamw", "adamw-split", "muon", "sgd")
CUSTOM = ("mine.py:Mine", "matrix.py:matrix")
FLAT = f"{Path(__file__).resolve().parents[2]}/examples/lion.py:lion"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of every built-in optimizer, of a class and of two decorated functions, under three updates."""
    here = tmp_path_factory.mktemp("verified")
    (here / "mine.py").write_text(CLASS)
    (here / "matrix.py").write_text(MATRIX)
    names = ",".join([*BUILT_IN, *(f"{here}/{name}" for name in CUSTOM), FLAT])
    options = "--seeds 1 --lr 1e-3 --update full,full-hidden,lora-4 --device cpu --jobs 1 --keep-weights all --quiet"
    with patch.dict(OPTIMIZERS), patch.dict(IMPLEMENTATIONS):
        assert invoke(f"run {tiny.write(here)} --optimizer {names} --out {here}/out {options}").code == 0
    return here


def ids(folder: Path, optimizer: str) -> dict[str, str]:
    """Runs of an optimizer, by stage and update."""
    with closing(sqlite3.connect(folder / "out" / "results.db")) as db:
        identities = [(run, json.loads(text)) for run, text in db.execute("SELECT id, identity FROM runs")]
    return {
        f"{identity['stage']} {identity['update']}": run
        for run, identity in identities
        if identity["optimizer"]["name"] == optimizer
    }


@pytest.mark.parametrize("optimizer", [*BUILT_IN, *CUSTOM])
def test_a_run_does_not_diverge_from_the_plain_loop(folder: Path, optimizer: str, call: Caller) -> None:
    runs = ids(folder, optimizer)
    assert set(runs) == {"pretrain full", "finetune full", "finetune full-hidden", "finetune lora-4"}
    option = f"--optimizer {folder}/{optimizer}" if ":" in optimizer else ""
    for stage_and_update, run in runs.items():
        code, out, err = call(f"verify {run[:16]} {option} --out {folder}/out")
        assert (code, err) == (0, ""), stage_and_update
        stage, update = stage_and_update.split()
        assert out.startswith(stage), stage_and_update
        assert f" {optimizer}, {update}, " in out, stage_and_update
        assert f"does not diverge within {12 if stage == 'pretrain' else 10} steps" in out, stage_and_update


def test_the_option_steps_sets_the_number_of_steps(folder: Path, call: Caller) -> None:
    run = ids(folder, "adamw")["pretrain full"]
    _, out, _ = call(f"verify {run} --steps 3 --out {folder}/out")
    assert "within 3 steps" in out
    assert [line.split()[0] for line in out.splitlines() if line.strip()[:1].isdigit()] == ["1", "2", "3"]


def test_the_first_diverging_step_is_printed(folder: Path, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain loop with another momentum is equal at the first step only."""
    original = reference.optimizers
    faulty = lambda name, model, arguments, **options: original(name, model, {**arguments, "momentum": 0.5}, **options)
    monkeypatch.setattr(reference, "optimizers", faulty)
    _, out, _ = call(f"verify {ids(folder, 'sgd')['pretrain full']} --out {folder}/out")
    assert "diverges from the plain PyTorch loop at step 3 " in " ".join(
        out.split()
    )  # the second step has another momentum; the third loss shows it
    assert "update 2 " in " ".join(out.split())


def test_every_kind_of_divergence_has_its_own_sentence() -> None:
    """Grown from rounding, sudden, sudden later, none, and before any update."""
    cases = {
        (5, False, "step to step"): [0, 2e-7, 8e-7, 3e-6, 1.2e-5, 5e-5],
        (3, True, "update 2"): [0, 0, 2e-5],
        (5, True, "update 4"): [0, 2e-7, 0, 2e-7, 1e-3],
        (None, False, "3e-07"): [0, 2e-7, 3e-7],
        (1, True, "before"): [1e-3, 1e-3],
    }
    curves = [
        Curves([1.0 + difference for difference in differences], [1.0] * len(differences))
        for differences in cases.values()
    ]
    assert [(curve.diverges_at, curve.is_sudden) for curve in curves] == [(at, is_sudden) for at, is_sudden, _ in cases]
    assert all(sentence in curve.meaning for curve, (_, _, sentence) in zip(curves, cases, strict=True))
    assert len({curve.meaning for curve in curves}) == len(cases)
    assert Curves([1.0, 1.0, nan], [1.0, 1.0, 1.0]).meaning == curves[1].meaning
    assert Curves([nan, nan], [nan, inf]).diverges_at is None  # both diverged
    assert Curves([nan], [1.0]).diverges_at == 1


@each(
    ("command", "sentence"),
    [
        ("verify {mine}", "mine.py:Mine.*--optimizer path/mine.py:Mine"),  # before another case loads it
        ("verify zz", "'zz'"), ("verify ''", "''"), ("verify {adamw} --optimizer muon", "adamw.*'muon'"),
        ("verify {adamw} --optimizer adamw", "--optimizer"), ("verify {adamw} --optimizer {folder}/mine.py:Mine", "adamw"),
        ("verify {adamw} --optimizer sgd --set optimizer.momentum=0.5", "--set.*--optimizer"),
        (f"verify {{flat}} --optimizer {FLAT}", "lion.py:lion"), ("verify {adamw} --steps 0", "--steps"),
        ("verify {mine} --optimizer {edited}/mine.py:Mine", "mine.py:Mine.*edited"),
    ],
)  # fmt: skip
def test_invalid_input_is_one_sentence(folder: Path, call: Caller, tmp_path: Path, command: str, sentence: str) -> None:
    (tmp_path / "mine.py").write_text(CLASS.replace("0.5", "0.6"))
    runs = {name: ids(folder, label)["pretrain full"] for name, label in
          (("adamw", "adamw"), ("mine", "mine.py:Mine"), ("flat", "lion.py:lion"))}  # fmt: skip
    code, out, err = call(f"{command.format(folder=folder, edited=tmp_path, **runs)} --out {folder}/out")
    assert (code, out) == (2, "")
    assert re.search(sentence, err)
    assert err.count("\n") == 1


def test_an_ambiguous_id_is_one_sentence(folder: Path, call: Caller) -> None:
    runs = [run for name in (*BUILT_IN, *CUSTOM, "lion.py:lion") for run in ids(folder, name).values()]
    first = next(letter for letter in "0123456789abcdef" if sum(run.startswith(letter) for run in runs) > 1)
    count = sum(run.startswith(first) for run in runs)
    code, _, err = call(f"verify {first} --out {folder}/out")
    assert code == 2
    assert f" {count} runs" in err


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder / "out", tmp_path / "out")


def test_a_run_whose_start_weights_are_damaged_names_the_run_to_verify(copied: Path, call: Caller) -> None:
    runs = ids(copied.parent, "adamw")
    (lost,) = (copied / "weights").glob(f"{runs['pretrain full'][:32]}*")
    lost.write_bytes(lost.read_bytes()[:-1] + b"\0")
    code, _, err = call(f"verify {runs['finetune full']} --out {copied}")
    assert code == 2
    assert runs["pretrain full"][:12] in err


@each(
    ("change", "sentence"),
    [
        ("status = 'interrupted'", "finished"),
        ("identity = replace(identity, '\"lr\":0.001', '\"lr\":0.002')", "checksum"),
    ],
)
def test_an_unfinished_or_damaged_run_is_rejected(change: str, sentence: str, copied: Path, call: Caller) -> None:
    run = ids(copied.parent, "adamw")["finetune full"]
    with closing(sqlite3.connect(copied / "results.db")) as db:
        db.execute(f"UPDATE runs SET {change} WHERE id = ?", (run,))
        db.commit()
    code, _, err = call(f"verify {run} --out {copied}")
    assert code == 2
    assert f"run {run[:12]} " in err
    assert sentence in err
