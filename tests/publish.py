"""Makes what is published again, from real runs: `python -m tests.publish calibration leaderboard planted sizes quick`.

Results are kept in `NAME-results/`, so that an interrupted one goes on and a finished one is written again in seconds.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RUN, REPORT = "run {0} --out {0}-results", "report {0} --out {0}-results"
ROWS = f"{REPORT} --format reference > reports/{{0}}.json"
FIGURES = f"{REPORT} --figures reports/{{0}}"
PAGES = ["ls task --format markdown > tasks/README.md", "ls runner --format markdown > runners/README.md"]
PRODUCTS = {
    "calibration": [RUN, ROWS, FIGURES],
    "leaderboard": [
        RUN, ROWS, f"{FIGURES} --format markdown > reports/{{0}}.md",
        f"{REPORT} --format claims --update reports/README.md",
    ],
    "planted": [RUN, ROWS],
    "sizes": [RUN, ROWS, FIGURES],
    "quick": [
        "run {0} --optimizer adamw,muon,sgd --out {0}-results", ROWS, f"{REPORT} --format markdown > reports/{{0}}.md",
        f"{REPORT} --update README.md",
    ],
    "pages": [],
}  # fmt: skip


def commands(product: str) -> list[str]:
    """What makes a product, as typed in the project's folder, and the pages that show it."""
    return [command.format(product) for command in [*PRODUCTS[product], *PAGES]]


def publish(product: str) -> None:
    for command in commands(product):
        print(f"synthbench {command}", flush=True)
        words, _, target = command.partition(" > ")
        done = subprocess.run(
            [sys.executable, "-m", "synthbench", *shlex.split(words)], cwd=ROOT, check=True, text=True,
            stdout=subprocess.PIPE if target else None,
        )  # fmt: skip
        if target:
            (ROOT / target).write_text(done.stdout, encoding="utf-8")


if __name__ == "__main__":
    wrong = [name for name in sys.argv[1:] if name not in PRODUCTS]
    if wrong or not sys.argv[1:]:
        sys.exit(f"Give one or more of {', '.join(PRODUCTS)}.")
    for name in sys.argv[1:]:
        publish(name)
