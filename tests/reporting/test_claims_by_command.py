"""Answers to claims by the command: in every format, between markers, in exit codes, and mistakes in a card."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from synthbench.cards import ClaimCard
from synthbench.common.errors import BadInput
from synthbench.experiment.runs import Run
from synthbench.reporting import claim_answers
from tests.analysis.example_rows import CLAIM
from tests.calling import Caller
from tests.each import each
from tests.reporting import synthetic_results


def scores_of(run: Run) -> dict[str, float]:
    return {"learning": 0.7 + 0.01 * run.seed if run.optimizer.name == "muon" else 0.5}


CLAIM_SETTING = (
    'claims=[{{says="More.",source="us",score="learning",rows={{optimizer="muon"}},than={{optimizer="adamw"}},'
    'expected="{}"}}]'
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_results.write(tmp_path_factory.mktemp("results"), scores_of, CLAIM_SETTING.format("higher"))


def test_the_command_that_repeats_a_comparison_runs(call: Caller, out: Path) -> None:
    updates = {"rows": {"optimizer": "muon"}, "than": {"optimizer": "muon", "update": "lora-4"}}
    two_differences = {"rows": {"optimizer": "muon"}, "than": {"optimizer": "adamw", "update": "lora-4"}}
    for claim in ({}, updates):
        command = claim_answers.repeat(ClaimCard.model_validate(CLAIM | claim), out)
        assert command is not None
        assert call(command.removeprefix("synthbench "))[0] == 0
    assert claim_answers.repeat(ClaimCard.model_validate(CLAIM | two_differences), out) is None


def test_a_report_answers_the_claims_of_its_card_in_every_format(call: Caller, out: Path) -> None:
    note, _, line = call(f"report --out {out} --format claims").out.splitlines()
    assert note == claim_answers.NOTE
    assert line.startswith("1. **supported:** More.")
    assert line in call(f"report --out {out} --format markdown").out
    text = " ".join(call(f"report --out {out}").out.split())
    assert "1. More. supported (unpaired) +0.21" in text
    (record,) = json.loads(call(f"report --out {out} --format json").out)["claims"]
    assert (record["answer"], record["difference"], record["n"]) == ("supported", 0.21, 3)
    assert record["tasks"]["tiny-task"]["verdict"] == "higher"


def test_a_report_shows_the_a_a_of_a_card_s_salted_variant(call: Caller, tmp_path: Path) -> None:
    """Both start from one base, so that they are paired: AdamW is 0.02 better than itself at each of three seeds."""

    def salted(run: Run) -> dict[str, float]:
        return {"learning": scores_of(run)["learning"] - 0.02 * (run.salt == "again")}

    settings = (CLAIM_SETTING.format("higher"), "variants.adamw-again={of='adamw', salt='again'}")
    out = synthetic_results.write(tmp_path, salted, *settings, optimizers=["adamw", "muon", "adamw-again"])
    expected = "A/A (adamw on one model again): +0.02 [+0.02, +0.02] (not 0)."
    for form in ("claims", "markdown"):
        assert expected in call(f"report --out {out} --format {form}").out.replace("\\", "")
    (record,) = json.loads(call(f"report --out {out} --format json").out)["claims"]
    assert record["again"]["adamw on one model"]["paired"] is True


def test_claims_are_written_between_their_own_markers(call: Caller, out: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    markers = [f"<!-- {edge} synthbench tiny-runner-claims -->" for edge in ("BEGIN", "END")]
    page.write_text("\n".join(["above", *markers, "below", ""]))
    assert call(f"report --out {out} --format claims --into {page}")[0] == 0
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("above", "below", 7)
    assert lines[4].startswith("1. **supported:** More.")


def test_a_refuted_claim_is_exit_code_1_with_assert_claims(call: Caller, out: Path, tmp_path: Path) -> None:
    assert call(f"report --out {out} --assert-claims")[0] == 0
    refuted = synthetic_results.write(tmp_path / "refuted", scores_of, CLAIM_SETTING.format("lower"))
    assert call(f"report --out {refuted}")[0] == 0
    code, text, err = call(f"report --out {refuted} --assert-claims")
    assert code == 1
    assert all(phrase in err for phrase in ("claim 1", "tiny-runner"))
    assert "refuted" in text


def test_where_no_claim_is_measured_the_report_says_why(call: Caller, tmp_path: Path) -> None:
    at_edge = synthetic_results.write(
        tmp_path / "edge", lambda run: {"learning": run.lr, "validation_learning": 100 * run.lr},
        CLAIM_SETTING.format("higher"),
    )  # fmt: skip
    text = " ".join(call(f"report --out {at_edge}").out.split())
    assert (
        "None of the 1 claims of tiny-runner is measured (the best rate lies at the edge of the grid of muon): " in text
    )
    command = text.partition("of the grid of muon): synthbench ")[2]
    assert "tiny-task (the best rate lies at the edge of the grid of muon)" in call(command).out
    alone = synthetic_results.write(tmp_path / "alone", scores_of, CLAIM_SETTING.format("higher"), optimizers=["adamw"])
    assert "is measured (no rows): " in " ".join(call(f"report --out {alone}").out.split())


def test_a_claim_that_was_not_measured_is_exit_code_3(call: Caller, tmp_path: Path) -> None:
    without_muon = synthetic_results.write(tmp_path, scores_of, CLAIM_SETTING.format("higher"), optimizers=["adamw"])
    assert call(f"report --out {without_muon}")[0] == 0
    code, _, err = call(f"report --out {without_muon} --assert-claims")
    assert code == 3
    assert all(phrase in err for phrase in ("claim 1", "tiny-runner"))


def test_a_card_without_claims_has_none_to_show_or_assert(call: Caller, tmp_path: Path) -> None:
    without_claims = synthetic_results.write(tmp_path, scores_of)
    for option in ("--format claims", "--assert-claims"):
        code, _, err = call(f"report --out {without_claims} {option}")
        assert code == 2
        assert "claims" in err
        assert "tiny" in err
    assert "claims" not in json.loads(call(f"report --out {without_claims} --format json").out)


@each(
    ("mistake", "phrases"),
    [
        ('score="lerning"', ["'lerning'", "'learning'"]),
        ('rows={optimizer="moun"}', ["rows", "'moun'", "'muon'"]),
        ('rows={optimizer="adamw"}', ["rows", "than"]),
        ('tasks=["tini"]', ["tasks", "'tini'"]),
        ('expected="more"', ["claims.0.expected"]),
        ('rows={optimizer="muon",updat="full"}', ["'claims.0.rows.updat'", "'update'"]),
    ],
)
def test_a_mistake_in_a_claim_is_one_sentence_that_says_what_is_allowed(
    tmp_path: Path, mistake: str, phrases: list[str]
) -> None:
    key, claim = mistake.split("=", 1)[0], CLAIM_SETTING.format("higher")
    valid_entries = {
        "score": 'score="learning"', "rows": 'rows={optimizer="muon"}', "expected": 'expected="higher"',
        "tasks": 'says="More."',
    }  # fmt: skip
    entry = mistake if key != "tasks" else f'says="More.",{mistake}'
    with pytest.raises(BadInput) as raised:
        synthetic_results.write(tmp_path, scores_of, claim.replace(valid_entries[key], entry))
    assert all(phrase in str(raised.value) for phrase in phrases)
    assert "\n" not in str(raised.value)


def test_the_command_of_a_claim_about_a_base_names_it(call: Caller, tmp_path: Path) -> None:
    """And an experiment with a matrix answers an interaction, by way of its card."""
    settings = (
        "stages.finetune.optimizer=['adamw','muon']", synthetic_results.FULL_UPDATE,
        'claims=[{says="Matched is better.",source="us",kind="interaction",score="learning",expected="higher",'
        'matrix={optimizers=["adamw","muon"]}},'
        '{says="Muon is better on one base.",source="us",score="learning",expected="higher",readings=["end","steps"],'
        'rows={optimizer="muon",base="adamw"},than={optimizer="adamw"}}]',
    )  # fmt: skip

    def matched(run: Run) -> dict[str, float]:
        """Of the second base, which has another rate, all is better; so is Muon."""
        return {"learning": 0.5 + 0.01 * run.seed + 0.1 * (run.optimizer.name == "muon")}

    out = synthetic_results.write(tmp_path, matched, *settings)
    first, second = json.loads(call(f"report --out {out} --format json").out)["claims"]
    assert (first["answer"], first["difference"], first["n"]) == ("no difference", 0.0, 3)
    assert (second["answer"], second["difference"]) == ("supported", 0.1)
    lines = call(f"report --out {out} --format claims").out.splitlines()
    command = re.findall(r"`(synthbench compare [^`]+)`", lines[-1])[0]
    assert command.startswith(
        "synthbench compare 'muon on adamw' adamw --update full --columns learning,learning@steps"
    )
    assert call(command.removeprefix("synthbench "))[0] == 0
