"""Recomputes what the program publishes of a folder of results: `python -m tests.recompute FOLDER RUNNER`.

Its input is the export of every run and the runner's card. It shares no code with the package: the formulas are those of
the documentation, the numbers numpy's and scipy's. Runners have one or two stages. A line for each kind of number says
how many were compared, and the largest deviation beyond the printed decimals; the exit code is 1 where one is above 1e-9.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.recompute.audit import Audit


def call(arguments: Sequence[str]) -> str:
    command = [sys.executable, "-m", "synthbench", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, runner = sys.argv[1:]
    card = tomllib.loads(Path(runner if runner.endswith(".toml") else f"runners/{runner}.toml").read_text())
    ledger = Audit(call, folder, runner, card).ledger
    print("\n".join(ledger.lines()))
    return 1 if ledger.deviating else 0


if __name__ == "__main__":
    sys.exit(main())
