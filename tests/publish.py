"""Regenerates published results from real runs: `python -m tests.publish calibration leaderboard planted sizes
quick contrasts optimizers gate baselines`.

Results are stored in `NAME-results/`; rerun the command to resume. Pages of finished results are written in seconds.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from tests import optimizers
from tests.gate import study as gate

ROOT = Path(__file__).resolve().parent.parent
RUN, REPORT = "run NAME --out NAME-results", "report NAME --out NAME-results"
ROWS = f"{REPORT} --format reference > reports/NAME.json"
FIGURES = f"{REPORT} --figures reports/NAME"
PAGES = ["docs.pages"]
STUDIES = (
    "consistency", "rote", "plasticity", "geometry", "intervention", "reasoning", "decay", "remedies", "capacity", "tail",
    "routing", "grokking", "skills", "automaton",
)  # fmt: skip
REFERENCE, POOL = "1000-1031", "1000-1063"  # seeds of the rows that users' seeds stand beside; for their power
PRODUCTS = {
    "calibration": [RUN, ROWS, FIGURES],
    "leaderboard": [RUN, ROWS, f"{FIGURES} --format markdown > reports/NAME.md"],
    "planted": [RUN, ROWS],
    "sizes": [RUN, ROWS, FIGURES],
    **{
        study: [RUN, ROWS, f"{REPORT} --figures reports/studies/NAME --format markdown > reports/studies/NAME.md"]
        for study in STUDIES
    },
    "quick": [
        f"run NAME --optimizer adamw,muon,sgd --seeds {REFERENCE} --set tuning=wide --out NAME-results",
        f"{REPORT} --format reference > reports/NAME-wide.json",
        f"run NAME --optimizer adamw,muon,sgd --seeds {REFERENCE} --out NAME-results", ROWS,
        "run NAME --optimizer muon --out NAME-example-results",
        "report NAME --out NAME-example-results --format reference > reports/NAME-example.json",
        "report NAME --out NAME-example-results --format markdown > reports/NAME.md",
        "report NAME --out NAME-example-results --into README.md",
    ],
    "paths": [
        f"run quick --optimizer adamw,muon,sgd --seeds {REFERENCE} --path torch --out NAME-results",
        "report quick --out NAME-results --format reference > reports/quick-torch.json",
    ],
    "geometry-again": [
        "run geometry --seeds 4300-4315 --out NAME-results",
        "report geometry --out NAME-results --format reference > reports/NAME.json",
    ],
    "power": [
        f"run quick --optimizer adamw,muon --update full --seeds {POOL} --out NAME-results",
        "report quick --out NAME-results --format reference > reports/NAME.json",
    ],
    "contrasts": ["docs.contrasts > reports/NAME.md"],
    "optimizers": [optimizers.COMMAND, "tests.optimizers > reports/optimizers.md"],
    "gate": ["tests.gate.study > reports/gate.md"],
    "baselines": [
        f"baseline --optimizer {name} -o tests/gate/baselines/{name}.json --overwrite" for name in gate.OPTIMIZERS
    ],
    "pages": [],
}  # fmt: skip


def commands(product: str) -> list[str]:
    """The commands that make a product and the generated pages, to be run in the project's folder."""
    return [command.replace("NAME", product) for command in [*PRODUCTS[product], *PAGES]]


def publish(product: str) -> None:
    for command in commands(product):
        module = [] if command.startswith(("tests.", "docs.")) else ["synthbench"]
        print(*module, command, flush=True)
        words, _, target = command.partition(" > ")
        process = subprocess.run(
            [sys.executable, "-m", *module, *shlex.split(words)], cwd=ROOT, check=True, text=True,
            stdout=subprocess.PIPE if target else None,
        )  # fmt: skip
        if target:
            (ROOT / target).write_text(process.stdout, encoding="utf-8")


if __name__ == "__main__":
    wrong = [name for name in sys.argv[1:] if name not in PRODUCTS]
    if wrong or not sys.argv[1:]:
        sys.exit(f"Give one or more of {', '.join(PRODUCTS)}.")
    for name in sys.argv[1:]:
        publish(name)
