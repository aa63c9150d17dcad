"""`synthbench compare`: two optimizers, two updates or two folders of synthetic results."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console
from scipy import stats

from synthbench.analysis.pairing import Pair
from synthbench.common.wording import inert
from synthbench.experiment.runs import Run
from synthbench.reporting import comparison, comparison_table, notes
from synthbench.reporting.comparison import Comparison, RowFilter
from synthbench.reporting.report import Report
from tests import tiny
from tests.analysis.example_rows import CARD, row
from tests.calling import Caller
from tests.each import each
from tests.nonsense import is_plain
from tests.reporting import synthetic_results
from tests.reporting.test_inert import NASTY

NOISE = (0.001, -0.002, 0.0015)
LEARNED = {"adamw": (0.50, 0.52, 0.47), "muon": (0.70, 0.71, 0.68), "sgd": (0.1, 0.2, 0.3)}


def scores_of(run: Run) -> dict[str, float]:
    """Muon learns more. Its loss forgetting is nearly that of AdamW. Its rule accuracy is higher or lower by seed."""
    is_muon = run.optimizer.name == "muon"
    return {
        "learning": LEARNED[run.optimizer.name][run.seed] - (0.1 if run.update == "lora-4" else 0.0),
        "loss_forgetting": 1.0 + 0.01 * run.seed + is_muon * NOISE[run.seed],
        "rule_accuracy": 0.5 + is_muon * (0.3, -0.2, 0.1)[run.seed],
    }


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_results.write(tmp_path_factory.mktemp("results"), scores_of)


def csv_rows(call: Caller, command: str) -> list[dict[str, str]]:
    code, text, err = call(f"compare {command} --format csv")
    assert (code, err) == (0, "")
    return list(csv.DictReader(io.StringIO(text)))


def test_two_optimizers_are_compared_under_each_update_and_score(call: Caller, out: Path) -> None:
    findings = csv_rows(call, f"muon adamw --out {out}")
    assert [(finding["trainable"], finding["score"]) for finding in findings] == [
        (update, score)
        for update in ("full", "lora-4")
        for score in ("learning", "loss_forgetting", "rule_accuracy@fit")
    ]
    learning = findings[0]
    assert (learning["a"], learning["b"], learning["n"]) == ("muon", "adamw", "3")
    assert float(learning["mean_a"]) == pytest.approx(sum(LEARNED["muon"]) / 3, abs=1e-4)
    expected = stats.ttest_ind(LEARNED["muon"], LEARNED["adamw"], equal_var=False)  # each pretrained its own base
    low, high = expected.confidence_interval()
    numbers = [float(learning[key]) for key in ("difference", "low", "high", "p")]
    assert numbers == pytest.approx([0.2, low, high, expected.pvalue], abs=1e-4)
    assert [finding["verdict"] for finding in findings[:2]] == ["muon better", "no difference larger than 0.1"]
    assert findings[2]["verdict"].startswith("inconclusive")
    assert findings[2]["seeds_needed"] in findings[2]["verdict"]
    assert float(learning["p_holm"]) == pytest.approx(6 * float(learning["p"]))  # the smallest of six p-values
    (reversed_finding,) = csv_rows(call, f"adamw muon --out {out} --columns learning --update full")
    assert reversed_finding["verdict"] == "adamw worse"
    assert float(reversed_finding["difference"]) == pytest.approx(-0.2, abs=1e-9)


def test_two_updates_are_compared_for_each_optimizer(call: Caller, out: Path) -> None:
    findings = csv_rows(call, f"full lora-4 --out {out} --columns learning")
    assert {finding["optimizer"]: finding["verdict"] for finding in findings} == {
        "adamw": "full better",
        "muon": "full better",
    }
    assert len(findings) == 2
    assert {finding["paired"] for finding in findings} == {"True"}  # both updates start from the same base
    assert "trainable" not in findings[0]
    of_muon = csv_rows(call, f"full lora-4 --out {out} --optimizer muon")
    assert [finding["optimizer"] for finding in of_muon] == ["muon"] * 3


def test_a_difference_s_interval_is_cut_at_its_bounds_and_its_verdict_is_not(call: Caller, tmp_path: Path) -> None:
    def far_apart(run: Run) -> dict[str, float]:
        return {"learning": (run.seed + (run.update == "full")) % 2}

    out = synthetic_results.write(tmp_path / "far", far_apart, "seeds=4", optimizers=["adamw"])
    (finding,) = csv_rows(call, f"full lora-4 --out {out} --columns learning")
    assert (finding["difference"], finding["low"], finding["high"]) == ("0.0", "-1.0", "1.0")
    expected = stats.ttest_rel([1, 0, 1, 0], [0, 1, 0, 1]).confidence_interval()
    assert -expected.low == expected.high > 1.5
    mostly = synthetic_results.write(tmp_path / "mostly", lambda run: far_apart(run) if run.seed else {"learning": 0.5},
                                     "seeds=4", optimizers=["adamw"])  # fmt: skip
    text = " ".join(call(f"compare full lora-4 --out {mostly} --columns learning").out.split())
    assert "-0.25 [-1.00, +1.00]" in text
    assert notes.spread(has_cuts=True) in text
    assert "inconclusive" in text


def test_two_folders_are_compared_row_by_row(call: Caller, out: Path, tmp_path: Path) -> None:
    other = synthetic_results.write(
        tmp_path / "other", lambda run: scores_of(run) | {"learning": 0.3}, "reading.fit=0.8"
    )
    findings = csv_rows(call, f"{out} {other} --optimizer muon --columns learning,loss_forgetting")
    assert [finding["verdict"] for finding in findings] == [f"{out.name} better", "no difference at any seed"] * 2
    assert (findings[0]["a"], findings[0]["b"]) == (out.name, "other")
    _, text, _ = call(f"compare {out} {other} --columns learning --format markdown")
    assert "other: " in text
    assert "a device" in text
    assert re.search("cards .*reading", text)


def test_folders_whose_tasks_differ_are_refused(call: Caller, out: Path, tmp_path: Path) -> None:
    other = synthetic_results.write(
        tmp_path / "other", scores_of, task=tiny.TASK.replace("syllables = 16", "syllables = 17")
    )
    code, out_text, err = call(f"compare {out} {other}")
    assert (code, out_text) == (2, "")
    assert "fingerprint" in err
    assert len(err.splitlines()) == 1


def test_a_name_that_is_also_a_folder_means_the_optimizer(
    call: Caller, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("muon", "adamw"):
        synthetic_results.write(tmp_path / name, scores_of)
    assert "optimizer" not in csv_rows(call, f"muon adamw --out {out}")[0]  # A and B are optimizers
    assert {finding["optimizer"] for finding in csv_rows(call, f"./muon ./adamw --out {out}")} == {"adamw", "muon"}
    assert {finding["optimizer"] for finding in csv_rows(call, "muon adamw")} == {"adamw", "muon"}


MISTAKES = {
    "muon muon": "muon",
    "moun adamw": "'muon'",
    "muon full": "full, lora-4",
    "muon sgd": "sgd",
    "muon adamw --columns lerning": "'learning'",
    "muon adamw --columns fit,fit": "--columns",
    "muon adamw --columns fit,": "--columns",
    "muon adamw --task wugs": "tiny-task",
    "muon adamw --update lora-8": "lora-4",
    "muon adamw --optimizer muon": "--optimizer",
    "full lora-4 --update full": "--update",
    "full lora-4 --optimizer sgd": "adamw, muon",
    "muon adamw --format latex": "markdown",
    "muon adamw --runner quick": "tiny-runner",
    "muon": "B",
}


@each("command", MISTAKES)
def test_a_mistake_is_one_sentence(command: str, call: Caller, out: Path) -> None:
    code, text, err = call(f"compare {command} --out {out}")
    assert (code, text) == (2, "")
    assert MISTAKES[command] in err
    assert len(err.splitlines()) == 1


def test_folders_without_results_are_refused_and_stay_as_they_are(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for command in ("muon adamw", "empty nowhere", f"empty {tmp_path}"):
        code, text, err = call(f"compare {command}")
        assert (code, text, len(err.splitlines())) == (2, "", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_the_table_fits_100_columns_and_its_sentence_counts_the_findings(call: Caller, out: Path) -> None:
    code, text, _ = call(f"compare muon adamw --out {out}")
    assert code == 0
    assert max(map(len, text.splitlines())) <= 100
    sentence = " ".join(text.split())
    assert re.search(r"6 .*muon .*adamw.* 2 .*learning \(full: muon better by 0\.20\)", sentence)
    assert re.search(r"2 .*margin: loss_forgetting \(full: 0\.1\)", sentence)
    assert re.search(r"2 .*inconclusive: rule_accuracy@fit \(full: ", sentence)
    assert re.search(r": 2; .*Holm.* 6 .*: 2\.", sentence)


def test_all_formats_have_the_same_numbers(call: Caller, out: Path) -> None:
    as_json = json.loads(call(f"compare muon adamw --out {out} --format json").out)
    page = call(f"compare muon adamw --out {out} --format markdown").out.replace("\\", "")
    text = call(f"compare muon adamw --out {out}").out
    number = r"([+-]\d\.\d\d) ±(\d\.\d\d)"
    expected = [
        (f"{finding['difference']:+z.2f}", f"{round(finding['difference'] - finding['low'], 4):.2f}")
        for finding in as_json["rows"]
    ]
    assert len(expected) == 6
    assert re.findall(number, page) == re.findall(number, text) == expected
    assert as_json["sentence"] in page
    for finding in as_json["rows"]:
        assert finding["verdict"] in page


def comparison_of(name: str) -> Comparison:
    """A comparison of two rows; this text is in the names of their optimizer, tasks, device and notes."""
    muon = row("muon", readings={"learning": [0.7, 0.71, 0.72]}).model_copy(update={"optimizer": name, "base": [name]})
    adamw = row("adamw").model_copy(update={"device": name})
    pairs = [
        Pair(muon.model_copy(update={"task": name}), adamw.model_copy(update={"task": name})),
        Pair(muon.model_copy(update={"task": f"another {name}"}), adamw),
    ]
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    sides[1][1] = adamw.model_copy(update={"task": f"another {name}"})
    return comparison.compared((name, "adamw"), "label", CARD, sides, None, [f"{name}: a note"])


@each("name", NASTY)
def test_names_are_shown_inert_in_every_format(name: str) -> None:
    renamed = comparison_of(name)
    console = Console(width=100, file=io.StringIO())
    console.print(comparison_table.as_rich(renamed))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert is_plain(text)
    assert max(map(len, text.splitlines())) <= 100
    assert is_plain(comparison_table.sentence(renamed))
    assert "\n" not in comparison_table.sentence(renamed)
    page = comparison_table.as_markdown(renamed)
    assert is_plain(page)
    lines = page.split("\n")[:4]
    assert {len(re.split(r"(?<!\\)\|", line.replace("\\\\", "\0"))) for line in lines} == {9}
    assert "<" not in page
    csv_text = comparison_table.WRITERS["csv"](renamed)
    assert is_plain(csv_text)
    (first, *_) = csv.DictReader(io.StringIO(csv_text))
    assert first["a"].removeprefix("'") == inert(name)
    assert not first["a"].lstrip().startswith(("=", "+", "-", "@"))
    assert json.loads(comparison_table.as_json(renamed))["a"] == name
    assert comparison_table.as_json(renamed).isascii()


@each("name", ["[red]x[/red]", "\x1b[31mred", "a\nb", "\u202egnp", "x" * 300])
def test_names_on_the_command_line_are_shown_inert(name: str, call: Caller, out: Path) -> None:
    for command in (f"compare {shlex.quote(name)} muon", f"compare muon adamw --task {shlex.quote(name)}"):
        code, _, err = call(f"{command} --out {out}")
        assert code == 2
        assert is_plain(err)


@each("width", [60, 80, 100])
def test_nothing_is_cut_off_however_narrow(width: int) -> None:
    long_named = comparison_of("a-plug-in-of-some-length")
    console = Console(width=width, file=io.StringIO())
    console.print(comparison_table.as_rich(long_named))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert len(re.findall(r"[+-]\d\.\d\d ±\d\.\d\d", text)) == len(long_named.findings)
    for line in comparison_table.cells(long_named):
        assert line[1] in text


def test_an_ambiguous_name_in_a_filter_is_refused() -> None:
    same_name = [row("muon").model_copy(update={"base": [base]}) for base in ("adamw", "sgd")]
    with pytest.raises(comparison.BadInput, match="muon on adamw, muon on sgd"):
        RowFilter(label=["muon"]).kept(same_name, None)
    for name in ("muon on sgd", "sgd>muon"):  # as it is printed, and as it was until 0.2
        assert RowFilter(label=[name]).kept(same_name, None) == same_name[1:]


def test_rows_without_a_counterpart_are_named_and_weight_decays_are_not_mixed() -> None:
    no_decay, decay = ({"weight_decay": value, "axes": {"decay": value}} for value in (0.0, 0.1))
    muon = [row("muon").model_copy(update=decay) for decay in (no_decay, decay)] + [row("muon", "lora-16")]
    adamw = [row("adamw").model_copy(update=decay) for decay in (decay, no_decay)]
    compared = comparison.compared(("muon", "adamw"), "label", CARD, [muon, adamw], ["learning"], [])
    assert [(finding.pair.row.weight_decay, finding.pair.other.weight_decay) for finding in compared.findings] == [
        (0, 0),
        (0.1, 0.1),
    ]
    assert any("rote-vs-rule muon lora-16" in note for note in compared.notes)
    assert [comparison_table.where(finding, compared) for finding in compared.findings] == [
        "full, decay 0",
        "full, decay 0.1",
    ]


def test_two_values_on_an_axis_are_compared_by_their_label() -> None:
    rows = [row(name).model_copy(update={"axes": {"decay": value}}) for name in ("muon", "adamw") for value in (0, 0.1)]
    report = Report("x", CARD, {}, "", rows, None, {})
    compared = comparison.inside(report, "decay=0", "decay=0.1", RowFilter(), ["learning"])
    assert (compared.names, compared.axis) == (("decay=0", "decay=0.1"), "decay")
    assert [(found.pair.row.label, found.pair.other.axes) for found in compared.findings] == [
        (name, {"decay": 0.1}) for name in ("muon", "adamw")
    ]
    with pytest.raises(comparison.BadInput, match=r"decay=0\.2"):
        comparison.inside(report, "decay=0", "decay=0.2", RowFilter(), ["learning"])


def test_compare_accepts_the_names_that_it_prints(call: Caller, tmp_path: Path) -> None:
    """Rows of an optimizer on another one's base: as in the table, and in the spelling of before."""
    out = synthetic_results.write(
        tmp_path, lambda run: {"learning": 0.3 + 0.1 * run.seed},
        "stages.finetune.optimizer=['adamw','muon']", synthetic_results.FULL_UPDATE,
    )  # fmt: skip
    printed = call(f"compare 'muon on adamw' adamw --columns learning --out {out}").out
    assert "muon on adamw" in " ".join(printed.split())
    assert printed == call(f"compare 'adamw>muon' adamw --columns learning --out {out}").out
    code, _, err = call(f"compare 'adamw>muon' 'muon on adamw' --out {out}")
    assert (code, "named twice" in err) == (2, True)
