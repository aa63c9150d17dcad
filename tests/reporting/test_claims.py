"""Claims of a card: answered from the mean over tasks, paired over seeds, in words and in exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from scipy import stats

from synthbench.analysis.claims import Answer, Kind, answers
from synthbench.analysis.rows import Row
from synthbench.cards import ClaimCard, RunnerCard, parse
from synthbench.common.errors import BadInput
from synthbench.experiment.runs import Run
from synthbench.reporting import claim_answers
from tests.calling import Caller
from tests.each import each
from tests.reporting import filled
from tests.reporting.made import CARD, SPEED, row

NOISE = [0.01, -0.01, 0.02, -0.02, 0.0, 0.005, -0.005, 0.015]
CLAIM = {
    "says": "Muon learns more.", "source": "a paper", "score": "learning", "rows": {"optimizer": "muon"},
    "than": {"optimizer": "adamw"}, "expected": "higher",
}  # fmt: skip


def card(*claims: dict[str, object]) -> RunnerCard:
    made = [ClaimCard.model_validate(CLAIM | claim) for claim in claims]
    return CARD.model_copy(update={"seeds": 8, "claims": made})


def at(optimizer: str, task: str, values: list[float], score: str = "learning") -> Row:
    return row(optimizer, readings={score: values}, seeds=len(values)).model_copy(update={"task": task})


def two(task: str, difference: float, spread: float = 1.0, score: str = "learning") -> list[Row]:
    """Muon's and AdamW's row of a task."""
    muon = [0.5 + difference + spread * one for one in NOISE]
    return [at("muon", task, muon, score), at("adamw", task, [0.5] * len(muon), score)]


def test_the_answer_is_that_of_the_mean_over_tasks() -> None:
    rows = [*two("wugs", 0.2), *two("modular", 0.1, spread=-2.0)]
    (found,) = answers(card({}), rows)
    pooled = [(0.2 + one + 0.1 - 2 * one) / 2 for one in NOISE]
    expected = stats.ttest_1samp(pooled, 0)
    low, high = expected.confidence_interval()
    assert found.kind == "supported"
    assert found.pooled.difference == pytest.approx((0.15 - 0.0009375, low, high, 8), abs=1e-9)
    assert found.p == pytest.approx(expected.pvalue)
    assert {task: own.difference.mean for task, own in found.tasks.items()} == pytest.approx(
        {"wugs": 0.2 + 0.001875, "modular": 0.1 - 0.00375}
    )


@each(
    ("difference", "spread", "expected", "kind"),
    [
        (0.2, 1.0, "higher", "supported"),
        (0.2, 1.0, "lower", "opposite"),
        (-0.2, 1.0, "lower", "supported"),
        (0.0, 1.0, "higher", "no difference"),
        (0.0, 1.0, "equal", "supported"),
        (0.03, 1.0, "equal", "supported"),  # there is one, but it is smaller than what counts
        (0.2, 1.0, "equal", "opposite"),
        (0.0, 20.0, "higher", "inconclusive"),
        (0.0, 20.0, "equal", "inconclusive"),
    ],
)
def test_every_kind_of_answer(difference: float, spread: float, expected: str, kind: Kind) -> None:
    assert answers(card({"expected": expected}), two("wugs", difference, spread))[0].kind == kind


def test_primary_claims_share_an_error_rate_and_the_others_stand_alone() -> None:
    weak = two("wugs", 0.012)  # p = .025 or so
    (alone,) = answers(card({}), weak)
    (primary,) = answers(card({"primary": True}), weak)
    of_three = answers(card(*[{"primary": True}] * 3), weak)
    assert 1 / 60 < alone.p < 0.05
    assert (alone.kind, primary.kind) == ("supported", "supported")
    assert [one.kind for one in of_three] == ["inconclusive"] * 3
    assert of_three[0].p == pytest.approx(3 * alone.p)
    assert "Holm" in claim_answers.said(of_three[0])
    found = answers(card({"primary": True}, {"primary": True, "rows": {"optimizer": "sgd"}}), weak)
    assert [one.kind for one in found] == ["supported", "not measured"]  # which costs the other nothing


def test_a_sign_that_changes_with_the_speed_is_the_answer() -> None:
    rows = two("wugs", 0.2, score="rule_accuracy@fit")
    other = next(target_step for target_step in CARD.reading.target_steps if target_step != SPEED)
    turned = {"rule_accuracy@fit": rows[0].target_steps["rule_accuracy@fit"] | {other: dict.fromkeys(range(8), 0.1)}}
    claim = card({"score": "rule_accuracy@fit"})
    assert answers(claim, rows)[0].kind == "supported"
    turning = [rows[0].model_copy(update={"target_steps": turned}), rows[1]]
    assert answers(claim, turning)[0].kind == "depends on target step"
    nowhere_else = [one.model_copy(update={"task": "modular", "target_steps": {}}) for one in rows]
    several = answers(claim, [*turning, *nowhere_else])[
        0
    ]  # one of the tasks is read at the card's own target step alone
    assert (len(several.tasks), several.kind) == (2, "depends on target step")


def test_tasks_that_cannot_answer_are_left_out_with_the_reason() -> None:
    bare = [one.model_copy(update={"values": {}}) for one in two("tail-facts", 0.0)]
    few = [two("modular", 0.2)[0], at("adamw", "modular", [0.5] * 5)]
    full = [at(name, "noisy-rule", [1.0] * 8) for name in ("muon", "adamw")]
    (found,) = answers(card({}), [*two("wugs", 0.2), *bare, *few, *full, at("muon", "rote-vs-rule", [0.5] * 8)])
    assert list(found.tasks) == ["wugs"]
    assert found.seeds == {}
    assert found.missing == {
        "tail-facts": "has no such score", "modular": "5 of 8 seeds", "noisy-rule": "1.00 at every seed of both",
        "rote-vs-rule": "no rows",
    }  # fmt: skip


def test_seeds_that_a_task_lacks_are_missing_of_the_mean_and_are_named() -> None:
    partial = two("modular", 0.2, score="rule_accuracy@fit")
    own = {
        name: {seed: value for seed, value in values.items() if seed != 5} for name, values in partial[0].values.items()
    }
    rows = [*two("wugs", 0.2, score="rule_accuracy@fit"), partial[0].model_copy(update={"values": own}), partial[1]]
    (found,) = answers(card({"score": "rule_accuracy@fit"}), rows)
    assert (found.pooled.difference.n, found.seeds) == (7, {"modular": [5]})
    assert re.search("modular .*5", claim_answers.lines([found], None)[0])


def test_two_rows_of_one_name_are_no_answer() -> None:
    decayed = [one.model_copy(update={"weight_decay": 0.1}) for one in two("wugs", -0.2)]
    assert answers(card({}), [*two("wugs", 0.2), *decayed])[0].missing == {"wugs": "several rows of one name"}


def test_no_difference_is_a_test_among_the_primary_ones_too() -> None:
    """Its p-value is that of the equivalence test, and Holm takes it as it takes the others'."""
    rows = two("wugs", 0.003, spread=4.2)  # 90 % interval within the margin, but not by far
    (alone,) = answers(card({"primary": True}), rows)
    of_three = answers(card(*[{"primary": True}] * 3), rows)
    assert (alone.kind, of_three[0].kind) == ("no difference", "inconclusive")
    assert of_three[0].p == pytest.approx(3 * alone.p)


