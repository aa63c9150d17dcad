"""`python -m tests.reliability > reports/reliability.md`: every campaign at full length, in about 40 minutes.

What a campaign found is kept in `reliability-results/`, and those that are there are not run again; names of campaigns as
arguments: these are run anew, and the page has all that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from synthbench.experiment import identity
from tests import nonsense
from tests.reliability import company, damage, disk, killed
from tests.reliability.campaign import Campaign

SEED = 1
KEPT = Path("reliability-results")
# By name: what tries a promise so many times in a folder, and how often.
CAMPAIGNS: dict[str, tuple[Callable[[Path, int], Campaign], int]] = {
    "killed": (lambda folder, trials: killed.campaign(folder, trials, SEED), 100),
    "together": (killed.together, 9),
    "disk": (lambda folder, trials: disk.campaign(folder, trials, SEED), 60),
    "damage": (lambda folder, trials: damage.campaign(folder, trials, SEED), 1000),
    "nonsense": (lambda _, trials: nonsense.campaign(trials), 10_000),
    "company": (company.campaign, 7),
}


def page(found: list[tuple[Campaign, float]]) -> str:
    usual = [(one, CAMPAIGNS[one.name][1]) for one, _ in found]
    fewer = [f"{one.name} {one.trials} of {trials}" for one, trials in usual if one.trials < trials]
    rows = []
    for one, seconds in found:
        happened = "; ".join(f"{count} × {what}" for what, count in sorted(one.outcomes.items()))
        rows.append([one.name, one.trials, happened, len(one.broken), f"{seconds:.0f} s"])
    made = ", ".join(f"{name} {number}" for name, number in identity.versions().items())
    return "\n".join([
        "# reliability", "",
        "What was done to the program, how often, what it did, and how often it broke a promise.", "",
        tabulate(rows, ["campaign", "trials", "what happened", "broken", "time"], tablefmt="github"), "",
        *(f"- **{one.name}**: {one.promise}." for one, _ in found), "",
        *(f"- BROKEN, {one.name}: {said}" for one, _ in found for said in one.broken),
        f"Command: `python -m tests.reliability` (seed {SEED}), on {identity.device_name('cpu')}; {made}."
        + (f" Fewer trials, by `--trials`: {', '.join(fewer)}." if fewer else ""),
    ])  # fmt: skip


def run(name: str, trials: int | None) -> None:
    start = time.monotonic()
    campaign, usual = CAMPAIGNS[name]
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        one = campaign(Path(folder), trials or usual)
    seconds = time.monotonic() - start
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.json").write_text(json.dumps([vars(one), seconds]))
    print(f"{name}: {one.trials} trials, {len(one.broken)} broken, {seconds:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    """Prints the page; exit code 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="CAMPAIGN", help=f"of {', '.join(CAMPAIGNS)}; those missing if none"
    )
    parser.add_argument("--trials", type=int, help="so many of each, other than usual")
    asked = parser.parse_args()
    names: list[str] = asked.names
    if unknown := set(names) - set(CAMPAIGNS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for name in names or [name for name in CAMPAIGNS if not (KEPT / f"{name}.json").exists()]:
        run(name, asked.trials)
    kept = [KEPT / f"{name}.json" for name in CAMPAIGNS]
    contents = [json.loads(file.read_text()) for file in kept if file.exists()]
    found = [(Campaign(**one | {"outcomes": Counter(one["outcomes"])}), seconds) for one, seconds in contents]
    print(page(found))
    return int(any(one.broken for one, _ in found))


if __name__ == "__main__":
    sys.exit(main())
