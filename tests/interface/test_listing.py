"""`ls` and `show`: names are never broken, and an optimizer from a file is shown like a built-in one."""

from __future__ import annotations

from pathlib import Path

from synthbench.scores import SCORES
from tests.calling import Caller

FILE = '''
import torch, synthbench
class Mine(torch.optim.SGD):
    """Takes its step."""
    def __init__(self, params, lr=3e-2, needs=..., floor=0.25, betas=(0.9, 0.95), weight_decay=0.0, *, must, **more):
        super().__init__(params, lr=lr)
class Plain(torch.optim.SGD):
    def __init__(self, params, lr=1e-3):
        super().__init__(params, lr=lr)
@synthbench.matrix_optimizer(lr=1e-2, routing="hidden", beta=0.9)
def update(grad, state, param, hyper):
    return param - hyper.lr * grad, state
'''


def show(call: Caller, folder: Path, name: str) -> str:
    (folder / "mine.py").write_text(FILE)
    code, out, err = call(f"show optimizer {folder}/mine.py:{name}")
    assert (code, err) == (0, "")
    return out


def test_a_class_is_shown_with_its_arguments_grid_and_routing(call: Caller, tmp_path: Path) -> None:
    out = show(call, tmp_path, "Mine")
    assert out.startswith("mine.py:Mine: Takes its step.\n")
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if len(line.split()) >= 2)
    defaults = {"floor": "0.25", "betas": "(0.9, 0.95)", "must": "needed", "routing": "all", "aux_lr_ratio": "None"}
    assert {name: rows[name].strip() for name in defaults} == defaults
    assert not {"lr", "weight_decay", "more"} & rows.keys()  # options of the card, and arguments without a name
    assert rows["*"].strip() == "mine.py:Mine"
    assert "0.003, 0.009, 0.03, 0.09, 0.3 (" in out
    assert show(call, tmp_path, "Plain").strip().endswith(f"--optimizer {tmp_path}/mine.py:Plain --set routing=hidden")


def test_a_matrix_optimizer_is_shown_with_its_routing_and_a_command_that_runs(call: Caller, tmp_path: Path) -> None:
    out = show(call, tmp_path, "update")
    rows = {tuple(line.split()) for line in out.splitlines()}
    assert {("*norm*", "adamw-beside"), ("layers.*", "mine.py:update")} <= rows
    command = out.strip().splitlines()[-1].partition(": synthbench ")[2]
    assert command.endswith(f"--optimizer {tmp_path}/mine.py:update --set optimizer.beta=0.9")
    assert call(f"{command} --dry-run").code == 0


def test_names_of_scores_are_never_broken_in_a_list(call: Caller) -> None:
    words = call("ls score").out.split()
    assert set(SCORES) <= set(words)
    in_formulas = {word for score in SCORES.values() for word in score.formula.split() if word in SCORES}
    assert "dataset_bits_per_param" in in_formulas
    assert all(words.count(name) >= 2 for name in in_formulas)
