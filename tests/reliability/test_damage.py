"""Whatever happens to the files of a folder of results: no wrong score, no traceback, nothing outside is touched."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
import sys
from contextlib import closing

import pytest

from synthbench.common.errors import BadInput
from synthbench.experiment.plan import Plan
from synthbench.experiment.runs import Result
from synthbench.store.database import DATABASE, seal
from synthbench.store.results import Store
from tests.reliability import damage
from tests.reliability.damage import DAMAGES, LOG, LOOKS, Bench, look, rerun, say

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through /proc")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return damage.make(tmp_path_factory.mktemp("damage"))


@pytest.fixture
def bench(made: Bench) -> Bench:
    """With the whole experiment in its place."""
    made.put("whole")
    return made


def change(bench: Bench, *statements: str) -> None:
    with closing(sqlite3.connect(bench.place / DATABASE, isolation_level=None)) as db:
        for statement in statements:
            assert db.execute(statement).rowcount != 0, statement
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)  # nothing that SQLite would notice


def ask(bench: Bench, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(bench.place / DATABASE)) as db:
        return db.execute(query).fetchall()


@pytest.mark.parametrize("trials", [20, pytest.param(300, marks=pytest.mark.slow)])
def test_damage_at_random_positions_is_harmless_or_recognized(made: Bench, trials: int) -> None:
    found = damage.on(made, trials, seed=trials, trained=1)
    assert found.trials == trials
    assert found.broken == []


def test_every_kind_of_damage_is_harmless_or_recognized(bench: Bench) -> None:
    found = [damage.trial(bench, name, random.Random(seed)) for name in DAMAGES for seed in range(2)]
    assert [broken for _, broken in found if broken] == []
    assert {outcome.split(";")[0] for outcome, _ in found} >= {"looking: as undamaged", "looking: refused"}


def test_a_flipped_bit_in_a_score_is_noticed(bench: Bench) -> None:
    """In the score's eight bytes in the file, so that SQLite finds nothing wrong."""
    ((value,),) = ask(bench, "SELECT value FROM scores WHERE sampled = 0 AND name = 'validation_loss' LIMIT 1")
    file, stored = bench.place / DATABASE, struct.pack(">d", value)
    content = bytearray(file.read_bytes())
    assert content.count(stored) >= 1
    content[content.index(stored) + 5] ^= 4
    file.write_bytes(content)
    assert ask(bench, "PRAGMA integrity_check") == [("ok",)]
    assert look(bench) == ("refused", [])
    assert "checksum" in say(LOOKS[0], "--out", str(bench.place)).err
    with closing(Store.create(bench.place)) as store:
        done = store.results()
        assert store.damaged == bench.results.keys() & set(planned(bench)) - done.keys()
        assert len(store.damaged) == 1


def planned(bench: Bench) -> list[str]:
    return [str(run) for (run,) in ask(bench, "SELECT DISTINCT id FROM runs")]


DAMAGED_RUNS = {
    "a score is lost": "DELETE FROM scores WHERE name = 'fit' AND run = (SELECT min(id) FROM runs)",
    "a score is made up": "INSERT INTO scores SELECT min(id), 1, 99, 0, 'fit', 1.0 FROM runs",
    "another point of the path": "UPDATE scores SET step = step + 1 WHERE sampled = 1 AND run = (SELECT min(id) FROM runs)",
    "a curve is lost": "DELETE FROM curves WHERE run = (SELECT min(id) FROM runs)",
    "a curve is another's": "UPDATE curves SET losses = '[]' WHERE run = (SELECT min(id) FROM runs)",
    "the status": "UPDATE runs SET status = 'diverged' WHERE id = (SELECT min(id) FROM runs)",
    "the time": "UPDATE runs SET started = '2001-01-01' WHERE id = (SELECT min(id) FROM runs)",
    "the attempt": "UPDATE runs SET attempt = 2 WHERE id = (SELECT min(id) FROM runs)",
    "the seal": "UPDATE runs SET seal = '' WHERE id = (SELECT min(id) FROM runs)",
    "the seal of a path": "UPDATE runs SET path = '' WHERE id = (SELECT min(id) FROM runs)",
    "an identity that is no JSON": "UPDATE runs SET identity = '{' WHERE id = (SELECT min(id) FROM runs)",
    "an identity that is no text": "UPDATE runs SET identity = x'ff00' WHERE id = (SELECT min(id) FROM runs)",
    "an identity with NaN": "UPDATE runs SET identity = replace(identity, '\"seed\": 0', '\"seed\": NaN')",
    "an endless identity": f"UPDATE runs SET identity = '{'[' * 100_000}' WHERE id = (SELECT min(id) FROM runs)",
    "the name of weights": "UPDATE weights SET name = 'another.safetensors' WHERE run = (SELECT min(id) FROM runs)",
    "the size of weights": "UPDATE weights SET size = x'00' WHERE run = (SELECT min(id) FROM runs)",
}  # fmt: skip
DAMAGED_ROWS = {
    "a member's cell": "UPDATE members SET cell = replace(cell, 'adamw', 'adamv')",
    "a member that is no JSON": "UPDATE members SET cell = x'ff'",
    "a member's seal": "UPDATE members SET seal = 'seal'",
    "an experiment's card": "UPDATE experiments SET card = replace(card, '0.9', '0.8')",
    "an experiment's seal": "UPDATE experiments SET seal = ''",
    "when an experiment was used": "UPDATE experiments SET used = 9223372036854775807",
    "when an experiment was used, as bytes": "UPDATE experiments SET used = x'ff'",
    "that an experiment is unfinished": "UPDATE experiments SET finished = 0",
}  # fmt: skip


