"""Baselines and checks on a small runner: every level, another implementation, refusals, exit codes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from synthbench.errors import BadInput, NotMeasured
from synthbench.gate import check, compared, stored
from synthbench.gate.baseline import Baseline
from synthbench.gate.behaviour import described
from synthbench.gate.check import Checked, Wanted
from synthbench.gate.commands import options
from tests.calling import Caller
from tests.gate import small


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def recorded(folder: Path) -> Baseline:
    found = small.baseline(folder)
    stored.write(found, folder / "adamw.json")
    return found


def checked(recorded: Baseline, folder: Path, **wanted: Any) -> Checked:
    return check.check(recorded, "the baseline", Wanted(**wanted), options(1, True, "a test"))


def test_a_baseline_is_read_as_it_was_written_and_is_small(recorded: Baseline, folder: Path) -> None:
    assert stored.read(folder / "adamw.json") == recorded
    lines = (folder / "adamw.json").read_text().splitlines()
    assert len(lines) < 150
    assert recorded.card.seed_list == list(range(6))
    assert recorded.card.stages[0].lr == {"adamw": {"full": [1e-3]}}
    assert recorded.card.stages[1].lr == {"adamw": {"full": [2e-3], "lora-4": [2e-3]}}
    assert set(recorded.trace.values) == {"pretrain/full", "finetune/full", "finetune/lora-4"}
    seen = recorded.behaviour
    assert set(seen.values) == set(recorded.trace.values) == set(seen.curves)
    left = {"early_loss", "weight_norm.hidden", "update_rank.hidden"}
    assert {"learning", "kl_new", "update_norm.hidden", *left} <= seen.values["finetune/full"].keys()
    assert {"weight_norm.A", "update_rank.B"} <= seen.values["finetune/lora-4"].keys()
    assert seen.values["pretrain/full"].keys() == {"early_loss"}
    assert all(floor >= 1e-5 for own in recorded.trace.floors.values() for floor in own.values())


@pytest.mark.parametrize("level", [None, *compared.LEVELS])
def test_the_same_code_is_unchanged_at_every_level(recorded: Baseline, folder: Path, level: str | None) -> None:
    found = checked(recorded, folder, level=level)
    assert (found.verdict, found.cause) == ("unchanged", None)
    assert found.level == (level or "trace")
    assert all(abs(line.difference) <= line.allowed for line in found.lines)


def test_kept_results_are_compared_without_training(recorded: Baseline, folder: Path) -> None:
    found = checked(recorded, folder, results=folder / "results")
    assert (found.verdict, found.level) == ("unchanged", "behaviour")
    assert all(line.difference == 0 for line in found.lines)


def test_results_that_lack_runs_are_not_trained(recorded: Baseline, folder: Path) -> None:
    with pytest.raises(BadInput, match="nowhere holds no results; leave --results out"):
        checked(recorded, folder, results=folder / "nowhere")
    assert not (folder / "nowhere").exists()
    other = recorded.model_copy(update={"card": recorded.card.model_copy(update={"seeds": 7})})
    with pytest.raises(NotMeasured, match="lacks 3 of the 21 runs"):
        checked(other, folder, results=folder / "results")


def test_torch_s_own_class_is_the_same_optimizer(recorded: Baseline, folder: Path) -> None:
    found = checked(recorded, folder, optimizer=torch.optim.AdamW)
    assert (found.verdict, found.optimizer) == ("unchanged", "torch.optim:AdamW")


def test_another_optimizer_is_changed_and_said_to_be_another(recorded: Baseline, folder: Path) -> None:
    found = checked(recorded, folder, optimizer="torch.optim:NAdam")
    assert found.verdict == "changed"
    assert "the optimizer (adamw before, torch.optim:NAdam now) changed" in str(found.cause)


def test_an_argument_and_a_routing_are_named_as_the_cause(recorded: Baseline, folder: Path) -> None:
    found = checked(recorded, folder, settings=["optimizer.eps=1e-4"])
    assert found.verdict == "changed"
    steps = {line.what: line.step for line in found.lines if line.where == "pretrain/full"}
    assert steps["update.hidden"] == 1  # the first step that is taken
    assert steps["loss"] != 1  # which is of the start
    assert found.cause == "The likeliest cause: its arguments (eps: 1e-08 before, 0.0001 now) changed."
    found = checked(recorded, folder, optimizer="torch.optim:AdamW", settings=["routing=hidden", "optimizer.eps=1e-4"])
    assert str(found.cause).startswith(
        "The likeliest cause: its routing (*norm* to adamw, layers.* to itself, * to adamw"
    )


def test_half_a_rate_changes_the_scores_too(recorded: Baseline, folder: Path) -> None:
    """With six seeds and ten steps the updates' norms tell; scores of so short a training need not."""
    stages = [stage.model_copy(update={"lr": {"adamw": {k: [v[0] / 2] for k, v in stage.lr["adamw"].items()}}})  # type: ignore[index, call-overload, union-attr]
              for stage in recorded.card.stages]  # fmt: skip
    halved = recorded.model_copy(update={"card": recorded.card.model_copy(update={"stages": stages})})
    found = checked(halved, folder, level="behaviour")
    assert found.verdict == "changed"
    assert {line.what for line in found.lines if line.verdict == "changed"} >= {
        "update_norm.hidden",
        "update_norm.embedding",
    }


