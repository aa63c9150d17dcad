"""A disk that is full, fails or cannot be written, and a clock that jumps: a sentence, and nothing finished is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from synthbench.experiment.store import Store
from tests.calling import Caller
from tests.experiment import tiny
from tests.reliability import disk, program
from tests.reliability.disk import Said, Undisturbed

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("cc"), reason="a failing disk is preloaded, from a C file, on Linux"
)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write(tmp_path_factory.mktemp("disk"))


@pytest.fixture(scope="module")
def library(card: Path) -> Path:
    return disk.built(card.parent)


@pytest.fixture(scope="module")
def whole(card: Path, library: Path) -> Undisturbed:
    return disk.undisturbed(card, card.parent / "undisturbed", library)


@pytest.fixture
def out(card: Path, whole: Undisturbed, tmp_path: Path) -> Path:
    """A copy of finished results."""
    shutil.copytree(card.parent / "undisturbed", tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture(scope="module")
def unshare() -> list[str]:
    """What starts a shell that may mount, with mounts of its own."""
    for flags in ("-m", "-rm"):
        found = ["unshare", flags, "bash", "-euc"]
        if shutil.which("unshare") and not subprocess.run([*found, "mount -t tmpfs none /mnt"], check=False).returncode:
            return found
    pytest.skip("mounting takes a mount namespace: `unshare -m` as root, or `unshare -rm`")


@pytest.mark.parametrize("trials", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_whichever_write_fails_a_sentence_is_said_and_the_same_command_finishes(tmp_path: Path, trials: int) -> None:
    assert not disk.campaign(tmp_path, trials, seed=trials).broken


FILLED = """
mount -t tmpfs -o size="$SIZE" none "$DISK"
code=0; "$@" > /dev/null 2> "$KEPT/err" || code=$?
echo $code > "$KEPT/code"
for command in report export; do
    python -m synthbench $command --out "$DISK/out" > "$KEPT/$command" 2> "$KEPT/$command.err" || test $? = 2
done
cp -r "$DISK/out" "$KEPT/full"
mount -o remount,size=64m "$DISK"
"$@" > "$KEPT/again" 2> "$KEPT/again.err"
cp -r "$DISK/out" "$KEPT/finished"
"""
SIZES = ["40k", "140k", "180k", "220k", "280k"]


@pytest.mark.parametrize("size", [*(pytest.param(size, marks=pytest.mark.slow) for size in SIZES), "210k"])
def test_a_disk_that_fills_up_ends_in_a_sentence_and_with_more_room_the_same_command_finishes(
    size: str, card: Path, whole: Undisturbed, unshare: list[str], tmp_path: Path
) -> None:
    mounted, kept = tmp_path / "mounted", tmp_path / "kept"
    mounted.mkdir()
    kept.mkdir()
    command = program.command(card, mounted / "out", *disk.OPTIONS)
    space = environment({"SIZE": size, "DISK": str(mounted), "KEPT": str(kept)})
    subprocess.run([*unshare, FILLED, "bash", *command], env=space, timeout=program.PATIENCE, check=True)
    assert (kept / "code").read_text() == "4\n"
    assert disk.is_plain(Said(4, "", (kept / "err").read_text()))
    finished, wrong = disk.judged(kept / "full", whole)
    assert not wrong
    assert not (kept / "export").read_text() or disk.exported(Said(0, (kept / "export").read_text(), "")) == finished
    again = Said(0, "", (kept / "again.err").read_text())
    assert not [*disk.finished(again, kept / "finished", finished, whole)]


MADE = """
import shutil, subprocess, sys
from pathlib import Path
from synthbench.errors import Failed
from synthbench.experiment.store import Store

disk = Path(sys.argv[1])
out = disk / "out"
for size in range(16, 200, 4):
    subprocess.run(["mount", "-o", f"remount,size={size}k", disk], check=True)
    try:
        Store.create(out).close()
        print("made")
    except Failed:
        print("full")
    subprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)
    Store.create(out).close()  # refuses a damaged one
    shutil.rmtree(out)
