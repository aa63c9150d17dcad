"""Every command that the README shows runs; the first two blocks are run by .ci/run and by a new user."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.calling import SHORT, Caller

README = (Path(__file__).resolve().parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S)
COMMANDS = [line.split("  #")[0].strip() for block in BLOCKS[2:] for line in block.splitlines() if line.strip()]


def test_the_first_two_blocks_are_one_line_each_and_set_themselves_up() -> None:
    run, test = (block.strip() for block in BLOCKS[:2])
    for line in (run, test):
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt")
    assert run.endswith("synthbench run --optimizer muon")
    assert ".venv/bin/pytest" in test


def test_every_other_command_runs(call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order and in one folder; what trains does so on a shortened card. A class of one's own behaves in another way."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("import torch\n\nclass MyMuon(torch.optim.SGD):\n    pass\n")
    assert len(COMMANDS) >= 8
    for command in COMMANDS:
        program, *words = shlex.split(command)
        assert program == "synthbench"
        more = {"run": f"{SHORT} --quiet", "baseline": f"{SHORT} --seeds 5 --quiet"}.get(words[0], "")
        code, out, err = call(f"{shlex.join(words)} {more}")
        assert code == (1 if "mine.py:" in command else 0), f"{command}: {err}"
        assert out


def test_every_column_that_it_explains_is_in_the_table() -> None:
    from synthbench.cards import RunnerCard, load

    explained = re.findall(r"^\| `([a-z_@]+)` \|", README.partition("## What the columns mean")[2], re.M)
    assert explained == load(RunnerCard, "quick").columns
