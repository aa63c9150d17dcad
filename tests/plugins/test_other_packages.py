"""Optimizers of the `pytorch_optimizer` package (the extra `optimizers`), and one of heavyball, on the command line."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from synthbench.common.wording import literal
from synthbench.plugins.loading import label
from tests import optimizers
from tests.calling import SHORT, Caller

NAMES = ["Lion", "SOAP", "Shampoo", "AdEMAMix", "MARS", "AdaFactor", "ScheduleFreeAdamW", "Prodigy", "ADOPT", "CAME",
         "Adan", "Muon", "AdaMuon", "NorMuon", "MuonClip", "AdaGO", "AdamMini"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_optimizer_of_another_package_runs_and_is_recorded(call: Caller, tmp_path: Path, name: str) -> None:
    full = f"{optimizers.PACKAGE}:{name}"
    needs = " ".join(f"--set optimizer.{key}={value}" for key, value in optimizers.NEEDS.get(full, {}).items())
    code, _, err = call(f"run --optimizer {full} {needs} {SHORT} --update lora-4 --quiet --out {tmp_path}")
    assert code == 0, err
    runs = [json.loads(line) for line in call(f"export --format jsonl --out {tmp_path}").out.splitlines()]
    rows = json.loads(call(f"report --format json --out {tmp_path}").out)["rows"]
    (row,) = [row for row in rows if not row["reference"]]
    least, most = (1 + 1, 1 + 1) if row["own_rate"] else (5 + 5, 7 + 7)  # rates of pretraining, and of finetuning
    assert least <= len(runs) <= most
    assert row["own_rate"] == (name == "AdaFactor")
    assert "ok" in {run["status"] for run in runs} <= {"ok", "diverged"}
    assert {run["versions"][optimizers.PACKAGE] for run in runs} == {version(optimizers.PACKAGE)}
    (chosen,) = {run["parent"] for run in runs if run["parent"]}
    assert chosen in {run["run"] for run in runs if run["stage"] == "pretrain"}


@pytest.mark.slow
@pytest.mark.processes
def test_an_optimizer_that_compiles_its_steps_runs_by_its_name(call: Caller, tmp_path: Path) -> None:
    pytest.importorskip("heavyball", reason="heavyball is not installed, and in no extra")
    code, out, err = call(f"run --optimizer heavyball:Muon {SHORT} --update full --quiet --out {tmp_path}")
    assert code == 0, err
    assert "heavyball:Muon" in out


def test_the_published_page_has_every_optimizer_with_its_settings() -> None:
    page = (Path(__file__).resolve().parents[2] / "reports" / "optimizers.md").read_text(encoding="utf-8")
    assert f"synthbench {optimizers.COMMAND}`" in page
    for name, needs in optimizers.NEEDS.items():
        assert any(cell in page for cell in (f"| {literal(label(name))} ", f"`{label(name)}`"))
        assert all(f"--set optimizer.{key}={value}" in page for key, value in needs.items())
    assert len(optimizers.NEEDS) >= 30
