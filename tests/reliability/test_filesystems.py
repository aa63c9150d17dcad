"""A folder is refused if the table of mounts shows that it is on a network file system."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench.store import filesystems
from synthbench.store.filesystems import MOUNTS, network
from tests.calling import Caller

# id, parent, mount point, type. As with systemd, /proc was mounted before the root.
TABLE = """
22 28 /proc proc
28 1 / ext4
30 28 /home nfs4
31 30 /home/me/scratch xfs
32 31 /home/me/scratch/far cifs
40 28 /mnt/my\\040disk\\134 nfs
41 28 /mnt/mein-Übung fuse.sshfs
50 28 /hidden/below nfs4
51 28 /hidden ext4
60 28 /stacked ext4
61 60 /stacked nfs
70 28 /again nfs
71 70 /again btrfs
81 28 /bucket fuse.s3fs
82 28 /brick fuse.glusterfs
83 28 /archive fuse.squashfuse
"""
KINDS = {
    "/": None, "/etc": None, "/proc/self": None, "/home": "nfs4", "/home/me": "nfs4", "/homes/me": None,
    "/home/me/scratch": None, "/home/me/scratch/still/to/be/made": None, "/home/me/scratch/far/results": "cifs",
    "/home/me/scratchy": "nfs4", "/mnt/my disk\\/results": "nfs", "/mnt/my": None, "/mnt/mein-Übung/x": "fuse.sshfs",
    "/hidden/below/results": None, "/stacked/results": "nfs", "/again/results": None, "/bucket": "fuse.s3fs",
    "/brick/x": "fuse.glusterfs", "/archive/x": None,
}  # fmt: skip


def set_mounts(monkeypatch: pytest.MonkeyPatch, file: Path, *entries: str) -> None:
    fields = [entry.split(" ") for entry in entries]
    lines = [
        f"{mount_id} {parent} 8:1 / {point} rw shared:1 - {kind} source rw\n"
        for mount_id, parent, point, kind in fields
    ]
    file.write_text("".join(lines), encoding="utf-8")
    monkeypatch.setattr(filesystems, "MOUNTS", file)


def test_a_folder_is_on_the_file_system_that_is_mounted_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems.os.path, "realpath", filesystems.os.path.normpath)  # none of these paths exists
    set_mounts(monkeypatch, tmp_path / "mounts", *TABLE.strip().split("\n"))
    assert {folder: network(Path(folder)) for folder in KINDS} == KINDS


def test_links_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "far")
    (tmp_path / "loop").symlink_to("loop")
    set_mounts(monkeypatch, tmp_path / "mounts", "1 0 / ext4", f"2 1 {tmp_path}/far nfs")
    assert network(tmp_path / "link" / "results") == "nfs"
    assert network(tmp_path / "loop") is None


def test_if_the_table_cannot_be_read_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filesystems, "MOUNTS", tmp_path / "mounts")
    assert network(tmp_path) is None
    for table in (b"", b"\xff\xfe nonsense\n\n - \n"):
        (tmp_path / "mounts").write_bytes(table)
        assert network(tmp_path) is None, table


@pytest.mark.skipif(not MOUNTS.exists(), reason="there is no table of mounts")
def test_the_table_of_this_machine_is_parsed() -> None:
    assert Path("/proc") in {mount.point for mount in filesystems._mounts()}
    assert network(Path("/proc")) is None


def test_a_run_on_a_network_file_system_is_refused_and_writes_nothing(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_mounts(monkeypatch, tmp_path / "mounts", "1 0 / ext4", f"2 1 {tmp_path}/far nfs4")
    out = tmp_path / "far" / "results"
    code, printed, err = call(f"run --out {out}")
    assert (code, printed) == (2, "")
    assert f"--out {out}" in err
    assert "nfs4" in err
    assert len(err.splitlines()) == 1
    assert not out.parent.exists()


def test_a_loop_of_links_is_refused(call: Caller, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for command in ("run", "report", "export"):
        code, _, err = call(f"{command} --out {tmp_path / 'loop'}")
        assert code == 2
        assert len(err.strip().splitlines()) == 1
