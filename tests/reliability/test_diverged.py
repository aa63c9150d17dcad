"""What diverges is counted and shown, keeps its numbers to itself, and starts nothing."""

from __future__ import annotations

import csv
import io
import json
import math
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbench.execution.progress import Tally
from synthbench.experiment.choice import Trial, choose
from synthbench.experiment.plan import Plan
from synthbench.experiment.runs import Result
from synthbench.store.results import Store
from tests import tiny
from tests.reliability.program import Said, say

# At this rate weights explode; normalization hides that from the loss.
DIVERGING = "1e12"


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return tiny.write(tmp_path)


def run(card: Path, out: Path, options: str) -> Said:
    return say(f"run {card} --out {out} --jobs 1 --quiet {options}")


def missing(out: str) -> list[str]:
    """The lines of an output that account for a row that is not there."""
    return [line for line in out.splitlines() if "sgd" in line and "diverged" in line and "tiny-task" in line]


def test_a_rate_that_diverges_is_counted_is_not_chosen_and_enters_no_number(card: Path, tmp_path: Path) -> None:
    sound, mixed = tmp_path / "sound", tmp_path / "mixed"
    assert run(card, sound, "--optimizer sgd --lr 1e-3").code == 0
    code, out, _ = run(card, mixed, f"--optimizer sgd --lr 1e-3,{DIVERGING}")
    assert code == 0
    assert "2/4" in out  # both seeds at the second rate
    rows = [json.loads(say(f"report --format json --out {folder}").out)["rows"][0] for folder in (sound, mixed)]
    assert (rows[1]["diverged"], rows[1]["runs"], rows[1]["lr"]) == (2, 4, 1e-3)
    for name in ("fact_recall", "learning", "learning_low", "learning_high"):
        assert rows[0][name] == rows[1][name]
    for form in ("json", "jsonl"):
        text = say(f"export --format {form} --out {mixed}").out
        for line in [text] if form == "json" else text.splitlines():
            json.loads(line, parse_constant=pytest.fail)  # NaN and Infinity are no numbers by the standard
    table = list(csv.DictReader(io.StringIO(say(f"export --format csv --out {mixed}").out)))
    assert {row["status"] for row in table} == {"ok", "diverged"}
    assert not {"nan", "inf", "-inf"} & {cell.lower() for row in table for cell in row.values()}
    with closing(Store.read(mixed)) as store:
        found = [result for result in store.results().values() if result.status == "diverged"]
    assert len(found) == 2
    for result in found:
        assert result.scores == {}
        assert result.weights is None
        assert all(math.isfinite(value) for scores in result.path.values() for value in scores.values())


def test_pretraining_that_diverges_starts_nothing_says_so_and_exits_3(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, told, err = run(card, out, f"--optimizer sgd --set stages.pretrain.lr=[{DIVERGING}]")
    assert code == 3
    (note,) = missing(told)
    assert "0, 1" in note
    assert "diverged" in err
    exported = [json.loads(line) for line in say(f"export --out {out}").out.splitlines()]
    assert [(one["stage"], one["status"]) for one in exported] == [("pretrain", "diverged")] * 2
    again = run(card, out, f"--optimizer sgd --set stages.pretrain.lr=[{DIVERGING}]")
    assert again.code == 3  # and nothing is trained again for it
    assert again.out == told


def test_progress_counts_on_what_can_still_start(card: Path) -> None:
    experiment = tiny.experiment(card.parent)
    first, _ = Plan(experiment, {}).ready()
    tally = Tally(Plan(experiment, {}).remaining())
    planned = tally.total
    diverged = Result(first.id, "diverged")
    tally.finished(first, diverged)
    tally.expect(Plan(experiment, {first.id: diverged}).remaining())
    assert tally.total == planned - 2 * 10  # the two rates of that seed
    assert str(tally) == "pretrain 1/2, finetune 0/2, 1 diverged"


RATES, VALUES = st.sampled_from([1e-3, 2e-3, 4e-3]), st.floats(0, 1) | st.just(math.nan)


@given(st.lists(st.tuples(RATES, st.sampled_from(["ok", "diverged"]), VALUES), min_size=1))
def test_the_chosen_rate_is_one_that_some_seed_survived(found: list[tuple[float, str, float]]) -> None:
    trials = [Trial(str(number), lr) for number, (lr, _, _) in enumerate(found)]
    done = {
        str(number): Result(str(number), status, {"validation_learning": value, "validation_loss": 1.0})  # type: ignore[arg-type]
        for number, (_, status, value) in enumerate(found)
        if value == value
    }
    choice = choose(trials, done)
    sound = {trial.lr for trial in trials if trial.id in done and done[trial.id].status == "ok"}
    assert (choice is None) == (not sound)
    assert choice is None or choice.lr in sound


def test_what_diverged_under_another_command_is_no_failure_of_this_one(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(card, out, f"--optimizer sgd --lr 1e-3,{DIVERGING} --set stages.pretrain.lr=[{DIVERGING}]").code == 3
    sound = run(card, out, "--optimizer sgd --lr 1e-3,2e-3")
    assert sound.code == 0
    assert not missing(sound.out)


def test_an_optimizer_that_diverges_is_no_failure_of_another_one_beside_it(card: Path, tmp_path: Path) -> None:
    rates = f"--set stages.pretrain.lr={{adamw=[1e-3],sgd=[{DIVERGING}]}}"
    for optimizers, expected in (("sgd", 3), ("adamw", 0), ("adamw,sgd", 3)):
        code, told, _ = run(card, tmp_path / "out", f"--optimizer {optimizers} {rates}")
        assert code == expected
        assert missing(told)  # the row that is missing is accounted for all the same
    assert "adamw" in told
