"""Seconds and core-seconds of a command with all that it started, as JSON on the last line of standard output:

    python -m tests.benchmarks.usage COMMAND...

Workers are children of a server that may end after the command. Whoever is a subreaper inherits such orphans (Linux's
`prctl`), and their seconds count once they are waited for.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def main(command: list[str]) -> int:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    start = time.perf_counter()
    code = subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode
    seconds = time.perf_counter() - start
    while True:
        try:
            os.wait()
        except ChildProcessError:
            break
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps([seconds, used.ru_utime + used.ru_stime]), flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
