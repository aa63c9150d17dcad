"""A disk that is full, fails or cannot be written, and a clock that jumps: a sentence, and nothing finished is lost."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import closing, redirect_stderr, redirect_stdout
from itertools import count
from pathlib import Path
from unittest.mock import patch

import pytest

from synthbench.interface import outcome
from synthbench.store.results import Store
from tests.calling import Caller
from tests.reliability import disk, program
from tests.reliability.damage import leave_log
from tests.reliability.disk import Said, Undisturbed
from tests.reliability.program import Gate, say

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and mount namespaces are Linux's")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program.quick_card(tmp_path_factory.mktemp("disk"))


@pytest.fixture(scope="module")
def library(card: Path) -> Path:
    if not shutil.which("cc"):
        pytest.skip("a failing disk is preloaded, from a C file")
    return disk.built(card.parent)


@pytest.fixture(scope="module")
def whole(card: Path) -> Undisturbed:
    assert say("run", str(card), "--out", str(card.parent / "undisturbed"), *disk.OPTIONS).code == 0
    return disk.shown(card.parent / "undisturbed")


@pytest.fixture
def out(card: Path, whole: Undisturbed, tmp_path: Path) -> Path:
    return shutil.copytree(card.parent / "undisturbed", tmp_path / "out")


@pytest.fixture(scope="module")
def unshare() -> list[str]:
    """What starts a shell that may mount, with mounts of its own."""
    for flags in ("-m", "-rm"):
        found = ["unshare", flags, "bash", "-euc"]
        if (
            shutil.which("unshare")
            and not subprocess.run([*found, "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode
        ):
            return found
    pytest.skip("mounting takes a mount namespace: `unshare -m` as root, or `unshare -rm`")


def environment(**more: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(program.ROOT), **more}


@pytest.mark.slow
def test_whichever_write_fails_a_sentence_is_said_and_the_same_command_finishes(tmp_path: Path, library: Path) -> None:
    assert not disk.campaign(tmp_path, 6, seed=6).broken


# The disk is filled once a worker is held at the gate.
FILLED = """
mount -t tmpfs -o size=8m none "$DISK"
"$@" > /dev/null 2> "$KEPT/err" &
while [ ! -e "$REACHED" ]; do kill -0 $!; sleep 0.02; done
dd if=/dev/zero of="$DISK/filler" bs=4k 2> /dev/null || true
rm "$GATE"
code=0; wait $! || code=$?
echo $code > "$KEPT/code"
python -m synthbench export --out "$DISK/out" > "$KEPT/export" || test $? = 2
cp -r "$DISK/out" "$KEPT/out"
"""


def test_a_full_disk_is_said_and_harmless(card: Path, whole: Undisturbed, unshare: list[str], tmp_path: Path) -> None:
    mounted, kept, gate = tmp_path / "mounted", tmp_path / "kept", Gate(tmp_path / "gate")
    mounted.mkdir()
    kept.mkdir()
    gate.close()
    command = program.command(card, mounted / "out", *disk.OPTIONS)
    space = environment(DISK=str(mounted), KEPT=str(kept), REACHED=str(gate.reached)) | gate.env
    subprocess.run([*unshare, FILLED, "bash", *command], env=space, timeout=program.PATIENCE, check=True)
    assert (kept / "code").read_text() == "4\n"
    assert Said(4, "", (kept / "err").read_text()).is_plain
    finished, wrong = disk.judged(kept / "out", whole)
    assert not wrong
    assert len(finished) == 1
    assert not (kept / "export").read_text() or disk.exported(Said(0, (kept / "export").read_text(), "")) == finished
    again = say("run", str(card), "--out", str(kept / "out"), *disk.OPTIONS)
    assert not [*disk.finished(again, kept / "out", finished, whole)]


MADE = """
import shutil, subprocess, sys
from pathlib import Path
from synthbench.common.errors import Failed
from synthbench.store.results import Store

disk = Path(sys.argv[1])
for number, size in enumerate(range(16, 200, 4)):
    place = disk / str(size)
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", place], check=True)
    try:
        Store.create(place / "out").close()
        print("made")
    except Failed:
        print("full")
    shutil.copytree(place, disk / "copy", dirs_exist_ok=True)
    Store.create(disk / "copy" / "out").close()  # refuses a damaged one
    shutil.rmtree(disk / "copy")
