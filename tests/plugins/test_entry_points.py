"""Entry points of a small distribution, which is put with its metadata on the import path."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests import tiny
from tests.calling import Caller
from tests.plugins.test_generator_plugins import CODE, card_with

OPTIMIZER = '''
from pathlib import Path
import synthbench

Path(__file__).with_name("imported").touch()


@synthbench.matrix_optimizer(lr=1e-3)
def plain(grad, state, param, hyper):
    """Gradient descent."""
    return param - hyper.lr * grad, state
'''
ENTRY_POINTS = """
[synthbench.optimizers]
plain = offered_optimizer:plain
sgd = offered_optimizer:plain
[synthbench.generators]
turned = offered_generator:backwards
broken = offered_generator
"""


def install(folder: Path, name: str, entry_points: str, files: dict[str, str]) -> None:
    """Puts a distribution into a folder, as an installer leaves it."""
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(entry_points)
    for file, text in files.items():
        (folder / file).write_text(text)
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a distribution that is installed for one test."""
    install(
        tmp_path / "site", "offering", ENTRY_POINTS, {"offered_optimizer.py": OPTIMIZER, "offered_generator.py": CODE}
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    for name in ("offered_optimizer", "offered_generator"):
        monkeypatch.setitem(sys.modules, name, None)  # undoes the import after the test
        del sys.modules[name]
    return tmp_path / "site"


def test_entry_points_are_listed_without_import(installed: Path, call: Caller) -> None:
    assert "offered_optimizer:plain, of offering 1.2" in " ".join(call("ls optimizer").out.split())
    assert "offered_generator:backwards, of offering 1.2" in " ".join(call("ls generator").out.split())
    assert call("run --optimizer sgd --dry-run").code == 0  # a built-in name means the built-in one
    assert not (installed / "imported").exists()


@pytest.mark.processes
def test_an_optimizer_and_a_generator_run_by_name_in_workers_too(installed: Path, call: Caller, tmp_path: Path) -> None:
    task, out = card_with("turned", tmp_path), tmp_path / "out"
    settings = "--set seeds=1 --update full --jobs 1 --quiet"
    code, _, err = call(f"run {tiny.write(tmp_path)} --optimizer plain --task {task} {settings} --out {out}")
    assert code == 0, err
    assert (installed / "imported").exists()
    (announced,) = (line for line in err.splitlines() if str(task) in line)  # by this process, and by no worker
    assert "offered_generator" in announced
    exported = [json.loads(line) for line in call(f"export --out {out}").out.splitlines()]
    assert {(run["optimizer"], run["versions"]["offering"]) for run in exported} == {("plain", "1.2")}
    assert len([run for run in exported if run["stage"] == "finetune"]) == 2


@pytest.mark.usefixtures("installed")
def test_an_invalid_entry_point_is_one_sentence(call: Caller, tmp_path: Path) -> None:
    code, _, err = call(f"show task {card_with('broken', tmp_path)}")
    assert code == 2
    assert "offered_generator" in err.splitlines()[-1]
    install(tmp_path / "site", "other", "[synthbench.optimizers]\nplain = elsewhere:plain\n", {})
    code, _, err = call("run --optimizer plain --dry-run")
    assert code == 2
    assert "other 1.2 (elsewhere:plain) and offering 1.2 (offered_optimizer:plain)" in err
    code, _, err = call("run --optimizer plian --dry-run")
    assert code == 2
    assert "plian" in err


def test_the_former_group_is_read_with_one_line_that_names_the_new_group(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A distribution with the same entry point in both groups gets no line."""
    former = "[synthbench.rules]\nplain = offered_optimizer:plain\n"
    install(tmp_path / "site", "earlier", former, {"offered_optimizer.py": OPTIMIZER})
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setitem(sys.modules, "offered_optimizer", None)
    del sys.modules["offered_optimizer"]
    assert "offered_optimizer:plain, of earlier 1.2" in " ".join(call("ls optimizer").out.split())
    code, _, err = call("run --optimizer plain --dry-run")
    assert code == 0
    assert err.count("\n") == 1
    assert all(name in err for name in ("earlier 1.2", "plain", "synthbench.rules", "synthbench.optimizers"))
    install(tmp_path / "both", "both", former + former.replace("rules", "optimizers"), {})
    monkeypatch.syspath_prepend(tmp_path / "both")
    shutil.rmtree(tmp_path / "site" / "earlier-1.2.dist-info")
    assert call("run --optimizer plain --dry-run")[::2] == (0, "")
