"""The path of training steps on the command line: chosen, part of every run's identity, shown, never mixed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from synthbench.experiment import identity
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.trainer.native import build
from synthbench.trainer.native import path as paths
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.trainer import native

OPTIONS = "--seeds 3 --device cpu --jobs 1 --quiet"
CLASS = """
import torch
class Mine(torch.optim.SGD):
    def __init__(self, params, lr=1e-2, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay, momentum=0.5)
"""


@pytest.fixture
def without_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)


def exported(call: Caller, out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in call(f"export --out {out}").out.splitlines()]


def by_setting(runs: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    names = ("stage", "optimizer", "trainable", "lr", "seed")
    return {json.dumps([run[name] for name in names]): run for run in runs}


@each("update", ["full", "full-hidden", "lora-4"])
def test_both_paths_train_the_same_runs_under_ids_of_their_own(call: Caller, tmp_path: Path, update: str) -> None:
    native.load()
    runs = {}
    for path in (paths.TORCH, paths.NATIVE):
        out = tmp_path / f"{path}-{update}"
        command = f"run {tiny.write(tmp_path)} --optimizer adamw,muon,sgd --update {update} --lr 1e-3 --out {out}"
        code, _, err = call(f"{command} --path {path} {OPTIONS}")
        assert code == 0, err
        runs[path] = by_setting(exported(call, out))
    torchs, natives = runs.values()
    assert torchs.keys() == natives.keys()
    for setting, run in natives.items():
        other = torchs[setting]
        assert run["run"] != other["run"]
        assert run["device"].startswith(f"{other['device']}, {paths.MARK}")
        for name, value in run["scores"].items():
            expected = other["scores"][name]
            assert value == (expected and pytest.approx(expected, rel=1e-3, abs=1e-3)), (setting, name)


def test_a_folder_with_both_paths_shows_the_rows_of_one(call: Caller, tmp_path: Path) -> None:
    native.load()
    card = tiny.write(tmp_path)
    for path, optimizer in ((paths.TORCH, "adamw"), (paths.NATIVE, "sgd")):
        code, text, err = call(
            f"run {card} --optimizer {optimizer} --lr 1e-3 --path {path} {OPTIONS} --out {tmp_path}/out"
        )
        assert code == 0, err
    assert "Trained on the native path (" in " ".join(text.split())
    assert "adamw" not in text
    page = call(f"report --out {tmp_path}/out --format markdown").out
    assert f"- Device: {identity.device_name('cpu')}, {paths.MARK}" in page.replace("\\", "")


def test_a_plug_in_is_trained_by_its_own_code(call: Caller, tmp_path: Path) -> None:
    native.load()
    (tmp_path / "mine.py").write_text(CLASS)
    scores = {}
    for path in (paths.TORCH, paths.NATIVE):
        command = f"run {tiny.write(tmp_path)} --optimizer {tmp_path}/mine.py:Mine --lr 1e-2 --set tuning=card"
        code, _, err = call(
            f"{command} --set stages.pretrain.lr=[0.01] --path {path} {OPTIONS} --out {tmp_path}/{path}"
        )
        assert code == 0, err
        scores[path] = [run["scores"]["validation_loss"] for run in exported(call, tmp_path / path)]
    assert scores[paths.NATIVE] == pytest.approx(scores[paths.TORCH], rel=1e-4)


def test_a_dry_run_says_that_the_path_is_native(call: Caller, tmp_path: Path) -> None:
    native.load()
    card = tiny.write(tmp_path)
    text = {path: call(f"run {card} --path {path} --device cpu --dry-run").out for path in (paths.TORCH, paths.NATIVE)}
    assert "native" not in text[paths.TORCH]
    assert re.search(r"in all: .* workers, native path; about", text[paths.NATIVE])


def test_a_stored_native_run_is_verified_on_its_path(call: Caller, tmp_path: Path) -> None:
    native.load()
    out = tmp_path / "out"
    code, _, err = call(f"run {tiny.write(tmp_path)} --path native --keep-weights all {OPTIONS} --out {out}")
    assert code == 0, err
    for run in exported(call, out)[:1] + exported(call, out)[-1:]:
        code, text, err = call(f"verify {run['run'][:16]} --out {out}")
        assert code == 0, text + err


@pytest.mark.usefixtures("without_compiler")
def test_without_a_compiler_auto_is_torch_and_says_so(call: Caller, tmp_path: Path) -> None:
    card, ids = tiny.write(tmp_path), {}
    for path in (paths.AUTO, paths.TORCH):
        code, _, err = call(f"run {card} --path {path} {OPTIONS} --out {tmp_path}/{path}")
        assert code == 0, err
        sentence = (
            "Training takes torch's path, which is slower; the native one cannot be taken: no C++ compiler was found"
        )
        assert (sentence in err) == (path == paths.AUTO)
        ids[path] = {run["run"] for run in exported(call, tmp_path / path)}
    assert ids[paths.AUTO] == ids[paths.TORCH]


@pytest.mark.usefixtures("without_compiler")
def test_without_a_compiler_native_is_refused_in_a_sentence(call: Caller, tmp_path: Path) -> None:
    completed = call(f"run {tiny.write(tmp_path)} --path native {OPTIONS} --out {tmp_path}/out")
    assert completed.code == 2
    assert completed.has_plain_error
    assert "--path native cannot be taken: no C++ compiler was found; install g++" in completed.err


def test_an_unknown_path_is_refused(call: Caller) -> None:
    completed = call("run --path fast")
    assert (completed.code, completed.has_plain_error) == (2, True)
    assert "--path 'fast'" in completed.err


def test_the_path_is_of_the_whole_experiment() -> None:
    native.load()
    environments = {
        path: {at.environment for at in resolve(RunRequest(path=path, device="cpu")).points}
        for path in (paths.TORCH, paths.NATIVE)
    }
    (torchs,), (natives,) = environments.values()
    assert (torchs.path, natives.path) == (paths.TORCH, paths.NATIVE)
    assert torchs.source == identity.training_source() != natives.source


def test_native_examples_have_a_longest_length() -> None:
    sentences: list[str] = []
    assert paths.chosen(paths.AUTO, "cpu", paths.MOST_TOKENS + 1, sentences.append) == paths.TORCH
    assert "examples have 257 tokens, and it takes at most 256" in sentences[0]
    assert paths.chosen(paths.AUTO, "cuda", 8, sentences.append) == paths.TORCH
    assert len(sentences) == 1


def test_ids_of_torchs_path_do_not_hash_the_native_one() -> None:
    """And those of native runs hash it: the C++, and the Python that calls it."""
    hashed = {path.relative_to(identity.PACKAGE).parts[:2] for path in build.SOURCES}
    assert hashed == {("trainer", "native")}
    assert paths.source() not in identity.training_source()
    assert identity.training_source(path=paths.NATIVE) != identity.training_source()