"""


def test_a_database_that_there_is_no_room_for_is_not_left_half_made(unshare: list[str], tmp_path: Path) -> None:
    mount = 'mount -t tmpfs none "$1"; python -c "$MADE" "$1"'
    space = environment({"MADE": MADE})
    done = subprocess.run([*unshare, mount, "bash", tmp_path], env=space, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {"made", "full"}


READ_ONLY = """
mount --bind "$DISK" "$DISK"
mount -o remount,bind,ro "$DISK"
for command in report export; do python -m synthbench $command --out "$DISK" > "$KEPT/$command"; done
code=0; "$@" > "$KEPT/run" 2> "$KEPT/err" || code=$?
echo $code > "$KEPT/code"
mount -t tmpfs -o size=16k none "$TMPDIR"
code=0; python -m synthbench report --out "$DISK" > /dev/null 2> "$KEPT/no-room" || code=$?
echo $code >> "$KEPT/no-room"
"""


@pytest.mark.parametrize("left", ["closed", "killed"])
def test_a_folder_that_cannot_be_written_is_reported_and_exported_all_the_same_but_not_run_in(
    left: str, card: Path, out: Path, unshare: list[str], tmp_path: Path
) -> None:
    for beside in ("results.db-wal", "results.db-shm"):
        (out / beside).unlink(missing_ok=True)
    if left == "killed":
        leave_a_log(out)
        assert (out / "results.db-wal").stat().st_size
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    kept, temporary = tmp_path / "kept", tmp_path / "temporary"
    kept.mkdir()
    temporary.mkdir()
    space = environment({"DISK": str(out), "KEPT": str(kept), "TMPDIR": str(temporary)})
    command = program.command(card, out, *disk.OPTIONS)
    subprocess.run([*unshare, READ_ONLY, "bash", *command], env=space, timeout=program.PATIENCE, check=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert not [*temporary.iterdir()]
    assert (kept / "code").read_text() == "2\n"
    assert not (kept / "run").read_text()
    said = (kept / "err").read_text()
    assert disk.is_plain(Said(2, "", said))
    assert str(out) in said
    for name in ("report", "export"):
        assert (kept / name).read_text() == disk.asked(name, out).out
    *told, code = (kept / "no-room").read_text().splitlines()  # for the copy from which it is read
    assert (code, len(told)) == ("4", 1) or left == "killed"  # SQLite can read beside the files that a kill leaves


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """For shells that call `python -m synthbench`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(program.ROOT), **more}


def leave_a_log(out: Path) -> None:
    """Writes to the database in a process that is then killed: what it wrote stays in the log beside it."""
    code = (
        "import os, sys; from pathlib import Path; from synthbench.experiment.store import Store; "
        "store = Store.create(Path(sys.argv[1])); store.record(*store.experiments()[0]); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(out)], env=environment({}), check=False)
    assert killed.returncode == -9


@pytest.mark.parametrize("command", ["report", "export", "ls score", "--help"])
def test_an_output_that_cannot_be_written_is_said(command: str, out: Path) -> None:
    where = ["--out", str(out)] if command in ("report", "export") else []
    assert disk.is_plain(to_a_full_device([sys.executable, "-m", "synthbench", *command.split(), *where]))


def test_a_run_whose_table_cannot_be_printed_has_kept_its_results(
    card: Path, whole: Undisturbed, tmp_path: Path
) -> None:
    said = to_a_full_device(program.command(card, tmp_path / "out", *disk.OPTIONS, "--quiet"))
    assert disk.is_plain(said)
    kept, wrong = disk.judged(tmp_path / "out", whole)
    assert kept.keys() == whole.runs.keys()
    assert not wrong


def to_a_full_device(command: list[str]) -> Said:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment({}), timeout=program.PATIENCE,
            check=False,
        )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "No space left on device" in done.stderr
    return Said(done.returncode, "", done.stderr)


def test_a_traceback_that_cannot_be_saved_is_said_in_one_line(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthbench.reporting.catalogue.show_list", lambda *_: 1 / 0)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", lambda *_, **__: open("/dev/full", "w"))  # noqa: SIM115
    code, _, err = call("ls task")
    assert code == 4
    assert "division by zero" in err
    assert "could not be saved (No space left on device)" in err
    assert len(err.strip().splitlines()) == 1


def test_a_clock_that_jumps_does_no_harm(card: Path, library: Path, whole: Undisturbed, tmp_path: Path) -> None:
    """Two at once, a day ahead and a day behind by turns: nothing is trained twice, nothing is different."""
    out, jumping = tmp_path / "out", {"LD_PRELOAD": str(library), "CLOCK_JUMPS": "1"}
    now = "import time; print(len({round(time.time() - start, -4) for start in [time.time()] for _ in range(4)}))"
    jumps = subprocess.run([sys.executable, "-c", now], env=os.environ | jumping, capture_output=True, check=True)
    assert jumps.stdout == b"2\n"
    with ExitStack() as stack:
        both = [
            stack.enter_context(program.started(card, out, *disk.OPTIONS, "--fleet-size", "1", env=jumping))
            for _ in range(2)
        ]
        errors = [program.ended(process)[1] for process in both]
    assert sum(map(program.trained, errors)) == 3
    kept, wrong = disk.judged(out, whole)
    assert len(kept) == 3
    assert not wrong
    with program.started(card, out, *disk.OPTIONS, "--lr", "1e-3", env=jumping) as process:
        program.ended(process)  # another experiment, whose runs are all there
    with closing(Store.read(out)) as store:
        assert [one.command.endswith("--lr 1e-3") for one in store.experiments()] == [True, False]
