"""`python -m tests.reliability > reports/reliability.md`: every usual campaign at full length, in about 40 minutes.

`python -m tests.reliability clustered large "large driver"` adds those of AT_SIZE, in less than an hour on an idle machine;
`clustered` needs the extra `ray`.

Results are stored in `reliability-results/`. Without arguments, campaigns without stored results run; with arguments, the
named campaigns run again. The page shows all stored results.
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
from tests.reliability import clustered, company, damage, disk, killed, large
from tests.reliability.campaign import Campaign

SEED = 1
RESULTS = Path("reliability-results")
# By name: a function of a folder and the number of trials, and the usual number of trials.
CAMPAIGNS: dict[str, tuple[Callable[[Path, int], Campaign], int]] = {
    "killed": (lambda folder, trials: killed.campaign(folder, trials, SEED), 100),
    "together": (killed.together, 9),
    "disk": (lambda folder, trials: disk.campaign(folder, trials, SEED), 60),
    "damage": (lambda folder, trials: damage.campaign(folder, trials, SEED), 1000),
    "nonsense": (lambda _, trials: nonsense.campaign(trials), 10_000),
    "company": (company.campaign, 7),
}
AT_SIZE: dict[str, tuple[Callable[[Path, int], Campaign], int]] = {
    "clustered": (lambda folder, trials: clustered.campaign(folder, trials, SEED), 30),
    "large": (lambda folder, trials: large.changed(folder / "study", trials, SEED), 200),
    "large driver": (lambda folder, trials: large.driver(folder / "study", trials, SEED), 30),
}
EVERY = CAMPAIGNS | AT_SIZE


def page(results: list[tuple[Campaign, float]]) -> str:
    usual = [(campaign, EVERY[campaign.name][1]) for campaign, _ in results]
    shortened = [
        f"{campaign.name} {campaign.trials} of {trials}" for campaign, trials in usual if campaign.trials < trials
    ]
    rows = []
    for campaign, seconds in results:
        outcomes = "; ".join(f"{count} × {outcome}" for outcome, count in sorted(campaign.outcomes.items()))
        rows.append([campaign.name, campaign.trials, outcomes, len(campaign.violations), f"{seconds:.0f} s"])
    versions = ", ".join(f"{name} {number}" for name, number in identity.versions().items())
    return "\n".join([
        "# reliability", "",
        "Campaigns that kill, disturb and damage the program: trials, outcomes, and violations of the promises below.", "",
        tabulate(rows, ["campaign", "trials", "outcomes", "violations", "time"], tablefmt="github"), "",
        *(f"- **{campaign.name}**: {campaign.promise}." for campaign, _ in results), "",
        *(f"- VIOLATED, {campaign.name}: {violation}" for campaign, _ in results for violation in campaign.violations),
        f"Command: `python -m tests.reliability` (seed {SEED}), on {identity.device_name('cpu')}; {versions}."
        + (f" Fewer trials, by `--trials`: {', '.join(shortened)}." if shortened else ""),
    ])  # fmt: skip


def run(name: str, trials: int | None) -> None:
    start = time.monotonic()
    campaign, usual_trials = EVERY[name]
    with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
        result = campaign(Path(folder), trials or usual_trials)
    seconds = time.monotonic() - start
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps([vars(result), seconds]))
    violations = len(result.violations)
    print(f"{name}: {result.trials} trials, {violations} violations, {seconds:.0f} s", file=sys.stderr, flush=True)


def main() -> int:
    """Prints the page; returns 1 if a promise was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="CAMPAIGN",
        help=f"one of {', '.join(EVERY)}; default: the usual ones without stored results",
    )
    parser.add_argument("--trials", type=int, help="number of trials of each; default: the usual number")
    options = parser.parse_args()
    names: list[str] = options.names
    if unknown := set(names) - set(EVERY):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    for name in names or [name for name in CAMPAIGNS if not (RESULTS / f"{name}.json").exists()]:
        run(name, options.trials)
    files = [RESULTS / f"{name}.json" for name in EVERY]
    contents = [json.loads(file.read_text()) for file in files if file.exists()]
    results = [
        (Campaign(**content | {"outcomes": Counter(content["outcomes"])}), seconds) for content, seconds in contents
    ]
    print(page(results))
    return int(any(campaign.violations for campaign, _ in results))


if __name__ == "__main__":
    sys.exit(main())
