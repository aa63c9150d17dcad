"""The README's recipe for one's own optimizer is fair: AdamW as a plug-in ties with the shipped AdamW on every score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthbench.analysis.verdict import LEVEL
from tests.calling import Caller

CLASS = """
import torch

class Mine(torch.optim.AdamW):
    "AdamW with the betas that the card gives it."
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.01):
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay)
"""


@pytest.mark.slow
@pytest.mark.processes
def test_adamw_as_a_plug_in_ties_with_the_reference_rows_of_adamw(call: Caller, tmp_path: Path) -> None:
    """Both had the same trials, so that every score has a verdict; none is a difference after Holm's correction."""
    (tmp_path / "mine.py").write_text(CLASS)
    code, out, err = call(f"run --optimizer {tmp_path}/mine.py:Mine --quiet --out {tmp_path}/out")
    assert code == 0, err
    assert "not comparable" not in out
    assert "measures the starred rows here" in out
    code, text, err = call(f"compare mine.py:Mine adamw --format json --out {tmp_path}/out")
    assert code == 0, err
    findings = json.loads(text)["rows"]
    assert {finding["trainable"] for finding in findings} == {"full", "lora-16"}
    assert all(finding["reference"] and finding["n"] == 8 for finding in findings)
    assert not [finding for finding in findings if finding["verdict"].startswith("not comparable")]
    assert all(finding["p_holm"] >= LEVEL for finding in findings)
    learning = [finding["difference"] for finding in findings if finding["score"] == "learning@fit"]
    assert len(learning) == 2
    assert all(abs(difference) < 0.05 for difference in learning)  # the former recipe: 0.09
