"""Reports: text between the markers of a page, and remarks on arguments and pretraining rates."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench.common.errors import BadInput
from synthbench.reporting.report import put_into
from tests.calling import Caller
from tests.each import each
from tests.reporting import synthetic_results
from tests.reporting.synthetic_results import FULL_UPDATE, equal_scores

BEGIN, END = "<!-- BEGIN synthbench quick -->", "<!-- END synthbench quick -->"


def test_only_the_text_between_the_markers_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_into(page, "quick", "new")
    put_into(page, "quick", "newer")
    assert page.read_text() == f"before\n{BEGIN}\nnewer\n{END}\nafter\n"
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


def test_a_page_keeps_its_byte_order_mark_and_may_begin_with_a_marker(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8-sig")
    put_into(page, "quick", "new")
    assert page.read_text(encoding="utf-8") == f"\ufeff{BEGIN}\nnew\n{END}\n"


@each("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}", BEGIN.replace("quick", "other")])
def test_a_page_without_its_markers_is_refused_and_stays_unchanged(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(BadInput, match=r"page\.md"):
        put_into(page, "quick", "new")
    assert page.read_text() == text


def test_a_missing_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere"):
        put_into(tmp_path / "nowhere.md", "quick", "new")
    assert not list(tmp_path.iterdir())


def test_arguments_and_routing_are_shown_on_the_terminal_only(tmp_path: Path, call: Caller) -> None:
    (tmp_path / "own.py").write_text("import torch\nclass Mine(torch.optim.SGD): pass\n")
    out = synthetic_results.write(
        tmp_path / "out", equal_scores, FULL_UPDATE, "arguments.adamw.betas=[0.9, 0.95]",
        "arguments.sgd.momentum=0.5", "routing=hidden", 'arguments."own.py:Mine".momentum=0.9',
        "variants.late={of='adamw', arguments={eps=1e-6}}",
        optimizers=["adamw", "muon", f"{tmp_path}/own.py:Mine", "late"],
    )  # fmt: skip
    adamw, mine = "betas=[0.9, 0.95]", "momentum=0.9, routing=hidden"
    arguments = f"adamw: {adamw}; late: {adamw}, eps=1e-06; own.py:Mine: {mine}"
    assert arguments in synthetic_results.latest_report(out).remarks[0]
    text = " ".join(call(f"report --out {out}").out.split())
    assert arguments in text
    assert arguments not in call(f"report --format markdown --out {out}").out


def test_a_chosen_pretraining_rate_is_shown_and_marked_at_the_edge(tmp_path: Path) -> None:
    two_rates = "stages.pretrain.lr={adamw=[1e-3, 2e-3], muon=[1e-3]}"  # equal scores: the lower rate is chosen
    out = synthetic_results.write(tmp_path / "out", equal_scores, FULL_UPDATE, two_rates)
    (remark,) = synthetic_results.latest_report(out).remarks
    assert "adamw 0.001!" in remark
    assert "muon" not in remark
    one_rate = "stages.pretrain.lr={adamw=[1e-3], muon=[1e-3]}"
    without_choice = synthetic_results.write(tmp_path / "other", equal_scores, FULL_UPDATE, one_rate)
    assert not synthetic_results.latest_report(without_choice).remarks
