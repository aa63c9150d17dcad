"""`synthbench compare`: two optimizers, updates or folders, over results that were made by hand."""

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
from synthbench.reporting import comparison, comparison_table
from synthbench.reporting.comparison import Comparison, RowFilter
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.nonsense import is_plain
from tests.reporting import filled
from tests.reporting.made import CARD, row
from tests.reporting.test_inert import NASTY

NOISE = (0.001, -0.002, 0.0015)
LEARNED = {"adamw": (0.50, 0.52, 0.47), "muon": (0.70, 0.71, 0.68), "sgd": (0.1, 0.2, 0.3)}


def scored(run: Run) -> dict[str, float]:
    """Muon learns more, its loss rises as much, its rule is sometimes better and sometimes worse."""
    own = run.optimizer.name == "muon"
    return {
        "learning": LEARNED[run.optimizer.name][run.seed] - (0.1 if run.update == "lora-4" else 0.0),
        "loss_forgetting": 1.0 + 0.1 * run.seed + own * NOISE[run.seed],
        "rule_accuracy": 0.5 + own * (0.3, -0.2, 0.1)[run.seed],
    }


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled.folder(tmp_path_factory.mktemp("results"), scored)


def rows(call: Caller, command: str) -> list[dict[str, str]]:
    code, text, err = call(f"compare {command} --format csv")
    assert (code, err) == (0, "")
    return list(csv.DictReader(io.StringIO(text)))


def test_two_optimizers_are_compared_under_each_update_and_score(call: Caller, out: Path) -> None:
    found = rows(call, f"muon adamw --out {out}")
    assert [(one["update"], one["score"]) for one in found] == [
        (update, score)
        for update in ("full", "lora-4")
        for score in ("learning", "loss_forgetting", "rule_accuracy@fit")
    ]
    learning = found[0]
    assert (learning["a"], learning["b"], learning["n"]) == ("muon", "adamw", "3")
    assert float(learning["mean_a"]) == pytest.approx(sum(LEARNED["muon"]) / 3, abs=1e-4)
    expected = stats.ttest_rel(LEARNED["muon"], LEARNED["adamw"])
    low, high = expected.confidence_interval()
    numbers = [float(learning[key]) for key in ("difference", "low", "high", "p")]
    assert numbers == pytest.approx([0.2, low, high, expected.pvalue], abs=1e-4)
    assert [one["verdict"] for one in found[:2]] == ["muon better", "no difference larger than 0.1"]
    assert found[2]["verdict"].startswith("inconclusive")
    assert found[2]["seeds_needed"] in found[2]["verdict"]
    assert float(found[0]["p_holm"]) == pytest.approx(6 * float(found[0]["p"]))  # the least of six, but for its twin
    (turned,) = rows(call, f"adamw muon --out {out} --columns learning --update full")
    assert (turned["verdict"], float(turned["difference"])) == ("adamw worse", pytest.approx(-0.2, abs=1e-9))


def test_two_updates_are_compared_for_each_optimizer(call: Caller, out: Path) -> None:
    found = rows(call, f"full lora-4 --out {out} --columns learning")
    assert [(one["optimizer"], one["verdict"]) for one in found] == [("adamw", "full better"), ("muon", "full better")]
    assert "update" not in found[0]
    assert [one["optimizer"] for one in rows(call, f"full lora-4 --out {out} --optimizer muon")] == ["muon"] * 3


def test_two_folders_are_compared_row_by_row(call: Caller, out: Path, tmp_path: Path) -> None:
    other = filled.folder(tmp_path / "other", lambda run: scored(run) | {"learning": 0.3}, "reading.fit=0.8")
    found = rows(call, f"{out} {other} --optimizer muon --columns learning,loss_forgetting")
    assert [one["verdict"] for one in found] == [f"{out.name} better", "no difference at any seed"] * 2
    assert (found[0]["a"], found[0]["b"]) == (out.name, "other")
    _, text, _ = call(f"compare {out} {other} --columns learning --format markdown")
    assert "other: " in text
    assert "a device" in text
    assert re.search("cards .*reading", text)


def test_folders_whose_tasks_differ_are_refused(call: Caller, out: Path, tmp_path: Path) -> None:
    other = filled.folder(tmp_path / "other", scored, task=tiny.TASK.replace("syllables = 16", "syllables = 17"))
    code, out_text, err = call(f"compare {out} {other}")
    assert (code, out_text) == (2, "")
    assert "fingerprint" in err
    assert len(err.splitlines()) == 1


