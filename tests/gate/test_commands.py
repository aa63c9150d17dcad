"""`synthbench baseline` and `synthbench check` on the command line: exit codes, files, formats, invalid input."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from synthbench.gate import baseline as baselines
from synthbench.gate import comparison, writers
from synthbench.gate.check import CheckResult
from tests.calling import Caller
from tests.each import each
from tests.gate import small

pytestmark = pytest.mark.usefixtures("recorded")
LINE = comparison.Line("full", "learning", "inconclusive", 0.1, 0.2, 16, seeds=40.0)


def test_a_baseline_is_recorded_checked_and_overwritten(call: Caller, tmp_path: Path) -> None:
    file = tmp_path / "sgd.json"
    options = f"--seeds 5 {small.FULL} --device cpu --jobs 1 --quiet"
    command = f"baseline {small.card(tmp_path)} --optimizer sgd -o {file} {options}"
    code, out, err = call(command)
    assert (code, err) == (0, "")
    assert f"synthbench check {file}\n" in out
    assert "pretrain/full 0.001, finetune/full 0.002" in " ".join(out.split())
    assert call(command).code == 2
    before = baselines.read(file)
    code, out, err = call(f"{command} --overwrite")
    assert (code, err) == (0, "")
    assert "nothing" in out
    assert baselines.read(file).model_copy(update={"command": before.command}) == before
    assert call(f"check {file} --quiet")[::2] == (0, "")
    code, out, err = call(f"{command} --overwrite --lr 8e-3")
    assert (code, err) == (0, "")
    printed = " ".join(out.split())
    assert "finetune/full: 0.002 before" in printed
    assert " changed " in printed
    assert baselines.read(file).card.stages[-1].lr == {"sgd": {"full": [8e-3]}}


def test_a_change_exits_with_1_and_is_in_every_format(
    folder: Path, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    command = f"check {folder}/adamw.json --set optimizer.eps=1e-4 --quiet"
    code, out, err = call(command)
    assert code == 1
    assert "changed" in out
    assert "adamw" in err
    assert json.loads(call(f"{command} --format json").out)["verdict"] == "changed"
    annotations = call(f"{command} --format github").out.splitlines()
    assert annotations[0].startswith("::error title=")
    assert "eps" in annotations[0]
    assert "hanged" in (tmp_path / "summary.md").read_text()
    code, out, _ = call(f"{command} --format junit -o {tmp_path}/report.xml")
    assert (code, "deviation" in out) == (1, True)
    suite = ElementTree.parse(tmp_path / "report.xml").getroot()
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) > 0
    records = json.loads(call(f"{command} --format dashboard").out)
    assert {"name", "unit", "value", "range", "extra"} == records[0].keys()


@each(
    ("content", "code", "message"),
    [
        (None, 2, "synthbench baseline"),
        ("{", 2, "JSON"),
        ("[]", 2, "no baseline"),
        ('{"format": 1}', 3, "format 2"),
        ('{"format": 3}', 3, "format 2"),
        ('{"format": 2}', 2, "optimizer"),
    ],
)
def test_a_file_that_is_no_baseline_is_rejected(
    content: str | None, code: int, message: str, call: Caller, tmp_path: Path
) -> None:
    if content is not None:  # the first case
        (tmp_path / "b.json").write_text(content)
    completed = call(f"check {tmp_path}/b.json")
    assert (completed.code, completed.out) == (code, "")
    assert f"{tmp_path}/b.json" in completed.err
    assert message in completed.err


@each(
    ("command", "words"),
    [
        ("baseline gate --optimizer adamw,muon -o TMP/b.json", ["adamw", "muon", "--optimizer"]),
        ("baseline --optimizer adamw -o TMP/b.json --set 'stages.finetune.optimizer=[\"muon\"]'", ["finetune", "gate"]),
        ("check FILE --budget 1h", ["--budget", "20s", "60s", "5m"]),
        ("baseline --budget 1h", ["--budget", "20s", "60s", "5m"]),
        ("baseline --optimizer sgd --seeds 6 --budget 20s", ["--seeds", "--budget"]),
        ("baseline --optimizer sgd -o TMP/nowhere/x", ["TMP/nowhere/x"]),
        ("check FILE -o TMP/x", ["-o", "--format"]),
        ("check FILE --format json -o TMP/nowhere/x", ["TMP/nowhere/x"]),
        ("check FILE --format json -o FILE", ["-o", "FILE"]),
    ],
)
def test_invalid_options_are_rejected(
    command: str, words: list[str], folder: Path, call: Caller, tmp_path: Path
) -> None:
    file = folder / "adamw.json"
    before = file.read_bytes()
    code, out, err = call(command.replace("FILE", str(file)).replace("TMP", str(tmp_path)))
    assert (code, out) == (2, "")
    assert all(word.replace("FILE", str(file)).replace("TMP", str(tmp_path)) in err for word in words), err
    assert file.read_bytes() == before


def test_a_budget_compares_scores_and_prints_the_number_of_seeds(folder: Path, call: Caller) -> None:
    for budget, pattern in (("20s", "5 seeds"), ("5m", r"\b80\b(?! %)")):  # 80 seeds; the baseline has six
        code, out, _ = call(f"check {folder}/adamw.json --budget {budget} --quiet")
        assert code == 0
        assert re.search(pattern, " ".join(out.split()))


def test_paths_in_a_baseline_are_relative_to_its_folder(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text("import torch\n\n\nclass Mine(torch.optim.SGD):\n    pass\n")
    card = small.card(tmp_path / "cards")
    (tmp_path / "baselines").mkdir()
    monkeypatch.chdir(tmp_path)
    command = f"baseline {card} --optimizer code/mine.py:Mine -o baselines/mine.json --jobs 1 --quiet --seeds 5"
    assert call(f"{command} {small.FULL}").code == 0
    content = json.loads((tmp_path / "baselines" / "mine.json").read_text())
    assert (content["optimizer"], content["card"]["tasks"]) == ("../code/mine.py:Mine", ["../cards/task.toml"])
    assert str(tmp_path) not in json.dumps({key: value for key, value in content.items() if key != "command"})
    monkeypatch.chdir("/")
    assert call(f"check {tmp_path}/baselines/mine.json").code == 0


def test_a_summary_that_cannot_be_written_does_not_hide_the_verdict(
    folder: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder))
    code, out, err = call(f"check {folder}/adamw.json --format github")
    assert code == 0
    assert out.startswith("::notice")
    assert "GITHUB_STEP_SUMMARY" in err


def test_numbers_and_sentences() -> None:
    assert " 40 seeds" in writers.seeds(LINE)
    assert " 1000 seeds" in writers.seeds(LINE._replace(seeds=float("inf")))
    assert writers.number(float("nan")) == "-"
    assert comparison.overall([]) == "inconclusive"
    assert comparison.overall([LINE, LINE._replace(verdict="changed")]) == "changed"


def test_formats_have_the_verdict_and_the_advice_and_annotations_the_worst_lines() -> None:
    lines = [LINE._replace(what=f"score {k}", verdict="changed", difference=float(k)) for k in range(2, 32)]
    lines.insert(0, LINE._replace(what="fine", verdict="unchanged"))
    result = CheckResult(
        origin="b.json", optimizer="adamw", level="behaviour", lines=lines, cause="A cause.", notes=["A note."],
        advice="Do this.",
    )  # fmt: skip
    first, *others = writers.as_github(result).splitlines()
    assert re.fullmatch("::error title=.*adamw.*b.json.*A cause. Do this.", first)
    assert len(others) == 9
    assert re.match("::error title=.*score 31", others[0])
    output = str(ElementTree.fromstring(writers.as_junit(result)).findtext("system-out"))
    assert "adamw" in output
    assert output.endswith("A note.\nA cause.\nDo this.")