def test_damaged_rows_are_refused_by_looks_and_runs_trained_again_others_written_again(bench: Bench) -> None:
    for name, statement in (DAMAGED_RUNS | DAMAGED_ROWS).items():
        bench.put("whole")
        change(bench, statement)
        ran = "trained again" if name in DAMAGED_RUNS else "nothing is lost"
        assert (look(bench), rerun(bench)) == (("refused", []), (ran, [])), name


def test_the_same_command_on_a_folder_with_a_damaged_experiment_and_members_mends_it(bench: Bench) -> None:
    change(bench, "UPDATE members SET cell = '[]'", "UPDATE experiments SET used = x'00'")
    said = say("run --device cpu --keep-weights all --quiet", str(bench.card), "--out", str(bench.place))
    assert (said.code, said.err) == (0, "")
    after = say(LOOKS[1], "--out", str(bench.place))
    assert after == bench.said["whole"][LOOKS[1]]


def test_a_text_that_is_no_text_and_a_schema_that_sqlite_cannot_even_name_are_refused(bench: Bench) -> None:
    change(bench, "UPDATE runs SET device = CAST(x'c3ff' AS TEXT)")
    assert (look(bench), rerun(bench)) == (("refused", []), ("refused", []))
    bench.put("whole")
    file = bench.place / DATABASE
    file.write_bytes(file.read_bytes().replace(b"tablemembersmembers", b"table\x97embersmembers"))
    assert (look(bench), rerun(bench)) == (("refused", []), ("refused", []))


def test_a_run_that_is_lost_with_all_its_rows_is_missed_by_looks_and_trained_again(bench: Bench) -> None:
    run = f"= '{planned(bench)[0]}'"
    tables = {"runs": "id", "scores": "run", "curves": "run", "observations": "run", "weights": "run"}
    change(bench, *(f"DELETE FROM {table} WHERE {column} {run}" for table, column in tables.items()))
    assert look(bench) == ("refused", [])
    assert rerun(bench) == ("trained again", [])


def test_of_a_damaged_run_whose_rerun_was_interrupted_the_others_are_shown(bench: Bench) -> None:
    change(bench, DAMAGED_RUNS["the status"])
    with closing(Store.create(bench.place)) as store:
        store.results()
        (lost,) = store.damaged
        (run,) = [run for run in Plan(bench.experiment, store.results()).remaining() if run.id == lost]
        store.keep(run, Result(lost, "interrupted"), [], None)
    assert [say(command, "--out", str(bench.place)).code for command in LOOKS] == [0, 0]
    assert rerun(bench) == ("trained again", [])


def test_an_interrupted_run_that_says_to_be_another_one_is_refused(bench: Bench) -> None:
    change(bench, "UPDATE runs SET status = 'interrupted', identity = replace(identity, '0.002', '0.003')")
    assert look(bench) == ("refused", [])


def test_damage_of_a_replaced_attempts_identity_does_not_hide_the_sound_one(bench: Bench) -> None:
    columns = "identity, status, fleet_size, seconds, started, device, versions, scored, path, seal"
    change(bench, f"INSERT INTO runs SELECT id, 2, 'x', 'interrupted', {columns.split(', ', 2)[2]} FROM runs")
    assert look(bench) == ("as undamaged", [])
    assert rerun(bench) == ("nothing is lost", [])


