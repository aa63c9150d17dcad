"""A disk that is full, fails or is read-only, and a clock that jumps: a plain message, and no finished run is lost."""

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
from tests.calling import Caller, Completed
from tests.reliability import disk, program
from tests.reliability.damage import leave_log
from tests.reliability.disk import Reference
from tests.reliability.program import Gate, invoke

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full and mount namespaces need Linux")


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program.quick_card(tmp_path_factory.mktemp("disk"))


@pytest.fixture(scope="module")
def library(card: Path) -> Path:
    if not shutil.which("cc"):
        pytest.skip("the failing disk is compiled from a C file")
    return disk.build_library(card.parent)


@pytest.fixture(scope="module")
def reference(card: Path) -> Reference:
    assert invoke("run", str(card), "--out", str(card.parent / "undisturbed"), *disk.OPTIONS).code == 0
    return disk.read_outputs(card.parent / "undisturbed")


@pytest.fixture
def out(card: Path, reference: Reference, tmp_path: Path) -> Path:
    return shutil.copytree(card.parent / "undisturbed", tmp_path / "out")


@pytest.fixture(scope="module")
def unshare() -> list[str]:
    """The command that starts a shell in a separate mount namespace."""
    for flags in ("-m", "-rm"):
        command = ["unshare", flags, "bash", "-euc"]
        if (
            shutil.which("unshare")
            and not subprocess.run([*command, "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode
        ):
            return command
    pytest.skip("mounting needs a mount namespace: `unshare -m` as root, or `unshare -rm`")


def environment(**variables: str) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(program.ROOT), **variables}


@pytest.mark.slow
def test_any_failed_write_is_reported_and_the_same_command_finishes(tmp_path: Path, library: Path) -> None:
    assert not disk.campaign(tmp_path, 6, seed=6).violations


# The disk is filled once a worker has stopped at the gate.
FILLED = """
mount -t tmpfs -o size=8m none "$DISK"
"$@" > /dev/null 2> "$COPIES/err" &
while [ ! -e "$REACHED" ]; do kill -0 $!; sleep 0.02; done
dd if=/dev/zero of="$DISK/filler" bs=4k 2> /dev/null || true
rm "$GATE"
code=0; wait $! || code=$?
echo $code > "$COPIES/code"
python -m synthbench export --out "$DISK/out" > "$COPIES/export" || test $? = 2
cp -r "$DISK/out" "$COPIES/out"
"""


def test_a_full_disk_is_reported_and_harmless(
    card: Path, reference: Reference, unshare: list[str], tmp_path: Path
) -> None:
    mounted, copies, gate = tmp_path / "mounted", tmp_path / "copies", Gate(tmp_path / "gate")
    mounted.mkdir()
    copies.mkdir()
    gate.close()
    command = program.command(card, mounted / "out", *disk.OPTIONS)
    variables = environment(DISK=str(mounted), COPIES=str(copies), REACHED=str(gate.reached)) | gate.env
    subprocess.run([*unshare, FILLED, "bash", *command], env=variables, timeout=program.TIMEOUT, check=True)
    assert (copies / "code").read_text() == "4\n"
    assert Completed(4, "", (copies / "err").read_text()).has_plain_error
    finished, violations = disk.check_finished(copies / "out", reference)
    assert not violations
    assert len(finished) == 1
    exported = (copies / "export").read_text()
    assert not exported or disk.parse_export(Completed(0, exported, "")) == finished
    rerun = invoke("run", str(card), "--out", str(copies / "out"), *disk.OPTIONS)
    assert not [*disk.check_rerun(rerun, copies / "out", finished, reference)]


MADE = """
import shutil, subprocess, sys
from pathlib import Path
from synthbench.common.errors import Failed
from synthbench.store.results import Store

disk = Path(sys.argv[1])
for number, size in enumerate(range(16, 200, 4)):
    folder = disk / str(size)
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", folder], check=True)
    try:
        Store.create(folder / "out").close()
        print("made")
    except Failed:
        print("full")
    shutil.copytree(folder, disk / "copy", dirs_exist_ok=True)
    Store.create(disk / "copy" / "out").close()  # refuses a damaged database
    shutil.rmtree(disk / "copy")
"""


def test_without_space_no_incomplete_database_is_left(unshare: list[str], tmp_path: Path) -> None:
    completed = subprocess.run(
        [*unshare, 'python -c "$MADE" "$1"', "bash", tmp_path], env=environment(MADE=MADE), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert completed.returncode == 0, completed.stderr
    assert set(completed.stdout.split()) == {"made", "full"}


READ_ONLY = """
import json, subprocess, sys
from tests.reliability.program import invoke

card, temporary, *folders = sys.argv[1:]
for out in folders:
    subprocess.run(["mount", "--bind", out, out], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", out], check=True)
completed = [[invoke(command, "--out", out) for command in ("report", "export", f"run {card}")] for out in folders]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", temporary], check=True)
print(json.dumps([[*before, invoke("report", "--out", out)] for before, out in zip(completed, folders)]))
"""


def test_a_read_only_folder_can_be_reported_and_exported_but_not_run_in(
    card: Path, out: Path, unshare: list[str], tmp_path: Path
) -> None:
    """One folder was closed; the other is as a kill leaves it, with a log beside the database."""
    for beside in ("results.db-wal", "results.db-shm"):
        (out / beside).unlink(missing_ok=True)
    killed, temporary = tmp_path / "killed", tmp_path / "temporary"
    leave_log(out, out, killed)
    assert (killed / "results.db-wal").stat().st_size
    temporary.mkdir()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    arguments = ['python -c "$0" "$@"', READ_ONLY, str(card), str(temporary), str(out), str(killed)]
    completed = subprocess.run(
        [*unshare, *arguments], env=environment(TMPDIR=str(temporary)), capture_output=True, check=True
    )
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not [*temporary.iterdir()]
    for folder, outputs in zip((out, killed), json.loads(completed.stdout), strict=True):
        report, export, run, crowded = (Completed(*output) for output in outputs)
        assert (run.code, run.out, run.has_plain_error) == (2, "", True)
        assert str(folder) in run.err
        assert (report, export) == tuple(disk.query(name, folder) for name in ("report", "export"))
        assert crowded == report


def test_an_output_that_cannot_be_written_is_reported(
    card: Path, out: Path, reference: Reference, tmp_path: Path
) -> None:
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
        assert (code, Completed(4, "", err.getvalue()).has_plain_error) == (4, True), command
        assert os.strerror(28) in err.getvalue(), command
    finished, violations = disk.check_finished(new, reference)
    assert finished.keys() == reference.runs.keys()
    assert not violations
    with open("/dev/full", "w") as full:
        arguments = [sys.executable, "-m", "synthbench", *commands[0].split()]
        completed = subprocess.run(
            arguments, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False
        )
    assert completed.returncode == 4
    assert Completed(4, "", completed.stderr).has_plain_error  # the interpreter prints nothing more at its exit


def test_a_traceback_that_cannot_be_saved_is_reported_in_one_line(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthbench.interface.listing.show_list", lambda *_: 1 / 0)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", lambda *_, **__: open("/dev/full", "w"))  # noqa: SIM115
    code, _, err = call("ls task")
    assert code == 4
    assert "division by zero" in err
    assert os.strerror(28) in err
    assert len(err.strip().splitlines()) == 1


def test_a_clock_that_jumps_does_no_harm(
    card: Path, reference: Reference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It alternates between a day ahead and a day behind: results and the order of experiments do not change."""

    def with_lr_option() -> list[bool]:
        with closing(Store.read(tmp_path / "out")) as store:
            return ["--lr 1e-3" in experiment.command for experiment in store.experiments()]

    calls, now = count(), time.time
    monkeypatch.setattr(time, "time", lambda: now() + (-1) ** next(calls) * 86400)
    command = ("run", str(card), "--out", str(tmp_path / "out"), *disk.OPTIONS)
    assert invoke(*command).code == 0
    finished, violations = disk.check_finished(tmp_path / "out", reference)
    assert finished.keys() == reference.runs.keys()
    assert not violations
    for _ in range(2):
        assert invoke(*command, "--lr", "1e-3").code == 0  # another experiment, whose runs all exist
        assert with_lr_option() == [True, False]
        assert invoke(*command).code == 0
        assert with_lr_option() == [False, True]
