"""What can go wrong, as the command line's exit codes say it."""

import errno

DISK = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG}


class SynthbenchError(Exception):
    """An error a person can act on: its text is one to three plain sentences."""

    exit_code = 4


class BadInput(SynthbenchError, ValueError):
    """A person's mistake. The text names the file or option, the value and what is allowed."""

    exit_code = 2


class Refuted(SynthbenchError):
    """A claim was refuted, or a check failed."""

    exit_code = 1


class NotMeasured(SynthbenchError):
    """Everything was valid, yet nothing could be measured (for example, every run diverged)."""

    exit_code = 3


class Failed(SynthbenchError):
    """Something outside the person's input broke: a worker died, a disk is full."""

    exit_code = 4


def is_disk_failure(error: OSError) -> bool:
    """Whether a disk is full, over its quota or failing: nothing that other input would mend."""
    return error.errno in DISK
