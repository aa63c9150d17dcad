"""Rows of one table that different devices measured: in every format they are compared without pairing, and marked."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from scipy import stats

from synthbench.experiment import identity
from synthbench.experiment.runs import Run
from synthbench.reporting.sentence import UNPAIRED
from tests import tiny
from tests.calling import Caller
from tests.reporting import synthetic_results
from tests.test_columns import CLAIM

HERE, THERE = "AMD EPYC (family 25 model 17, AVX512), MKL 2024.2, Linux", "AMD EPYC, Linux"
# Seed by seed muon learns 0.02 more; unpaired, that is lost in the deviation between seeds.
LEARNED = {"adamw": (0.3, 0.4, 0.5), "muon": (0.32, 0.42, 0.5201), "sgd": (0.1, 0.2, 0.1)}


def device_of(run: Run) -> str:
    return THERE if run.optimizer.name == "adamw" else HERE


def learned(run: Run) -> dict[str, float]:
    return {"learning": LEARNED[run.optimizer.name][run.seed] - 0.01 * (run.update == "lora-4")}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_results.write(
        tmp_path_factory.mktemp("results"), learned, CLAIM,
        "columns=['learning']", optimizers=["adamw", "muon", "sgd"], device_of=device_of,
    )  # fmt: skip


def records(call: Caller, command: str) -> list[dict[str, str]]:
    code, text, err = call(f"{command} --format csv")
    assert (code, err) == (0, "")
    return list(csv.DictReader(io.StringIO(text)))


def is_one_note_with_both_devices(text: str) -> bool:
    notes = [line for line in text.splitlines() if line.startswith("Devices: ")]
    return len(notes) == 1 and HERE in notes[0] and THERE in notes[0]


def test_a_comparison_has_welch_s_numbers(call: Caller, out: Path) -> None:
    finding = records(call, f"compare muon adamw --out {out}")[0]
    expected = stats.ttest_ind(LEARNED["muon"], LEARNED["adamw"], equal_var=False)
    low, high = expected.confidence_interval()
    numbers = [float(finding[key]) for key in ("difference", "low", "high", "p")]
    assert numbers == pytest.approx([0.02003, low, high, expected.pvalue], abs=1e-4)
    assert (finding["paired"], finding["n"]) == ("False", "3")
    assert re.fullmatch(r"inconclusive \(n = 3; about \d+ seeds of each row for 80 % power\)", finding["verdict"])
    paired = records(call, f"compare full lora-4 --optimizer muon --out {out}")[0]
    assert paired["paired"] == "True"
    assert float(paired["p"]) == pytest.approx(2 * stats.t.sf(0.01 * 1024 * 3**0.5, 2))  # equal differences


def test_a_comparison_says_so_in_every_format(call: Caller, out: Path) -> None:
    content = json.loads(call(f"compare muon adamw --out {out} --format json").out)
    assert {row["paired"] for row in content["rows"]} == {False}
    assert f"between muon and adamw ({UNPAIRED}), " in content["sentence"]
    page = call(f"compare muon adamw --out {out} --format markdown").out.replace("\\", "")
    assert page.count("80 % power) (unpaired) |") == 2
    assert is_one_note_with_both_devices(page)
    text = call(f"compare muon adamw --out {out}").out
    assert max(map(len, text.splitlines())) <= 100
    assert "(unpaired)" in text
    assert UNPAIRED not in call(f"compare full lora-4 --out {out}").out


def test_differences_in_a_table_say_which_rows_are_paired(call: Caller, out: Path) -> None:
    paired = {row["optimizer"]: row["paired"] for row in records(call, f"report --versus adamw --out {out}")}
    assert paired == {"adamw": "", "muon": "False", "sgd": "False"}
    page = call(f"report --versus adamw --out {out} --format markdown").out
    low, high = stats.ttest_ind(LEARNED["muon"], LEARNED["adamw"], equal_var=False).confidence_interval()
    assert f"+0.02 ±{(high - low) / 2:.2f}" in page
    assert f"differences to adamw with the same task and update, {UNPAIRED} (" in page
    assert is_one_note_with_both_devices(page)


def test_the_sentence_and_the_claims_say_so(call: Caller, out: Path, tmp_path: Path) -> None:
    content = json.loads(call(f"report --out {out} --format json").out)
    (claim,) = content["claims"]
    assert (claim["answer"], claim["paired"], claim["tasks"]["tiny-task"]["paired"]) == ("inconclusive", False, False)
    (line,) = [line for line in call(f"report --out {out} --format claims").out.splitlines() if line.startswith("1.")]
    assert f"n = 3 ({UNPAIRED})." in line
    assert "(unpaired)" in call(f"report --out {out}").out
    scores = {"rule_accuracy": 0.5}
    without_claims = synthetic_results.write(tmp_path, lambda run: scores, device_of=device_of)
    assert f"({UNPAIRED})." in call(f"report --out {without_claims} --format markdown").out


def test_a_page_names_all_devices_that_measured_its_rows(call: Caller, out: Path) -> None:
    page = call(f"report --out {out} --format markdown").out.replace("\\", "")
    assert f"- Device: {HERE} + {THERE}\n" in page
    assert is_one_note_with_both_devices(page)


def test_a_second_optimizer_trained_on_another_device_is_not_paired(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trains the first optimizer, then both where the processor has another name: finished runs are kept."""
    card, results = tiny.write(tmp_path, synthetic_results.CARD), tmp_path / "results"
    for optimizers, device in (("adamw", THERE), ("adamw,muon", HERE)):
        monkeypatch.setattr(identity, "device_name", lambda kind, path="", device=device: device)
        command = f"run {card} --optimizer {optimizers} --device cpu --jobs 1 --quiet --out {results}"
        code, text, err = call(command)
        assert code == 0, err
    assert f"Devices: {THERE}; {HERE}." in " ".join(text.split())
    rows = records(call, f"report --versus adamw --out {results}")
    assert {(row["optimizer"], row["device"], row["paired"]) for row in rows} == {
        ("adamw", THERE, ""), ("muon", HERE, "False"),
    }  # fmt: skip
