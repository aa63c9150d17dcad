"""`--track`: what trackers wrote is read back by their own packages."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

import pytest

from synthbench.execution import tracking
from synthbench.experiment.runs import Result, Run
from tests import tiny
from tests.calling import Caller
from tests.reliability.program import results


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return tiny.write(tmp_path)


def run(card: Path, call: Caller, tracker: str) -> tuple[Path, dict[str, Result]]:
    pytest.importorskip(tracker)
    out = card.parent / "results"
    completed = call(f"run {card} --track {tracker} --out {out} --quiet")
    assert (completed.code, "--track" in completed.err) == (0, False), completed.err
    return out, results(out)


def expected(result: Result) -> dict[tuple[int, str], float]:
    """Every finite score of a run, by step and name."""
    last = max(result.path)
    values = {(step, name): value for step, scores in result.path.items() for name, value in scores.items()}
    values |= {(last, name): value for name, value in result.scores.items()}
    return {key: value for key, value in values.items() if isfinite(value)}


def test_tensorboard_has_every_score_of_every_run(card: Path, call: Caller) -> None:
    out, stored = run(card, call, "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folders = {path.parent for path in (out / "tensorboard" / "tiny-runner").rglob("events.*")}
    assert len(folders) == 1 + len(stored)
    for run_id, result in stored.items():
        (folder,) = [path for path in folders if path.name.endswith(run_id[:8])]
        events = EventAccumulator(str(folder))
        events.Reload()
        found = {(event.step, tag): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)}
        assert found == pytest.approx(expected(result), rel=1e-6)
    progress = EventAccumulator(str(out / "tensorboard" / "tiny-runner" / "progress"))
    progress.Reload()
    shares = [event.value for event in progress.Scalars("progress")]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_mlflow_has_every_score_of_every_run(card: Path, call: Caller) -> None:
    out, stored = run(card, call, "mlflow")
    from mlflow import MlflowClient

    client = MlflowClient((out / "mlflow").absolute().as_uri())
    experiment = client.get_experiment_by_name("tiny-runner")
    found = {one.data.params.get("run"): one for one in client.search_runs([experiment.experiment_id])}
    assert found.keys() == {None, *stored}
    assert {one.info.status for one in found.values()} == {"FINISHED"}
    for run_id, result in stored.items():
        of_run = found[run_id]
        values = expected(result)
        assert {name for _, name in values} == of_run.data.metrics.keys()
        history = client.get_metric_history(of_run.info.run_id, "fact_recall")
        assert {(one.step, "fact_recall"): one.value for one in history} == {
            key: value for key, value in values.items() if key[1] == "fact_recall"
        }


def test_wandb_has_every_score_of_every_run(card: Path, call: Caller) -> None:
    out, stored = run(card, call, "wandb")
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, dict[tuple[int, str], float]] = {}
    for file in (out / "wandb").glob("offline-run-*/run-*.wandb"):
        records = [Record.FromString(content) for content in log_records(file.read_bytes())]
        (name,) = {record.run.display_name for record in records if record.run.display_name}
        found[name] = {
            (record.history.step.num, "/".join(item.nested_key) or item.key): float(item.value_json)
            for record in records
            for item in record.history.item
        }
    assert len(found) == 1 + len(stored)
    for run_id, result in stored.items():
        (values,) = [of_run for name, of_run in found.items() if name.endswith(run_id[:8])]
        scores = {key: value for key, value in values.items() if not key[1].startswith("_")}
        assert scores == pytest.approx(expected(result))


def log_records(content: bytes) -> Iterator[bytes]:
    """Records of a log in LevelDB's format, after the header of 7 bytes that W&B puts first: in blocks of 32 KiB, each
    part behind its checksum (4 bytes), length (2) and kind (1: whole, 2: first, 3: middle, 4: last)."""
    at, record = 7, b""
    while at < len(content):
        if (left := 2**15 - at % 2**15) < 7:
            at += left
            continue
        length, kind = struct.unpack_from("<HB", content, at + 4)
        record += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield record
            record = b""


def test_a_tracker_that_fails_costs_a_line_and_no_run(
    card: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def __init__(self, folder: Path, experiment: str) -> None: ...

        def finished(self, run: Run, result: Result) -> None:
            raise OSError("no room")

        def progress(self, done: float, total: float) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setitem(tracking.TRACKERS, "failing", ("json", Failing))
    completed = call(f"run {card} --track failing --out {card.parent / 'results'} --quiet")
    assert completed.code == 0
    assert completed.err.count("--track failing failed and is left out from here on (OSError: no room)") == 1
    assert len(results(card.parent / "results")) == 6


def test_an_unknown_or_absent_tracker_is_one_sentence(
    card: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "allowed are tensorboard, mlflow, wandb" in call(f"run {card} --track aim").err
    monkeypatch.setitem(tracking.TRACKERS, "absent", ("not_there", tracking.TensorBoard))
    assert "pip install 'synthbench[absent]'" in call(f"run {card} --track absent").err
