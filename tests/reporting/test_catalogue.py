"""`ls` and `show`: names stay whole, and an optimizer of one's own is shown like any other."""

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
def rule(grad, state, param, hyper):
    return param - hyper.lr * grad, state
'''


def shown(call: Caller, folder: Path, name: str) -> str:
    (folder / "own.py").write_text(FILE)
    code, out, err = call(f"show optimizer {folder}/own.py:{name}")
    assert (code, err) == (0, "")
    return out


def test_a_class_is_shown_with_its_arguments_grid_and_routing(call: Caller, tmp_path: Path) -> None:
    out = shown(call, tmp_path, "Mine")
    assert out.startswith("own.py:Mine: Takes its step.\n")
    rows = dict(line.split(maxsplit=1) for line in out.splitlines() if len(line.split()) >= 2)
    defaults = {"floor": "0.25", "betas": "(0.9, 0.95)", "must": "needed", "routing": "all", "aux_lr_ratio": "1.0"}
    assert {name: rows[name].strip() for name in defaults} == defaults
    assert not {"lr", "weight_decay", "more"} & rows.keys()  # given elsewhere, or no name at all
    assert rows["*"].strip() == "own.py:Mine"
    assert "0.003, 0.009, 0.03, 0.09, 0.3 (" in out
    assert shown(call, tmp_path, "Plain").strip().endswith(f"--optimizer {tmp_path}/own.py:Plain --set routing=hidden")


def test_a_rule_for_hidden_matrices_is_shown_with_its_routing_and_what_it_says_to_set_can_be_set(
    call: Caller, tmp_path: Path
) -> None:
    out = shown(call, tmp_path, "rule")
    rows = {tuple(line.split()) for line in out.splitlines()}
    assert {("*norm*", "adamw-beside"), ("layers.*", "own.py:rule")} <= rows
    command = out.strip().splitlines()[-1].partition(": synthbench ")[2]
    assert command.endswith(f"--optimizer {tmp_path}/own.py:rule --set optimizer.beta=0.9")
    assert call(f"{command} --dry-run").code == 0


def test_no_list_breaks_a_name_of_a_score(call: Caller) -> None:
    words = call("ls score").out.split()
    assert set(SCORES) <= set(words)
    of_formulas = {word for score in SCORES.values() for word in score.formula.split() if word in SCORES}
    assert "dataset_bits_per_param" in of_formulas
    assert all(words.count(name) >= 2 for name in of_formulas)