def test_a_direction_within_the_margin_is_said_to_be_small() -> None:
    assert "0.05" in claim_answers.said(answers(card({}), two("wugs", 0.02))[0])
    assert claim_answers.said(answers(card({}), two("wugs", 0.2))[0]) == "supported"
    assert claim_answers.said(answers(card({"expected": "equal"}), two("wugs", 0.2))[0]).startswith("refuted")


def test_a_claim_about_some_tasks_and_sizes_looks_at_no_others() -> None:
    half = [one.model_copy(update={"size": 0.5}) for one in two("wugs", -0.2)]
    rows = [*two("wugs", 0.2), *half, *two("modular", -0.2)]
    small = {"rows": {"optimizer": "muon", "size": 0.5}, "than": {"optimizer": "adamw", "size": 0.5}}
    found = answers(card({"tasks": ["wugs"]}, {"tasks": ["wugs"], **small}), rows)
    assert [one.kind for one in found] == ["supported", "opposite"]


def test_lines_say_what_was_expected_what_came_of_it_and_how_to_see_it() -> None:
    (found,) = answers(card({"primary": True, "says": "Muon *learns* more."}), two("wugs", 0.2))
    (line,) = claim_answers.lines([found], Path("a folder"))
    assert line.startswith("1. **supported (primary):** Muon \\*learns\\* more. (a paper) `learning`")
    assert all(part in line for part in ("+0.20", "[+0.19, +0.21]", "n = 8", "p < .001", "1 of 1", "wugs (+0.20)"))
    assert line.endswith("`synthbench compare muon adamw --update full --columns learning --out 'a folder'`")


def test_what_repeats_a_comparison_is_a_command_that_runs(call: Caller, out: Path) -> None:
    updates = {"rows": {"optimizer": "muon"}, "than": {"optimizer": "muon", "update": "lora-4"}}
    both = {"rows": {"optimizer": "muon"}, "than": {"optimizer": "adamw", "update": "lora-4"}}
    for claim in ({}, updates):
        command = claim_answers.repeat(ClaimCard.model_validate(CLAIM | claim), out)
        assert command is not None
        assert call(command.removeprefix("synthbench "))[0] == 0
    assert claim_answers.repeat(ClaimCard.model_validate(CLAIM | both), out) is None


def scored(run: Run) -> dict[str, float]:
    return {"learning": 0.5 + 0.2 * (run.optimizer.name == "muon") + 0.01 * run.seed * (run.optimizer.name == "muon")}


ON_CARD = (
    'claims=[{{says="More.",source="us",score="learning",rows={{optimizer="muon"}},than={{optimizer="adamw"}},'
    'expected="{}"}}]'
)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled.folder(tmp_path_factory.mktemp("results"), scored, ON_CARD.format("higher"))


