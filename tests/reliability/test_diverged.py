"""Diverged runs are counted and shown; they enter no number and no run starts from them."""

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
from tests.reliability.program import Completed, invoke

# At this learning rate weights explode; normalization hides that from the loss.
DIVERGING = "1e12"


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return tiny.write(tmp_path)


def run(card: Path, out: Path, options: str) -> Completed:
    return invoke(f"run {card} --out {out} --jobs 1 --quiet {options}")


def missing(out: str) -> list[str]:
    """The lines of an output that explain a missing row."""
    return [line for line in out.splitlines() if "sgd" in line and "diverged" in line and "tiny-task" in line]


def test_a_diverging_rate_is_counted_is_not_chosen_and_enters_no_number(card: Path, tmp_path: Path) -> None:
    stable, mixed = tmp_path / "stable", tmp_path / "mixed"
    assert run(card, stable, "--optimizer sgd --lr 1e-3").code == 0
    code, out, _ = run(card, mixed, f"--optimizer sgd --lr 1e-3,{DIVERGING}")
    assert code == 0
    assert "2/4" in out  # both seeds at the second rate
    rows = [json.loads(invoke(f"report --format json --out {folder}").out)["rows"][0] for folder in (stable, mixed)]
    assert (rows[1]["diverged"], rows[1]["runs"], rows[1]["lr"]) == (2, 4, 1e-3)
    for name in ("fact_recall", "learning", "learning_low", "learning_high"):
        assert rows[0][name] == rows[1][name]
    for format_name in ("json", "jsonl"):
        text = invoke(f"export --format {format_name} --out {mixed}").out
        for line in [text] if format_name == "json" else text.splitlines():
            json.loads(line, parse_constant=pytest.fail)  # the standard allows neither NaN nor Infinity
    exported = list(csv.DictReader(io.StringIO(invoke(f"export --format csv --out {mixed}").out)))
    assert {row["status"] for row in exported} == {"ok", "diverged"}
    assert not {"nan", "inf", "-inf"} & {cell.lower() for row in exported for cell in row.values()}
    with closing(Store.read(mixed)) as store:
        diverged = [result for result in store.results().values() if result.status == "diverged"]
    assert len(diverged) == 2
    for result in diverged:
        assert result.scores == {}
        assert result.weights is None
        assert all(math.isfinite(value) for scores in result.path.values() for value in scores.values())


def test_diverging_pretraining_starts_nothing_is_reported_and_exits_with_3(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, printed, err = run(card, out, f"--optimizer sgd --set stages.pretrain.lr=[{DIVERGING}]")
    assert code == 3
    (note,) = missing(printed)
    assert "0, 1" in note
    assert "diverged" in err
    exported = [json.loads(line) for line in invoke(f"export --out {out}").out.splitlines()]
    assert [(record["stage"], record["status"]) for record in exported] == [("pretrain", "diverged")] * 2
    rerun = run(card, out, f"--optimizer sgd --set stages.pretrain.lr=[{DIVERGING}]")
    assert rerun.code == 3  # nothing is retrained
    assert rerun.out == printed


def test_progress_expects_only_runs_that_can_still_start(card: Path) -> None:
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
def test_the_chosen_rate_has_a_seed_that_did_not_diverge(outcomes: list[tuple[float, str, float]]) -> None:
    trials = [Trial(str(number), lr) for number, (lr, _, _) in enumerate(outcomes)]
    results = {
        str(number): Result(str(number), status, {"validation_learning": value, "validation_loss": 1.0})  # type: ignore[arg-type]
        for number, (_, status, value) in enumerate(outcomes)
        if value == value
    }
    choice = choose(trials, results)
    stable = {trial.lr for trial in trials if trial.id in results and results[trial.id].status == "ok"}
    assert (choice is None) == (not stable)
    assert choice is None or choice.lr in stable


def test_runs_that_diverged_in_another_command_do_not_fail_this_one(card: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(card, out, f"--optimizer sgd --lr 1e-3,{DIVERGING} --set stages.pretrain.lr=[{DIVERGING}]").code == 3
    completed = run(card, out, "--optimizer sgd --lr 1e-3,2e-3")
    assert completed.code == 0
    assert not missing(completed.out)


def test_a_diverging_optimizer_does_not_fail_a_command_for_another_one(card: Path, tmp_path: Path) -> None:
    rates = f"--set stages.pretrain.lr={{adamw=[1e-3],sgd=[{DIVERGING}]}}"
    for optimizers, expected in (("sgd", 3), ("adamw", 0), ("adamw,sgd", 3)):
        code, printed, _ = run(card, tmp_path / "out", f"--optimizer {optimizers} {rates}")
        assert code == expected
        assert missing(printed)  # the missing row is explained nevertheless
    assert "adamw" in printed
