"""What a distribution offers under a name: a small real one, its metadata and all, on the path of a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.calling import SHORT
from tests.experiment import tiny
from tests.plugins.test_generators_of_one_s_own import CODE

ROOT = Path(__file__).resolve().parents[2]
RULE = '''
from pathlib import Path
import synthbench

Path(__file__).with_name("imported").touch()


@synthbench.matrix_rule(lr=1e-3)
def plain(grad, state, param, hyper):
    """Gradient descent."""
    return param - hyper.lr * grad, state
'''


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
def installed(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    install(
        folder, "offering",
        "[synthbench.rules]\nplain = offered_rule:plain\nsgd = offered_rule:plain\n[synthbench.generators]\n"
        "turned = offered_generator:backwards\nbroken = offered_generator\n",
        {"offered_rule.py": RULE, "offered_generator.py": CODE},
    )  # fmt: skip
    return folder


def call(command: str, installed: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{installed}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-m", "synthbench", *command.split()], env=env, capture_output=True, text=True, check=False
    )


def test_ls_says_what_is_offered_and_imports_none_of_it(installed: Path) -> None:
    rules = call("ls optimizer", installed).stdout
    assert "offered_rule:plain, of offering 1.2" in " ".join(rules.split())
    assert "offered_generator:backwards, of offering 1.2" in " ".join(call("ls generator", installed).stdout.split())
    assert call("run --optimizer sgd --dry-run", installed).returncode == 0  # a built-in name means the built-in one
    assert not (installed / "imported").exists()


def test_a_rule_and_a_generator_are_run_by_their_names(installed: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    content = tiny.TASK.replace('"inflection"', '"turned"').replace("shifts = [3, 5], ", "")
    card.write_text(content.replace("shifts = [7], ", ""))
    command = f"run --optimizer plain --task {card} {SHORT} --update full --lr 1e-3,2e-3 --out {tmp_path}/out"
    done = call(command.replace("--jobs 1", "--jobs 2"), installed)
    assert done.returncode == 0, done.stderr
    assert (installed / "imported").exists()
    assert f"{card} names code, which is run: offered_generator" in done.stderr
    exported = [json.loads(line) for line in call(f"export --out {tmp_path}/out", installed).stdout.splitlines()]
    assert {one["optimizer"] for one in exported} == {"plain"}
    assert len([one for one in exported if one["stage"] == "finetune"]) == 2


def test_a_name_that_two_distributions_offer_is_refused(installed: Path) -> None:
    install(installed, "other", "[synthbench.rules]\nplain = elsewhere:plain\n", {})
    done = call("run --optimizer plain --dry-run", installed)
    assert done.returncode == 2
    assert "'plain' is offered by other 1.2 (elsewhere:plain) and offering 1.2 (offered_rule:plain)" in done.stderr


def test_an_offer_that_is_no_module_and_name_is_one_sentence(installed: Path, tmp_path: Path) -> None:
    card = tmp_path / "card.toml"
    card.write_text(tiny.TASK.replace('"inflection"', '"broken"'))
    done = call(f"show task {card}", installed)
    assert done.returncode == 2
    assert "give pkg.mod:Name or path/file.py:Name" in done.stderr.splitlines()[-1]


def test_an_unknown_name_is_still_unknown(installed: Path) -> None:
    done = call("run --optimizer plian --dry-run", installed)
    assert done.returncode == 2
    assert done.stderr.startswith("synthbench: Unknown optimizer 'plian'")
