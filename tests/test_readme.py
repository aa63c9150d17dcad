"""The commands of README.md, docs/run.md and docs/results.md run; .ci/run tests the first two blocks of README.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.calling import Caller

ROOT = Path(__file__).resolve().parent.parent
MOST_LINES = 120
README, RUN, RESULTS = (
    (ROOT / f"{page}.md").read_text(encoding="utf-8") for page in ("README", "docs/run", "docs/results")
)
# Options that make training commands small, by the last or the first word of a command.
SMALL_STAGES = (
    "pretrain.steps=2", "pretrain.for.sgd.steps=2", "finetune.steps=2", "finetune.points=1", "finetune.update=['full']",
    "finetune.examples.fact=8", "finetune.examples.rule=24", "pretrain.examples.rule=24", "pretrain.examples.fact=8",
)  # fmt: skip
SMALL = " ".join(
    ["--seeds 1 --jobs 1 --quiet --set reading.sample=8 --set 'model={width=16,layers=1,head_width=8}'"]
    + [f'--set "stages.{setting}"' for setting in SMALL_STAGES]
)
OPTIONS = {"run": SMALL, "baseline": f"{SMALL} --seeds 5", "--dry-run": ""}


def blocks(page: str) -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S)


def commands(block: str) -> list[str]:
    return [line.split("  #")[0].strip() for line in block.splitlines()]


# Lists of commands; each list runs in one folder, in order.
COMMANDS_BY_FOLDER = [
    *map(commands, blocks(README)[2:]),
    commands("".join(blocks(RUN))),
    commands("".join(blocks(RESULTS))),
]


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MOST_LINES


def test_the_first_two_blocks_are_one_self_contained_line_each() -> None:
    run_line, test_line = (block.strip() for block in blocks(README)[:2])
    for line in (run_line, test_line):
        assert "\n" not in line
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt")
    assert run_line.endswith("synthbench run --optimizer muon")
    assert ".venv/bin/pytest" in test_line


@pytest.mark.parametrize("lines", COMMANDS_BY_FOLDER, ids=lambda lines: lines[0])
def test_every_other_command_runs(
    lines: list[str], call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate finds that the plug-in differs from the baseline, so its command exits with 1."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("import torch\n\nclass MyMuon(torch.optim.SGD):\n    pass\n")
    for command in lines:
        program, *words = shlex.split(command)
        assert program == "synthbench"
        options = next((OPTIONS[word] for word in (words[-1], words[0]) if word in OPTIONS), "")
        code, out, err = call(f"{shlex.join(words)} {options}")
        assert code == (1 if "mine.py:" in command else 0), f"{command}: {err}"
        assert out, command


def test_the_explained_columns_are_those_of_the_table() -> None:
    from synthbench.cards import RunnerCard, load

    columns = load(RunnerCard, "quick").columns
    explained = re.findall(r"^\| `([a-z_@]+)` \|", RUN.partition("## Read the table")[2].partition("## ")[0], re.M)
    assert explained == columns
    assert all(f"`{column.removesuffix('@fit')}`" in README for column in columns)
