"""The default tests under many conditions: `python -m tests.matrix`, or for instance

    python -m tests.matrix quiet busy --python python3.11 --python python3.13 --torch 2.13.0 --torch 2.11.0

Each interpreter with each torch gets an environment (kept in --environments), and runs the suite under each condition. A
table says how long each took and what failed; the exit code is 1 where anything did. `--python` may have words before the
interpreter that every process of its is started with, such as `chroot /srv/trixie`.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from tabulate import tabulate

from synthbench.experiment import identity

ROOT = Path(__file__).resolve().parents[1]
TESTS = ("-m", "pytest", "-n", "auto", "--maxprocesses", "4", "--dist", "worksteal")


class Condition(NamedTuple):
    """before: words before the interpreter. after: options of pytest. variables: of the environment, None for one that is
    not set. busy: processes that keep a processor busy meanwhile."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    variables: Mapping[str, str | None] = MappingProxyType({})
    busy: int = 0


BARE = {"LANG": "C", "LC_ALL": "C", "TERM": None, "COLUMNS": "40", "HOME": "/nonexistent", "TZ": "Asia/Kathmandu"}
CONDITIONS = {
    "quiet": Condition(),
    "busy": Condition(busy=2),
    "one-core": Condition(before=("taskset", "-c", "0")),
    "reversed": Condition(after=("-p", "tests.reversed")),
    "bare": Condition(variables=BARE),
}


class Environment(NamedTuple):
    """An interpreter with what is installed for it. before: words that its processes are started with."""

    before: tuple[str, ...]
    python: Path
    said: str


def environment(python: str, torch: str, folder: Path) -> Environment:
    """Made by the project's constraints, with another torch where one is asked for."""
    *before, interpreter = shlex.split(python)
    in_place = [*before, "env", "-C", str(ROOT)] if before else []
    place = folder / f"{Path(interpreter).name}-torch-{torch}"
    constraints = place.with_name(f"{place.name}.constraints.txt")
    if not constraints.exists():
        subprocess.run([*in_place, interpreter, "-m", "venv", str(place)], cwd=ROOT, check=True)
        lines = (ROOT / "constraints.txt").read_text().splitlines()
        kept = [line for line in lines if not line.startswith("torch==")]
        pip = [*in_place, str(place / "bin" / "python"), "-m", "pip", "install", "-q"]
        wanted = place.with_name(f"{place.name}.wanted.txt")
        wanted.write_text("\n".join([*kept, f"torch=={torch}", ""]))
        subprocess.run([*pip, "-c", str(wanted), f"torch=={torch}"], cwd=ROOT, check=True)
        subprocess.run([*pip, "-c", str(wanted), "-e", ".[test]"], cwd=ROOT, check=True)
        wanted.rename(constraints)
    says = "import platform, torch; print(f'{platform.python_version()}, torch {torch.__version__}')"
    told = subprocess.run(
        [*in_place, str(place / "bin" / "python"), "-c", says], capture_output=True, text=True, check=True
    )
    return Environment(tuple(in_place), place / "bin" / "python", told.stdout.strip())


@contextmanager
def company(count: int) -> Iterator[None]:
    """Processes beside which the tests run."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def tested(where: Environment, name: str) -> list[str]:
    """A line of the table: interpreter, condition, seconds, what pytest counted."""
    condition = CONDITIONS[name]
    environ = {key: value for key, value in {**os.environ, **condition.variables}.items() if value is not None}
    start = time.monotonic()
    with company(condition.busy):
        done = subprocess.run(
            [*condition.before, *where.before, str(where.python), *TESTS, *condition.after],
            cwd=ROOT, env=environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    seconds = time.monotonic() - start
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    counted = re.sub(r" in [\d.]+s.*", "", lines[-1]) if done.returncode in (0, 1) else f"exit code {done.returncode}"
    if done.returncode and not failed:
        failed = lines[-20:]
    print(f"{where.said}, {name}: {seconds:.0f} s, {counted}", *failed, sep="\n  ", flush=True)
    return [where.said, name, f"{seconds:.0f}", counted]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "conditions", nargs="*", default=list(CONDITIONS), help=f"{', '.join(CONDITIONS)}; default: all"
    )
    parser.add_argument("--python", action="append", help="an interpreter; python3 by default")
    parser.add_argument("--torch", action="append", help="a version of torch; that of constraints.txt by default")
    parser.add_argument(
        "--environments", type=Path, default=ROOT / "build" / "matrix", help="the folder to keep them in"
    )
    given = parser.parse_args()
    if unknown := set(given.conditions) - CONDITIONS.keys():
        parser.error(f"no such condition: {', '.join(sorted(unknown))}; there are {', '.join(CONDITIONS)}")
    pinned = re.search(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned
    given.environments.mkdir(parents=True, exist_ok=True)
    rows = []
    for python in given.python or ["python3"]:
        for torch in given.torch or [pinned[1]]:
            where = environment(python, torch, given.environments.resolve())
            rows += [tested(where, condition) for condition in given.conditions]
    print(f"\n{identity.device_name('cpu')}, {len(os.sched_getaffinity(0))} cores\n")
    print(tabulate(rows, ["Python", "condition", "seconds", "tests"], tablefmt="github", disable_numparse=True))
    return int(any(re.search(r"failed|error|exit code", row[-1]) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
