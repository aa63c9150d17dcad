"""Below a table on a terminal: what its rows were given, and the rates of pretraining that were chosen of several."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from synthbench.experiment.runs import Run
from synthbench.experiment.store import Store
from synthbench.reporting import report
from tests.calling import Caller
from tests.reporting import filled

FULL = "stages.finetune.update=['full']"


def scored(run: Run) -> dict[str, float]:
    return {"learning": 0.5}


def remarks(out: Path) -> list[str]:
    with closing(Store.read(out)) as store:
        return list(report.latest(store).remarks)


def test_arguments_and_routing_of_measured_rows_are_shown_on_the_terminal_alone(tmp_path: Path, call: Caller) -> None:
    (tmp_path / "own.py").write_text("import torch\nclass Mine(torch.optim.SGD): pass\n")
    out = filled.folder(
        tmp_path / "out", scored, FULL, "arguments.adamw.betas=[0.9, 0.95]", "arguments.sgd.momentum=0.5", "routing=hidden",
        'arguments."own.py:Mine".momentum=0.9', "arms.late={of='adamw', arguments={eps=1e-6}}",
        optimizers=["adamw", "muon", f"{tmp_path}/own.py:Mine", "late"],
    )  # fmt: skip
    adamw, mine = "betas=[0.9, 0.95]", "momentum=0.9, routing=hidden"
    given = f"adamw: {adamw}; late: {adamw}, eps=1e-06; own.py:Mine: {mine}"
    assert given in remarks(out)[0]
    shown = " ".join(call(f"report --out {out}").out.split())
    assert given in shown
    assert given not in call(f"report --format markdown --out {out}").out


def test_a_rate_of_pretraining_that_was_chosen_is_shown_and_marked_at_the_edge(tmp_path: Path) -> None:
    several = "stages.pretrain.lr={adamw=[1e-3, 2e-3], muon=[1e-3]}"  # scored alike: the lower one is chosen
    out = filled.folder(tmp_path / "out", scored, FULL, several)
    (remark,) = remarks(out)
    assert "adamw 0.001!" in remark
    assert "muon" not in remark
    inside = "stages.pretrain.lr={adamw=[1e-3], muon=[1e-3]}"
    assert remarks(filled.folder(tmp_path / "other", scored, FULL, inside)) == []