def test_a_name_that_is_a_folder_too_is_the_optimizer(
    call: Caller, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("muon", "adamw"):
        filled.folder(tmp_path / name, scored)
    assert "optimizer" not in rows(call, f"muon adamw --out {out}")[0]  # for that is what A and B are
    assert {one["optimizer"] for one in rows(call, f"./muon ./adamw --out {out}")} == {"adamw", "muon"}
    assert {one["optimizer"] for one in rows(call, "muon adamw")} == {"adamw", "muon"}


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


def test_no_results_are_no_comparison(call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for command in ("muon adamw", "empty nowhere", f"empty {tmp_path}"):
        code, text, err = call(f"compare {command}")
        assert (code, text, len(err.splitlines())) == (2, "", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_the_table_fits_and_its_sentence_counts_every_finding(call: Caller, out: Path) -> None:
    code, text, _ = call(f"compare muon adamw --out {out}")
    assert code == 0
    assert max(map(len, text.splitlines())) <= 100
    said = " ".join(text.split())
    assert re.search(r"6 .*muon .*adamw.* 2 .*learning \(full: muon better by 0\.20\)", said)
    assert re.search(r"2 .*margin: loss_forgetting \(full: 0\.1\)", said)
    assert re.search(r"2 .*inconclusive: rule_accuracy@fit \(full: ", said)
    assert re.search(r": 2; .*Holm.* 6 .*: 2\.", said)


def test_all_formats_say_the_same(call: Caller, out: Path) -> None:
    as_json = json.loads(call(f"compare muon adamw --out {out} --format json").out)
    page = call(f"compare muon adamw --out {out} --format markdown").out.replace("\\", "")
    text = call(f"compare muon adamw --out {out}").out
    number = r"([+-]\d\.\d\d) ±(\d\.\d\d)"
    expected = [
        (f"{one['difference']:+z.2f}", f"{round(one['difference'] - one['low'], 4):.2f}") for one in as_json["rows"]
    ]
    assert len(expected) == 6
    assert re.findall(number, page) == re.findall(number, text) == expected
    assert as_json["sentence"] in page
    for one in as_json["rows"]:
        assert one["verdict"] in page


def made_comparison(name: str) -> Comparison:
    """Rows whose names and device are this text; the first is of another task, under the same update."""
    mine = row("muon", readings={"learning": [0.7, 0.71, 0.72]}).model_copy(update={"optimizer": name, "base": [name]})
    other = row("adamw").model_copy(update={"device": name})
    pairs = [
        Pair(mine.model_copy(update={"task": name}), other.model_copy(update={"task": name})),
        Pair(mine.model_copy(update={"task": f"another {name}"}), other),
    ]
    sides = [[pair[side] for pair in pairs] for side in (0, 1)]
    sides[1][1] = other.model_copy(update={"task": f"another {name}"})
    return comparison.compared(Comparison((name, "adamw"), "label", CARD, [], [f"{name}: a note"]), sides, None)


@each("name", NASTY)
def test_no_format_does_more_with_a_name_than_show_it(name: str) -> None:
    found = made_comparison(name)
    console = Console(width=100, file=io.StringIO())
    console.print(comparison_table.as_rich(found))
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert is_plain(drawn)
    assert max(map(len, drawn.splitlines())) <= 100
    assert is_plain(comparison_table.sentence(found))
    assert "\n" not in comparison_table.sentence(found)
    page = comparison_table.as_markdown(found)
    assert is_plain(page)
    lines = page.split("\n")[:4]
    assert {len(re.split(r"(?<!\\)\|", line.replace("\\\\", "\0"))) for line in lines} == {9}
    assert "<" not in page
    text = comparison_table.WRITERS["csv"](found)
    assert is_plain(text)
    (first, *_) = csv.DictReader(io.StringIO(text))
    assert first["a"].removeprefix("'") == inert(name)
    assert not first["a"].lstrip().startswith(("=", "+", "-", "@"))
    assert json.loads(comparison_table.as_json(found))["a"] == name
    assert comparison_table.as_json(found).isascii()


@each("name", ["[red]x[/red]", "\x1b[31mred", "a\nb", "\u202egnp", "x" * 300])
def test_names_on_the_command_line_are_shown_inert(name: str, call: Caller, out: Path) -> None:
    for command in (f"compare {shlex.quote(name)} muon", f"compare muon adamw --task {shlex.quote(name)}"):
        code, _, err = call(f"{command} --out {out}")
        assert code == 2
        assert is_plain(err)


@each("width", [60, 80, 100])
def test_nothing_is_cut_off_however_narrow(width: int) -> None:
    found = made_comparison("a-plug-in-of-some-length")
    console = Console(width=width, file=io.StringIO())
    console.print(comparison_table.as_rich(found))
    drawn = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, drawn.splitlines())) <= width
    assert "…" not in drawn
    assert len(re.findall(r"[+-]\d\.\d\d ±\d\.\d\d", drawn)) == len(found.findings)
    for line in comparison_table.cells(found):
        assert line[1] in drawn


def test_narrowing_to_a_name_that_several_rows_could_be_asks_which() -> None:
    several = [row("muon").model_copy(update={"base": [base]}) for base in ("adamw", "sgd")]
    with pytest.raises(comparison.BadInput, match="adamw>muon, sgd>muon"):
        RowFilter(label=["muon"]).kept(several, None)
    assert RowFilter(label=["sgd>muon"]).kept(several, None) == several[1:]


def test_rows_without_a_counterpart_are_named_and_decays_are_kept_apart() -> None:
    own = [row("muon"), row("muon").model_copy(update={"weight_decay": 0.1}), row("muon", "lora-16")]
    other = [row("adamw").model_copy(update={"weight_decay": 0.1}), row("adamw")]
    found = comparison.compared(Comparison(("muon", "adamw"), "label", CARD, [], []), [own, other], ["learning"])
    assert [(one.pair.row.weight_decay, one.pair.other.weight_decay) for one in found.findings] == [(0, 0), (0.1, 0.1)]
    assert any("rote-vs-rule muon lora-16" in note for note in found.notes)
    assert [comparison_table.where(one, found) for one in found.findings] == ["full, decay 0", "full, decay 0.1"]