def test_other_data_is_not_compared(recorded: Baseline, folder: Path) -> None:
    other = recorded.model_copy(update={"tasks": {"tiny-task": "0" * 64}})
    with pytest.raises(NotMeasured, match="fingerprint 000000000000 then"):
        checked(other, folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"versions": {"torch": "1.0"}}, "torch 1.0 then"),
        ({"package": "0" * 64}, "synthbench's training code 000000000000 then"),
        ({"machine": "an abacus"}, "processor an abacus then"),
    ],
)
def test_bits_are_compared_only_where_they_should_be_the_same(
    recorded: Baseline, folder: Path, change: dict[str, Any], said: str
) -> None:
    other = recorded.model_copy(update=change)
    with pytest.raises(NotMeasured, match=f"--level exact needs what was recorded: {said}"):
        checked(other, folder, level="exact")
    assert checked(other, folder).verdict == "unchanged"


def test_a_baseline_of_another_device_is_compared_by_its_scores(recorded: Baseline, folder: Path) -> None:
    other = recorded.model_copy(update={"device": "cuda"})
    with pytest.raises(NotMeasured, match="the baseline is of cuda, this is cpu"):
        checked(other, folder, level="trace", device="cpu")
    assert checked(other, folder, device="cpu").level == "behaviour"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"level": "traces"}, "did you mean 'trace'"),
        ({"level": "trace", "results": Path()}, "goes with --level behaviour"),
        ({"settings": ["stages.finetune.steps=3"]}, "changes nothing of what the baseline recorded but its optimizer"),
        ({"settings": ["routing=hidden"]}, "is for plug-ins"),
        ({"optimizer": "adamv"}, "did you mean 'adamw'"),
    ],
)
def test_what_makes_no_sense_is_refused(recorded: Baseline, folder: Path, wanted: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        checked(recorded, folder, **wanted)


def test_arguments_that_another_optimizer_does_not_take_are_left_out_and_named(
    recorded: Baseline, folder: Path
) -> None:
    given = recorded.card.model_copy(update={"arguments": {"adamw": {"betas": [0.9, 0.95]}}})
    found = checked(recorded.model_copy(update={"card": given}), folder, optimizer="torch.optim:RMSprop")
    assert found.notes == ["torch.optim:RMSprop takes no betas, which the baseline was given."]


class TestCommandLine:
    def test_a_baseline_is_recorded_checked_and_updated(self, folder: Path, call: Caller, tmp_path: Path) -> None:
        file = tmp_path / "sgd.json"
        command = f"baseline {small.card(folder)} --optimizer sgd -o {file} --device cpu --jobs 1 --quiet"
        code, out, err = call(command)
        assert (code, err) == (0, "")
        assert "found from" in out
        assert f"Next: synthbench check {file}\n" in out
        assert "Recorded: sgd on tiny-task, 6 seeds, cpu; rates: pretrain/full 0.001, finetune/full 0.002," in " ".join(
            out.split()
        )
        assert call(command).code == 2
        before = stored.read(file)
        code, out, err = call(f"{command} --update")
        assert (code, err) == (0, "")
        assert "Traces: the same bits as before. What else differs: nothing." in " ".join(out.split())
        assert stored.read(file).model_copy(update={"command": before.command}) == before
        code, out, err = call(f"check {file} --quiet")
        assert (code, err) == (0, "")
        assert out.strip().endswith("lines.")
        code, out, err = call(f"{command} --update --lr 8e-3")
        said = " ".join(out.split())
        assert (code, err) == (0, "")
        assert (
            "Traces: not the same bits as before. What else differs: learning rates (finetune/full: 0.002 before"
            in said
        )
        assert " changed " in said
        code, out, err = call(f"{command} --update --seeds 5")
        assert "was recorded on other data or seeds" in " ".join(out.split())

    def test_a_change_exits_with_1_and_every_format_says_so(
        self, recorded: Baseline, folder: Path, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
        command = f"check {folder}/adamw.json --set optimizer.eps=1e-4 --quiet"
        code, out, err = call(command)
        assert code == 1
        assert "changed" in out
        assert err.startswith("synthbench: Changed: adamw against")
        assert json.loads(call(f"{command} --format json").out)["verdict"] == "changed"
        annotated = call(f"{command} --format github").out.splitlines()
        assert annotated[0].startswith("::error title=synthbench::Changed")
        assert "eps" in annotated[0]
        assert (tmp_path / "summary.md").read_text().startswith("### Changed")
        code, out, _ = call(f"{command} --format junit -o {tmp_path}/report.xml")
        assert (code, "deviation" in out) == (1, True)
        suite = ElementTree.parse(tmp_path / "report.xml").getroot()
        assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure")) > 0
        records = json.loads(call(f"{command} --format dashboard").out)
        assert {"name", "unit", "value", "range", "extra"} == records[0].keys()

    @pytest.mark.parametrize(
        ("content", "code", "said"),
        [
            (None, 2, "is not a file; make one with: synthbench baseline"),
            ("{", 2, "is no baseline: it is not JSON"),
            ("[]", 2, "is no baseline"),
            ('{"format": 2}', 3, "has format 2, and this version compares format 1 only"),
            ('{"format": 1}', 2, "is no baseline: optimizer: field required"),
        ],
    )
    def test_a_file_that_is_no_baseline_is_told(
        self, content: str | None, code: int, said: str, call: Caller, tmp_path: Path
    ) -> None:
        if content is not None:
            (tmp_path / "b.json").write_text(content)
        found = call(f"check {tmp_path}/b.json")
        assert (found.code, found.out) == (code, "")
        assert said in found.err

    def test_several_optimizers_are_no_subject(self, call: Caller, tmp_path: Path) -> None:
        code, _, err = call(f"baseline gate --optimizer adamw,muon -o {tmp_path}/b.json")
        assert code == 2
        assert "A baseline is of one optimizer on one task, without arms; asked for are adamw, muon on rote" in err

    def test_a_stage_of_other_optimizers_is_named(self, call: Caller, tmp_path: Path) -> None:
        code, _, err = call(
            f"baseline --optimizer adamw -o {tmp_path}/b.json --set 'stages.finetune.optimizer=[\"muon\"]'"
        )
        assert code == 2
        assert "stage finetune of runner gate takes others" in err

    def test_what_is_set_wrongly_is_said_to_be_set(self, folder: Path, recorded: Baseline, call: Caller) -> None:
        code, _, err = call(f"check {folder}/adamw.json --set optimizer.betas=3")
        assert code == 2
        assert "with --set" in err

    @pytest.mark.parametrize("command", ["check b.json --budget 1h", "baseline --budget 1h"])
    def test_a_budget_is_one_of_three(self, command: str, call: Caller) -> None:
        code, _, err = call(command)
        assert code == 2
        assert "allowed are 20s, 60s, 5m" in err


def test_a_baseline_that_names_code_says_so_before_it_runs(
    recorded: Baseline, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text("import torch\n\n\nclass Mine(torch.optim.AdamW):\n    pass\n")
    place = f"{tmp_path}/mine.py:Mine"
    other = recorded.model_copy(update={"optimizer": place})
    assert checked(other, folder).verdict == "unchanged"
    assert f"the baseline names code, which is run: {tmp_path}/mine.py" in capsys.readouterr().err


def test_a_form_without_its_file_or_a_file_without_its_form_is_refused(
    recorded: Baseline, folder: Path, call: Caller, tmp_path: Path
) -> None:
    for command, said in (
        (f"check {folder}/adamw.json -o {tmp_path}/x", "goes with --format"),
        (f"check {folder}/adamw.json --format json -o {tmp_path}/nowhere/x", "a folder that is there"),
        (f"baseline --optimizer sgd -o {tmp_path}/nowhere/x", "a folder that is there"),
        ("baseline --optimizer sgd --seeds 6 --budget 20s", "give one of them"),
    ):
        code, out, err = call(command)
        assert (code, out) == (2, "")
        assert said in err


def test_a_budget_is_of_scores_and_says_what_it_finds(recorded: Baseline, folder: Path, call: Caller) -> None:
    code, out, _ = call(f"check {folder}/adamw.json --budget 20s --quiet")
    assert code == 0
    assert "5 seeds find, with 80 % probability, changes from: early_loss" in " ".join(out.split())
    _, out, _ = call(f"check {folder}/adamw.json --budget 5m --quiet")
    assert "The budget allows 80; record the baseline with it" in " ".join(out.split())


def test_a_baseline_finds_its_files_from_its_own_folder(
    folder: Path, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.py").write_text("import torch\n\n\nclass Mine(torch.optim.SGD):\n    pass\n")
    card = small.card(tmp_path / "cards")
    (tmp_path / "baselines").mkdir()
    monkeypatch.chdir(tmp_path)
    command = f"baseline {card} --optimizer own/mine.py:Mine -o baselines/mine.json --jobs 1 --quiet --seeds 5"
    assert call(command).code == 0
    content = json.loads((tmp_path / "baselines" / "mine.json").read_text())
    assert (content["optimizer"], content["card"]["tasks"]) == ("../own/mine.py:Mine", ["../cards/task.toml"])
    assert str(tmp_path) not in json.dumps({key: value for key, value in content.items() if key != "command"})
    monkeypatch.chdir("/")
    assert call(f"check {tmp_path}/baselines/mine.json").code == 0


def test_results_without_weights_tell_nothing_of_them_and_say_so(
    recorded: Baseline, folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "results"
    shutil.copytree(folder / "results", place)
    for file in (place / "weights").iterdir():
        file.unlink()
    found = checked(recorded, folder, results=place)
    assert found.verdict == "could not tell"
    assert {line.what for line in found.lines if line.verdict == "could not tell"} >= {
        "weight_norm.hidden",
        "update_rank.B",
    }
    assert "--keep-weights all" in found.notes[0]


def test_what_one_side_alone_has_tells_nothing(recorded: Baseline) -> None:
    seen = recorded.behaviour
    less = seen.model_copy(
        update={"values": {k: {n: v for n, v in own.items() if n != "learning"} for k, own in seen.values.items()}}
    )
    for before, after in ((seen, less), (less, seen)):
        lines = compared.behaviour(before, after, range(6))
        assert {line.what for line in lines if line.verdict != "unchanged"} == {"learning"}
        assert compared.overall(lines) == "could not tell"


def test_a_score_that_this_version_does_not_know_tells_nothing(recorded: Baseline) -> None:
    known = recorded.behaviour
    values = {where: own | {"another_score": dict.fromkeys(range(6), 0.5)} for where, own in known.values.items()}
    before = described(values, known.diverged, known.curves)
    lines = compared.behaviour(before, known, range(6))
    assert {line.what for line in lines if line.verdict == "could not tell"} == {"another_score"}
    assert compared.overall(lines) == "could not tell"


def test_a_summary_that_cannot_be_written_hides_no_verdict(
    folder: Path, recorded: Baseline, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder))
    code, out, err = call(f"check {folder}/adamw.json --format github")
    assert code == 0
    assert out.startswith("::notice")
    assert "GITHUB_STEP_SUMMARY" in err


def test_the_baseline_itself_is_never_overwritten_by_a_report(recorded: Baseline, folder: Path, call: Caller) -> None:
    before = (folder / "adamw.json").read_bytes()
    code, _, err = call(f"check {folder}/adamw.json --format json -o {folder}/adamw.json")
    assert code == 2
    assert "is the baseline itself" in err
    assert (folder / "adamw.json").read_bytes() == before


def test_a_budget_does_not_go_with_traces(recorded: Baseline, folder: Path, call: Caller) -> None:
    code, _, err = call(f"check {folder}/adamw.json --level trace --budget 20s")
    assert code == 2
    assert "--budget goes with --level behaviour" in err
