"""`python -m tests.reliability > reports/reliability.md`: every campaign at full length, in about half an hour. Names of
campaigns as arguments: only those."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tabulate import tabulate

from synthbench.experiment import identity
from tests import nonsense
from tests.reliability import company, damage, disk, killed, together
from tests.reliability.campaign import Campaign

SEED = 1
CAMPAIGNS: dict[str, Callable[[Path], Campaign]] = {
    "killed": lambda folder: killed.campaign(folder, 100, SEED),
    "together": lambda folder: together.campaign(folder, 12),
    "disk": lambda folder: disk.campaign(folder, 120, SEED),
    "damage": lambda folder: damage.campaign(folder, 1000, SEED),
    "nonsense": lambda folder: nonsense.campaign(10_000),
    "company": lambda folder: company.campaign(folder, 7),
}


def happened(one: Campaign) -> list[str]:
    return [f"{count} {what}" for what, count in sorted(one.outcomes.items())]


def page(found: list[tuple[Campaign, float]], names: list[str]) -> str:
    """The report as markdown."""
    rows = [
        [one.name, one.trials, "; ".join(happened(one)), len(one.broken), f"{seconds:.0f} s"] for one, seconds in found
    ]
    made = ", ".join(f"{name} {number}" for name, number in identity.versions().items())
    return "\n".join([
        "# reliability", "",
        "What was done to the program, how often, what it did, and how often it broke a promise.", "",
        tabulate(rows, ["campaign", "trials", "what happened", "broken", "time"], tablefmt="github"), "",
        *(f"- **{one.name}**: {one.promise}." for one, _ in found), "",
        *(f"- BROKEN, {one.name}: {said}" for one, _ in found for said in one.broken),
        f"Command: `{' '.join(['python -m tests.reliability', *names])}` (seed {SEED}), on {identity.device_name('cpu')}; "
        f"{made}.",
    ])  # fmt: skip


def main() -> int:
    """Prints the page; exit code 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="CAMPAIGN", help=f"of {', '.join(CAMPAIGNS)}; all where none is named"
    )
    names: list[str] = parser.parse_args().names
    if unknown := set(names) - set(CAMPAIGNS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    found = []
    for name in names or CAMPAIGNS:
        start = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
            one = CAMPAIGNS[name](Path(folder))
        found.append((one, time.monotonic() - start))
        print(
            f"{name}: {one.trials} trials, {len(one.broken)} broken, {found[-1][1]:.0f} s", file=sys.stderr, flush=True
        )
    print(page(found, names))
    return int(any(one.broken for one, _ in found))


if __name__ == "__main__":
    sys.exit(main())