def test_a_report_answers_its_card_s_claims_in_every_format(call: Caller, out: Path) -> None:
    note, _, line = call(f"report --out {out} --format claims").out.splitlines()
    assert note == claim_answers.NOTE
    assert line.startswith("1. **supported:** More.")
    assert line in call(f"report --out {out} --format markdown").out
    shown = " ".join(call(f"report --out {out}").out.split())
    assert "1. More. supported +0.21" in shown
    (record,) = json.loads(call(f"report --out {out} --format json").out)["claims"]
    assert (record["answer"], record["difference"], record["n"]) == ("supported", 0.21, 3)
    assert record["tasks"]["tiny-task"]["verdict"] == "higher"


def test_claims_are_put_between_markers_of_their_own(call: Caller, out: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    markers = [f"<!-- {edge} synthbench tiny-runner-claims -->" for edge in ("BEGIN", "END")]
    page.write_text("\n".join(["above", *markers, "below", ""]))
    assert call(f"report --out {out} --format claims --update {page}")[0] == 0
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("above", "below", 7)
    assert lines[4].startswith("1. **supported:** More.")


def test_a_refuted_claim_is_exit_code_1_where_it_is_asked_for(call: Caller, out: Path, tmp_path: Path) -> None:
    assert call(f"report --out {out} --assert-claims")[0] == 0
    refuted = filled.folder(tmp_path / "refuted", scored, ON_CARD.format("lower"))
    assert call(f"report --out {refuted}")[0] == 0
    code, text, err = call(f"report --out {refuted} --assert-claims")
    assert code == 1
    assert all(part in err for part in ("claim 1", "tiny-runner"))
    assert "refuted" in text


def test_a_claim_that_was_not_measured_is_exit_code_3(call: Caller, tmp_path: Path) -> None:
    alone = filled.folder(tmp_path, scored, ON_CARD.format("higher"), optimizers=["adamw"])
    assert call(f"report --out {alone}")[0] == 0
    code, _, err = call(f"report --out {alone} --assert-claims")
    assert code == 3
    assert all(part in err for part in ("claim 1", "tiny-runner"))


def test_a_card_without_claims_has_none_to_show_or_to_assert(call: Caller, tmp_path: Path) -> None:
    bare = filled.folder(tmp_path, scored)
    for option in ("--format claims", "--assert-claims"):
        code, _, err = call(f"report --out {bare} {option}")
        assert code == 2
        assert "claims" in err
        assert "tiny" in err
    assert "claims" not in json.loads(call(f"report --out {bare} --format json").out)


@each(
    ("wrong", "said"),
    [
        ('score="lerning"', ["'lerning'", "'learning'"]),
        ('rows={optimizer="moun"}', ["rows", "'moun'", "'muon'"]),
        ('rows={optimizer="adamw"}', ["rows", "than"]),
        ('tasks=["tini"]', ["tasks", "'tini'"]),
        ('expected="more"', ["claims.0.expected"]),
        ('rows={optimizer="muon",updat="full"}', ["'claims.0.rows.updat'", "'update'"]),
    ],
)
def test_a_wrong_claim_is_one_sentence_that_says_what_is_allowed(tmp_path: Path, wrong: str, said: list[str]) -> None:
    key, right = wrong.split("=", 1)[0], ON_CARD.format("higher")
    parts = {
        "score": 'score="learning"', "rows": 'rows={optimizer="muon"}', "expected": 'expected="higher"',
        "tasks": 'says="More."',
    }  # fmt: skip
    new = wrong if key != "tasks" else f'says="More.",{wrong}'
    with pytest.raises(BadInput) as raised:
        filled.folder(tmp_path, scored, right.replace(parts[key], new))
    assert all(part in str(raised.value) for part in said)
    assert "\n" not in str(raised.value)


def test_at_most_three_claims_are_primary_and_none_is_part_of_what_rows_must_share() -> None:
    assert card({}).fingerprint() == CARD.model_copy(update={"seeds": 8}).fingerprint()
    content = CARD.model_dump(mode="json", by_alias=True) | {"claims": [CLAIM | {"primary": True}] * 4}
    with pytest.raises(BadInput, match=r"3.*primary|primary.*3"):
        parse(RunnerCard, content, "card.toml")


def test_by_task_groups_what_tasks_say() -> None:
    (found,) = answers(card({}), [*two("wugs", 0.2), *two("modular", 0.3), *two("noisy-rule", 0.0)])
    assert isinstance(found, Answer)
    higher, none = claim_answers.by_task(found).split("; ")
    assert all(part in higher for part in ("higher", "wugs (+0.20)", "modular (+0.30)"))
    assert all(part in none for part in ("0.05", "noisy-rule (+0.00)"))


def test_all_answers_are_one_sentence() -> None:
    claims = card({}, {"expected": "lower"}, {}, {"rows": {"optimizer": "sgd"}})
    found = claim_answers.summary(answers(claims, two("wugs", 0.2)))
    assert re.findall(r"\d+|supported|refuted|not measured", found) == [
        "4", "2", "supported", "1", "3", "1", "refuted", "2", "1", "not measured", "4"
    ]  # fmt: skip
