"""Damaged files in a folder of results cause no wrong score, no traceback and no change outside of the folder."""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from contextlib import closing
from hashlib import sha256

import pytest

from synthbench.common.errors import BadInput
from synthbench.experiment.plan import Plan
from synthbench.experiment.runs import Result
from synthbench.store.database import DATABASE, seal
from synthbench.store.results import Store
from synthbench.store.run_rows import COLUMNS
from tests.reliability import damage
from tests.reliability.damage import DAMAGES, LOG, READ_COMMANDS, Bench, check_reading, check_rerun
from tests.reliability.program import invoke

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return damage.make(tmp_path_factory.mktemp("damage"))


@pytest.fixture
def bench(folders: Bench) -> Bench:
    """With an undamaged copy of the finished experiment in `out`."""
    folders.restore("finished")
    return folders


def change(bench: Bench, *statements: str) -> None:
    with closing(sqlite3.connect(bench.out / DATABASE, isolation_level=None)) as db:
        for statement in statements:
            assert db.execute(statement).rowcount != 0, statement
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)  # SQLite detects nothing


def query(bench: Bench, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(bench.out / DATABASE)) as db:
        return db.execute(sql).fetchall()


@pytest.mark.parametrize("trials", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_damage_at_random_positions_is_harmless_or_detected(folders: Bench, trials: int) -> None:
    campaign = damage.run_trials(folders, trials, seed=trials, retrainings=1)
    assert campaign.trials == trials
    assert campaign.violations == []


def test_every_kind_of_damage_is_harmless_or_detected(bench: Bench) -> None:
    outcomes = [damage.trial(bench, name, random.Random(seed)) for name in DAMAGES for seed in range(2)]
    assert [violations for _, violations in outcomes if violations] == []
    assert {outcome.split(",")[0] for outcome, _ in outcomes} >= {"reading: as undamaged", "reading: refused"}


def test_a_flipped_bit_in_a_score_is_detected(bench: Bench) -> None:
    """The bit is in the last digit of the score, where SQLite detects nothing."""
    ((value,),) = query(bench, "SELECT json_extract(scores, '$.validation_loss') FROM runs LIMIT 1")
    file, written = bench.out / DATABASE, f'"validation_loss": {value!r}'.encode()
    content = bytearray(file.read_bytes())
    assert content.count(written) >= 1
    content[content.index(written) + len(written) - 1] ^= 1
    file.write_bytes(content)
    assert query(bench, "PRAGMA integrity_check") == [("ok",)]
    assert check_reading(bench) == ("refused", [])
    assert "checksum" in invoke(READ_COMMANDS[0], "--out", str(bench.out)).err
    with closing(Store.create(bench.out)) as store:
        results = store.results()
        assert store.damaged == bench.results.keys() & set(planned(bench)) - results.keys()
        assert len(store.damaged) == 1


def planned(bench: Bench) -> list[str]:
    return [str(run) for (run,) in query(bench, "SELECT DISTINCT id FROM runs")]


DAMAGED_RUNS = {
    "a missing score": "UPDATE runs SET scores = json_remove(scores, '$.fit') WHERE id = (SELECT min(id) FROM runs)",
    "an invented score": "UPDATE runs SET scores = json_set(scores, '$.x', 1.0) WHERE id = (SELECT min(id) FROM runs)",
    "other readings": "UPDATE runs SET readings = x'7b7d0a' WHERE id = (SELECT min(id) FROM runs)",
    "another last step": "UPDATE runs SET steps = steps + 1 WHERE id = (SELECT min(id) FROM runs)",
    "another path": "UPDATE paths SET content = x'7b7d0a' WHERE run = (SELECT min(id) FROM runs)",
    "a missing path": "DELETE FROM paths WHERE run = (SELECT min(id) FROM runs)",
    "an exchanged curve": "UPDATE paths SET losses = '[]' WHERE run = (SELECT min(id) FROM runs)",
    "the status": "UPDATE runs SET status = 'diverged' WHERE id = (SELECT min(id) FROM runs)",
    "the time": "UPDATE runs SET started = '2001-01-01' WHERE id = (SELECT min(id) FROM runs)",
    "the attempt": "UPDATE runs SET attempt = 2 WHERE id = (SELECT min(id) FROM runs)",
    "the seal": "UPDATE runs SET seal = '' WHERE id = (SELECT min(id) FROM runs)",
    "the seal of a path": "UPDATE runs SET path_seal = '' WHERE id = (SELECT min(id) FROM runs)",
    "an identity that is not JSON": "UPDATE runs SET identity = '{' WHERE id = (SELECT min(id) FROM runs)",
    "an identity that is not text": "UPDATE runs SET identity = x'ff00' WHERE id = (SELECT min(id) FROM runs)",
    "an identity with NaN": "UPDATE runs SET identity = replace(identity, '\"seed\":0', '\"seed\":NaN')",
    "a deeply nested identity": f"UPDATE runs SET identity = '{'[' * 100_000}' WHERE id = (SELECT min(id) FROM runs)",
    "the name of weights": "UPDATE weights SET name = 'another.safetensors' WHERE run = (SELECT min(id) FROM runs)",
    "the size of weights": "UPDATE weights SET size = x'00' WHERE run = (SELECT min(id) FROM runs)",
}  # fmt: skip
DAMAGED_ROWS = {
    "a member's cell": "UPDATE members SET cell = replace(cell, 'adamw', 'adamv')",
    "a member that is not JSON": "UPDATE members SET cell = x'ff'",
    "a member's seal": "UPDATE members SET seal = 'seal'",
    "an experiment's card": "UPDATE experiments SET card = replace(card, '0.9', '0.8')",
    "an experiment's seal": "UPDATE experiments SET seal = ''",
    "the time at which an experiment was used": "UPDATE experiments SET used = 9223372036854775807",
    "that time as bytes": "UPDATE experiments SET used = x'ff'",
    "an experiment marked as unfinished": "UPDATE experiments SET finished = 0",
}  # fmt: skip


def test_damaged_rows_are_refused_when_read_and_retrained_or_rewritten_by_a_rerun(bench: Bench) -> None:
    for name, statement in (DAMAGED_RUNS | DAMAGED_ROWS).items():
        bench.restore("finished")
        change(bench, statement)
        expected = "retrained" if name in DAMAGED_RUNS else "nothing lost"
        assert (check_reading(bench), check_rerun(bench)) == (("refused", []), (expected, [])), name


def test_the_same_command_repairs_a_damaged_experiment_and_its_members(bench: Bench) -> None:
    change(bench, "UPDATE members SET cell = '[]'", "UPDATE experiments SET used = x'00'")
    completed = invoke("run --device cpu --keep-weights all --quiet", str(bench.card), "--out", str(bench.out))
    assert (completed.code, completed.err) == (0, "")
    exported = invoke(READ_COMMANDS[1], "--out", str(bench.out))
    assert exported == bench.outputs["finished"][READ_COMMANDS[1]]


def test_invalid_text_and_an_unreadable_schema_are_refused(bench: Bench) -> None:
    change(bench, "UPDATE runs SET device = CAST(x'c3ff' AS TEXT)")
    assert (check_reading(bench), check_rerun(bench)) == (("refused", []), ("refused", []))
    bench.restore("finished")
    file = bench.out / DATABASE
    file.write_bytes(file.read_bytes().replace(b"tablemembersmembers", b"table\x97embersmembers"))
    assert (check_reading(bench), check_rerun(bench)) == (("refused", []), ("refused", []))


def test_a_run_without_any_row_is_refused_when_read_and_retrained(bench: Bench) -> None:
    run = f"= '{planned(bench)[0]}'"
    tables = {"runs": "id", "paths": "run", "observations": "run", "weights": "run"}
    change(bench, *(f"DELETE FROM {table} WHERE {column} {run}" for table, column in tables.items()))
    assert check_reading(bench) == ("refused", [])
    assert check_rerun(bench) == ("retrained", [])


def test_other_runs_are_shown_after_the_rerun_of_a_damaged_run_was_interrupted(bench: Bench) -> None:
    change(bench, DAMAGED_RUNS["the status"])
    with closing(Store.create(bench.out)) as store:
        store.results()
        (damaged,) = store.damaged
        (run,) = [run for run in Plan(bench.experiment, store.results()).remaining() if run.id == damaged]
        store.keep(run, Result(damaged, "interrupted"), [], None)
    assert [invoke(command, "--out", str(bench.out)).code for command in READ_COMMANDS] == [0, 0]
    assert check_rerun(bench) == ("retrained", [])


def test_an_interrupted_run_with_the_identity_of_another_one_is_refused(bench: Bench) -> None:
    change(bench, "UPDATE runs SET status = 'interrupted', identity = replace(identity, '0.002', '0.003')")
    assert check_reading(bench) == ("refused", [])


def test_a_damaged_earlier_attempt_does_not_hide_the_valid_one(bench: Bench) -> None:
    change(bench, f"INSERT INTO runs SELECT id, 2, 'x', 'interrupted', {COLUMNS.split(', ', 2)[2]} FROM runs")
    assert check_reading(bench) == ("as undamaged", [])
    assert check_rerun(bench) == ("nothing lost", [])


def test_a_refused_database_and_its_log_are_unchanged(bench: Bench) -> None:
    """The log of another database cannot be removed once SQLite has merged it."""
    bench.restore("killed")
    with closing(sqlite3.connect(bench.out / DATABASE, isolation_level=None)) as db:
        db.execute("UPDATE runs SET seconds = 0")
        db.execute("UPDATE members SET attempt = attempt")
        log = (bench.out / LOG).read_bytes()
    bench.restore("finished")
    shutil.copyfile(bench.folder / "other" / DATABASE, bench.out / DATABASE)
    (bench.out / LOG).write_bytes(log[: 32 + (4096 + 24) * 9])
    content = bytearray((bench.out / DATABASE).read_bytes())
    content[4096 * 3 : 4096 * 4] = bytes(4096)
    (bench.out / DATABASE).write_bytes(content)
    before = {name: (bench.out / name).read_bytes() for name in (DATABASE, LOG)}
    with pytest.raises(BadInput):
        Store.create(bench.out)
    assert {name: (bench.out / name).read_bytes() for name in (DATABASE, LOG)} == before


def test_weights_outside_of_their_folder_are_neither_read_nor_deleted(bench: Bench) -> None:
    """Even if the checksum of the row is valid, as in a forged row."""
    for file in (bench.out / "x.safetensors", bench.out / "weights" / "below" / "x.safetensors"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    (run, *_), nested = planned(bench), "below/x.safetensors"
    for name in ("../x.safetensors", f"{bench.out}/x.safetensors", nested, "..", ".", "", "a\0b", "x.safetensors\n"):
        row = (run, 1, name, 0, sha256(b"").hexdigest())
        with closing(sqlite3.connect(bench.out / DATABASE)) as db, db:
            db.execute("INSERT OR REPLACE INTO weights VALUES (?,?,?,?,?,?)", (*row, seal(*row)))
        with closing(Store.create(bench.out)) as store:
            assert store.valid_weights(store.results()[run]) is None, name
            files = sorted(bench.out.rglob("*"))
            store.drop_weights([row[:2]])
            assert sorted(bench.out.rglob("*")) == files, name


def test_weights_that_a_damaged_row_names_are_not_deleted(bench: Bench) -> None:
    first, second = planned(bench)[:2]
    change(bench, f"UPDATE weights SET name = (SELECT name FROM weights WHERE run = '{second}') WHERE run = '{first}'")
    before = sorted((bench.out / "weights").iterdir())
    with closing(Store.create(bench.out)) as store:
        store.drop_weights([(first, 1)])
    assert sorted((bench.out / "weights").iterdir()) == before


def test_a_folder_in_place_of_a_file_is_refused(bench: Bench) -> None:
    for name in (DATABASE, LOG):
        bench.restore("finished")
        (bench.out / name).unlink(missing_ok=True)
        (bench.out / name).mkdir()
        for command in (*READ_COMMANDS, f"run {bench.card} --quiet --device cpu"):
            completed = invoke(command, "--out", str(bench.out))
            assert completed.code in (2, 4), (name, command)
            assert completed.has_plain_error, (name, command)


def test_linked_files_are_found(bench: Bench) -> None:
    for name in (DATABASE, "weights"):
        moved = bench.out.with_name(f"moved-{name}")
        (bench.out / name).rename(moved)
        (bench.out / name).symlink_to(moved)
    assert check_reading(bench) == ("as undamaged", [])
    assert check_rerun(bench) == ("nothing lost", [])


def test_a_refusal_gives_advice(bench: Bench) -> None:
    content = bytearray((bench.out / DATABASE).read_bytes())
    for start, end, advice in ((4096, len(content), "put back a copy"), (0, 16, "another")):
        content[start:end] = bytes(end - start)
        (bench.out / DATABASE).write_bytes(content)
        for open_store in (Store.create, Store.read):
            with pytest.raises(BadInput, match=advice):
                open_store(bench.out)


def test_a_run_with_a_damaged_path_is_retrained(bench: Bench) -> None:
    """Its final scores and its weights are valid."""
    parent = "(SELECT id FROM runs WHERE json_extract(identity, '$.parent') IS NULL LIMIT 1)"
    change(bench, f"UPDATE paths SET content = CAST(content || x'00' AS BLOB) WHERE run = {parent}")
    assert damage.retrain(bench) == []
