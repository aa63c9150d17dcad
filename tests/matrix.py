"""The default tests under many conditions: `python -m tests.matrix`, or for instance

    python -m tests.matrix quiet busy --python python3.11 --python python3.13 --torch 2.13.0 --torch 2.11.0

Each interpreter with each torch gets an environment (stored in --environments) and runs the suite under each condition. A
table shows the time and the number of failures; the exit code is 1 if anything failed. `--python` may begin with words that
start every process of the interpreter, such as `chroot /srv/trixie`.
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
SHOW_VERSIONS = "import platform, torch; print(f'{platform.python_version()}, torch {torch.__version__}')"
TESTS = ("-m", "pytest", "-n", "auto", "--maxprocesses", "4", "--dist", "worksteal")


class Condition(NamedTuple):
    """before: words before the interpreter. after: options of pytest. variables: of the environment; None removes one.
    busy: the number of busy processes beside the tests."""

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
    """An interpreter with installed packages. before: words before it. versions: those of Python and torch, as text."""

    before: tuple[str, ...]
    python: Path
    versions: str


def environment(python: str, torch: str, folder: Path) -> Environment:
    """Creates an environment by the constraints of the project, but with this version of torch."""
    *words, interpreter = shlex.split(python)
    prefix = [*words, "env", "-C", str(ROOT)] if words else []
    target = folder / f"{Path(interpreter).name}-torch-{torch}"
    constraints = target.with_name(f"{target.name}.constraints.txt")
    if not constraints.exists():
        subprocess.run([*prefix, interpreter, "-m", "venv", str(target)], cwd=ROOT, check=True)
        lines = (ROOT / "constraints.txt").read_text().splitlines()
        unpinned = [line for line in lines if not line.startswith("torch==")]
        pip = [*prefix, str(target / "bin" / "python"), "-m", "pip", "install", "-q"]
        requirements = target.with_name(f"{target.name}.requirements.txt")
        requirements.write_text("\n".join([*unpinned, f"torch=={torch}", ""]))
        subprocess.run([*pip, "-c", str(requirements), f"torch=={torch}"], cwd=ROOT, check=True)
        subprocess.run([*pip, "-c", str(requirements), "-e", ".[test]"], cwd=ROOT, check=True)
        requirements.rename(constraints)
    completed = subprocess.run(
        [*prefix, str(target / "bin" / "python"), "-c", SHOW_VERSIONS], capture_output=True, text=True, check=True
    )
    return Environment(tuple(prefix), target / "bin" / "python", completed.stdout.strip())


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Runs busy processes beside the tests."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run_condition(env: Environment, name: str) -> list[str]:
    """Runs the suite; returns a row of the table: versions, condition, seconds, counts of tests."""
    condition = CONDITIONS[name]
    variables = {key: value for key, value in {**os.environ, **condition.variables}.items() if value is not None}
    start = time.monotonic()
    with busy_processes(condition.busy):
        completed = subprocess.run(
            [*condition.before, *env.before, str(env.python), *TESTS, *condition.after],
            cwd=ROOT, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    seconds = time.monotonic() - start
    lines = completed.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    code = completed.returncode
    counts = re.sub(r" in [\d.]+s.*", "", lines[-1]) if code in (0, 1) else f"exit code {code}"
    if code and not failed:
        failed = lines[-20:]
    print(f"{env.versions}, {name}: {seconds:.0f} s, {counts}", *failed, sep="\n  ", flush=True)
    return [env.versions, name, f"{seconds:.0f}", counts]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "conditions", nargs="*", default=list(CONDITIONS), help=f"{', '.join(CONDITIONS)}; default: all"
    )
    parser.add_argument("--python", action="append", help="an interpreter; python3 by default")
    parser.add_argument("--torch", action="append", help="a version of torch; that of constraints.txt by default")
    parser.add_argument(
        "--environments", type=Path, default=ROOT / "build" / "matrix", help="the folder in which they are stored"
    )
    options = parser.parse_args()
    if unknown := set(options.conditions) - CONDITIONS.keys():
        parser.error(f"unknown condition: {', '.join(sorted(unknown))}; allowed: {', '.join(CONDITIONS)}")
    pinned = re.search(r"^torch==(.*)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert pinned
    options.environments.mkdir(parents=True, exist_ok=True)
    rows = []
    for python in options.python or ["python3"]:
        for torch in options.torch or [pinned[1]]:
            env = environment(python, torch, options.environments.resolve())
            rows += [run_condition(env, condition) for condition in options.conditions]
    print(f"\n{identity.device_name('cpu')}, {len(os.sched_getaffinity(0))} cores\n")
    print(tabulate(rows, ["Python", "condition", "seconds", "tests"], tablefmt="github", disable_numparse=True))
    return int(any(re.search(r"failed|error|exit code", row[-1]) for row in rows))


if __name__ == "__main__":
    sys.exit(main())
