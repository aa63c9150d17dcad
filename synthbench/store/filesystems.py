"""Which kind of file system a folder is on: SQLite's locks and shared memory cannot be relied on over a network."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "orangefs", "pvfs2", "smb3", "smbfs",
}  # fmt: skip
OVER_FUSE = NETWORK | {"rclone", "s3fs", "sshfs"}


class Mount(NamedTuple):
    id: str
    parent: str
    point: Path
    kind: str


def network(folder: Path) -> str | None:
    """The network file system that a folder (or, if it is still to be made, its nearest parent) is on, by its name;
    None where it is on another kind, or where that cannot be known."""
    mounts, path = _mounts(), Path(os.path.realpath(folder))
    known, kind = {mount.id for mount in mounts}, ""
    here = [mount for mount in mounts if mount.parent not in known or mount.parent == mount.id]
    while met := [mount for mount in here if path.is_relative_to(mount.point)]:
        first = min(met, key=lambda mount: len(mount.point.parts))  # it hides what is mounted below, beside it
        kind, here = first.kind, [mount for mount in mounts if mount.parent == first.id != mount.id]
    is_network = kind in NETWORK or (kind.startswith("fuse.") and kind.removeprefix("fuse.") in OVER_FUSE)
    return kind if is_network else None


def _mounts() -> list[Mount]:
    """Lines of: id, parent's id, device, root, mount point, options, "-", type, source, options. Blanks in names are
    octal: `\\040`."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").split("\n")
    except OSError:
        return []
    mounts = []
    for line in lines:
        left, separator, right = line.partition(" - ")
        fields = left.split(" ")
        if separator and len(fields) > 5:
            point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
            mounts.append(Mount(fields[0], fields[1], Path(point), right.split(" ")[0]))
    return mounts
