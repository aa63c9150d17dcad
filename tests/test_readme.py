"""Every command that the README shows runs; the first two blocks are run by .ci/run and by a new user."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.calling import Caller

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S)
COMMANDS = [[line.split("  #")[0].strip() for line in block.splitlines()] for block in BLOCKS[2:]]
# What trains does so on a card of few steps and a small model. By a command's last or first word, what is added to it.
CARD = (
    "pretrain.steps=2", "pretrain.for.sgd.steps=2", "finetune.steps=2", "finetune.points=1", "finetune.update=['full']",
    "finetune.examples.fact=8", "finetune.examples.rule=24", "pretrain.examples.rule=24", "pretrain.examples.fact=8",
)  # fmt: skip
SMALL = " ".join(
    ["--seeds 1 --jobs 1 --quiet --set reading.sample=8 --set 'model={width=16,layers=1,head_width=8}'"]
    + [f'--set "stages.{setting}"' for setting in CARD]
)
MORE = {"run": SMALL, "baseline": f"{SMALL} --seeds 5", "--dry-run": ""}


def test_the_first_two_blocks_are_one_line_each_and_set_themselves_up() -> None:
    run, test = (block.strip() for block in BLOCKS[:2])
    for line in (run, test):
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt")
    assert run.endswith("synthbench run --optimizer muon")
    assert ".venv/bin/pytest" in test


@pytest.mark.parametrize("block", range(len(COMMANDS)))
def test_every_other_block_runs(block: int, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commands in order and in one folder. A class of one's own behaves in another way than the baseline."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("import torch\n\nclass MyMuon(torch.optim.SGD):\n    pass\n")
    for command in COMMANDS[block]:
        program, *words = shlex.split(command)
        assert program == "synthbench"
        more = next((MORE[word] for word in (words[-1], words[0]) if word in MORE), "")
        code, out, err = call(f"{shlex.join(words)} {more}")
        assert code == (1 if "mine.py:" in command else 0), f"{command}: {err}"
        assert out, command


def test_every_column_that_it_explains_is_in_the_table() -> None:
    from synthbench.cards import RunnerCard, load

    explained = re.findall(r"^\| `([a-z_@]+)` \|", README.partition("## What the columns mean")[2], re.M)
    assert explained == load(RunnerCard, "quick").columns
