"""Which kind of file system a folder is on: SQLite's locks and shared memory cannot be relied on over a network."""

from __future__ import annotations

from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = {
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4",
    "orangefs", "pvfs2", "smb3", "smbfs",
}  # fmt: skip


def network(folder: Path) -> str | None:
    """The network file system that a folder (or, if it is still to be made, its nearest parent) is on, by its name;
    None where it is on another kind, or where that cannot be known."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    place = folder.resolve()
    best, kind = -1, ""
    for line in mounts:  # ... mount point, options, "-", type, source, options; a later mount hides an earlier one
        left, _, right = line.partition(" - ")
        point = Path(left.split()[4].encode().decode("unicode_escape"))
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), right.split()[0]
    own = kind.removeprefix("fuse.")
    return kind if own in NETWORK or (kind.startswith("fuse.") and own in ("sshfs", "rclone", "s3fs")) else None