"""


def test_a_database_that_there_is_no_room_for_is_not_left_half_made(unshare: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [*unshare, 'python -c "$MADE" "$1"', "bash", tmp_path], env=environment(MADE=MADE), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"made", "full"}


READ_ONLY = """
import json, subprocess, sys
from tests.reliability.program import say

card, temporary, *folders = sys.argv[1:]
for out in folders:
    subprocess.run(["mount", "--bind", out, out], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", out], check=True)
said = [[say(command, "--out", out) for command in ("report", "export", f"run {card}")] for out in folders]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", temporary], check=True)
print(json.dumps([[*found, say("report", "--out", out)] for found, out in zip(said, folders)]))
"""


def test_a_folder_that_cannot_be_written_is_reported_and_exported_all_the_same_but_not_run_in(
    card: Path, out: Path, unshare: list[str], tmp_path: Path
) -> None:
    """One that was closed, and one as a kill leaves it, with a log beside the database."""
    for beside in ("results.db-wal", "results.db-shm"):
        (out / beside).unlink(missing_ok=True)
    killed, temporary = tmp_path / "killed", tmp_path / "temporary"
    leave_log(out, out, killed)
    assert (killed / "results.db-wal").stat().st_size
    temporary.mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    words = ['python -c "$0" "$@"', READ_ONLY, str(card), str(temporary), str(out), str(killed)]
    told = subprocess.run([*unshare, *words], env=environment(TMPDIR=str(temporary)), capture_output=True, check=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not [*temporary.iterdir()]
    for folder, found in zip((out, killed), json.loads(told.stdout), strict=True):
        report, export, run, crowded = (Said(*one) for one in found)
        assert (run.code, run.out, run.is_plain) == (2, "", True)
        assert str(folder) in run.err
        assert (report, export) == tuple(disk.asked(name, folder) for name in ("report", "export"))
        # SQLite can read beside the files that a kill leaves; else there is no room for the copy from which it is read
        assert crowded == report if folder == killed else (crowded.code, crowded.is_plain) == (4, True)


def test_an_output_that_cannot_be_written_is_said(card: Path, out: Path, whole: Undisturbed, tmp_path: Path) -> None:
    new = tmp_path / "new"
    commands = [f"{name} --out {out}" for name in ("report", "export")] + ["ls score", "--help"]
    for command in [*commands, f"run {card} --out {new} --quiet {' '.join(disk.OPTIONS)}"]:
        with (
            open("/dev/full", "w") as full,
            redirect_stdout(full),
            redirect_stderr(io.StringIO()) as err,
            patch.object(sys, "argv", ["synthbench", *command.split()]),
        ):
            code = outcome.outcome()
        assert (code, Said(4, "", err.getvalue()).is_plain) == (4, True), command
        assert os.strerror(28) in err.getvalue(), command
    kept, wrong = disk.judged(new, whole)
    assert kept.keys() == whole.runs.keys()
    assert not wrong
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "synthbench", *commands[0].split()]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False)
    assert (done.returncode, Said(4, "", done.stderr).is_plain) == (4, True)  # the interpreter's end adds nothing


def test_a_traceback_that_cannot_be_saved_is_said_in_one_line(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthbench.interface.listing.show_list", lambda *_: 1 / 0)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", lambda *_, **__: open("/dev/full", "w"))  # noqa: SIM115
    code, _, err = call("ls task")
    assert code == 4
    assert "division by zero" in err
    assert os.strerror(28) in err
    assert len(err.strip().splitlines()) == 1


def test_a_clock_that_jumps_does_no_harm(
    card: Path, whole: Undisturbed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A day ahead and a day behind by turns: nothing is different, and the last experiment is the last."""

    def ordered() -> list[bool]:
        with closing(Store.read(tmp_path / "out")) as store:
            return ["--lr 1e-3" in one.command for one in store.experiments()]

    turns, now = count(), time.time
    monkeypatch.setattr(time, "time", lambda: now() + (-1) ** next(turns) * 86400)
    command = ("run", str(card), "--out", str(tmp_path / "out"), *disk.OPTIONS)
    assert say(*command).code == 0
    kept, wrong = disk.judged(tmp_path / "out", whole)
    assert kept.keys() == whole.runs.keys()
    assert not wrong
    for _ in range(2):
        assert say(*command, "--lr", "1e-3").code == 0  # another experiment, whose runs are all there
        assert ordered() == [True, False]
        assert say(*command).code == 0
        assert ordered() == [False, True]