def test_a_refused_database_and_its_log_are_left_as_they_were(bench: Bench) -> None:
    """Another's log, once it is moved into a database, could not be taken away any more."""
    bench.put("killed")
    with closing(sqlite3.connect(bench.place / DATABASE, isolation_level=None)) as db:
        db.execute("UPDATE runs SET seconds = 0")
        db.execute("UPDATE members SET attempt = attempt")
        log = (bench.place / LOG).read_bytes()
    bench.put("whole")
    shutil.copyfile(bench.folder / "other" / DATABASE, bench.place / DATABASE)
    (bench.place / LOG).write_bytes(log[: 32 + (4096 + 24) * 9])
    content = bytearray((bench.place / DATABASE).read_bytes())
    content[4096 * 3 : 4096 * 4] = bytes(4096)
    (bench.place / DATABASE).write_bytes(content)
    before = {name: (bench.place / name).read_bytes() for name in (DATABASE, LOG)}
    with pytest.raises(BadInput):
        Store.create(bench.place)
    assert {name: (bench.place / name).read_bytes() for name in (DATABASE, LOG)} == before


def test_weights_outside_of_their_folder_are_neither_read_nor_deleted(bench: Bench) -> None:
    """Even where the row's checksum is right, as somebody's who made it."""
    for file in (bench.place / "x.safetensors", bench.place / "weights" / "below" / "x.safetensors"):
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    (run, *_), inside = planned(bench), "below/x.safetensors"
    for name in ("../x.safetensors", f"{bench.place}/x.safetensors", inside, "..", ".", "", "a\0b", "x.safetensors\n"):
        row = (run, 1, name, 0, damage.sha256(b"").hexdigest())
        with closing(sqlite3.connect(bench.place / DATABASE)) as db, db:
            db.execute("INSERT OR REPLACE INTO weights VALUES (?,?,?,?,?,?)", (*row, seal(*row)))
        with closing(Store.create(bench.place)) as store:
            assert store.valid_weights(store.results()[run]) is None, name
            files = sorted(bench.place.rglob("*"))
            store.drop_weights([row[:2]])
            assert sorted(bench.place.rglob("*")) == files, name


def test_weights_that_a_damaged_row_names_are_not_deleted(bench: Bench) -> None:
    one, two = planned(bench)[:2]
    change(bench, f"UPDATE weights SET name = (SELECT name FROM weights WHERE run = '{two}') WHERE run = '{one}'")
    before = sorted((bench.place / "weights").iterdir())
    with closing(Store.create(bench.place)) as store:
        store.drop_weights([(one, 1)])
    assert sorted((bench.place / "weights").iterdir()) == before


def test_a_folder_where_a_file_should_be_is_refused(bench: Bench) -> None:
    for name in (DATABASE, LOG):
        bench.put("whole")
        (bench.place / name).unlink(missing_ok=True)
        (bench.place / name).mkdir()
        for command in (*LOOKS, f"run {bench.card} --quiet --device cpu"):
            said = say(command, "--out", str(bench.place))
            assert said.code in (2, 4), (name, command)
            assert said.is_plain, (name, command)


def test_files_that_lie_elsewhere_behind_a_link_are_found(bench: Bench) -> None:
    for name in (DATABASE, "weights"):
        moved = bench.place.with_name(f"moved-{name}")
        (bench.place / name).rename(moved)
        (bench.place / name).symlink_to(moved)
    assert look(bench) == ("as undamaged", [])
    assert rerun(bench) == ("nothing is lost", [])


def test_a_refusal_says_what_to_do(bench: Bench) -> None:
    content = bytearray((bench.place / DATABASE).read_bytes())
    for start, end, advice in ((4096, len(content), "put back a copy"), (0, 16, "another")):
        content[start:end] = bytes(end - start)
        (bench.place / DATABASE).write_bytes(content)
        for opened in (Store.create, Store.read):
            with pytest.raises(BadInput, match=advice):
                opened(bench.place)


def test_a_run_of_which_only_the_path_is_damaged_is_trained_again_by_the_program(bench: Bench) -> None:
    """Its scores at the end are sound, and so are its weights."""
    parent = "(SELECT id FROM runs WHERE json_extract(identity, '$.parent') IS NULL LIMIT 1)"
    change(bench, f"UPDATE scores SET value = value + 1 WHERE sampled = 1 AND run = {parent}")
    assert damage.train_again(bench) == []
