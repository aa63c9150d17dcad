"""Keeps published runs through an edit of the code that trains, where the edit changes no number.

    python -m tests.unchanged FOLDER RUNNER...    for instance leaderboard-results leaderboard planted sizes
    python -m tests.unchanged reports RUNNER...   where the folders of results are not at hand

What is published is tied to the code that trained it, so that an edit of what it computes asks for hours of training. This
trains every run of one seed of each runner again, with the code as it is now; the seed is drawn from the hash of the code,
not chosen. In the first form it compares losses, scores and weights bit by bit. Where all agree, FOLDER-adopted gets every
run of FOLDER under the code as it is now, each with a note in its versions of the code that trained it; `python -m
tests.publish` makes the reports of it. In the second form it compares the published rows of that seed, to the last digit
that they have, and writes `reports/RUNNER.json` under the code as it is now. Where one differs it says which, and all is to
be trained again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from synthbench.cards import RunnerCard, load
from synthbench.experiment import identity
from synthbench.experiment.materials import Kept
from synthbench.experiment.runs import Result, Run, RunId
from synthbench.experiment.rulespecs import source_hash
from synthbench.experiment.store import CURVE, KEPT, Store
from synthbench.reporting import report as reports
from synthbench.reporting.reference import Reference, text
from synthbench.reporting.rows import Row
from synthbench.verification.member import run_of


class Known(NamedTuple):
    """A run with all that came of it. identity_: what it is, as its id is the hash of. seen: what was seen of it."""

    run: Run
    result: Result
    curve: str
    kept: Kept | None
    seen: bytes | None

    def differs(self, other: Known) -> list[str]:
        """What is not the same, to the last bit."""
        pairs = {
            "status": (self.result.status, other.result.status), "curve": (self.curve, other.curve),
            "scores": (repr(sorted(self.result.scores.items())), repr(sorted(other.result.scores.items()))),
            "path": (repr(sorted(self.result.path.items())), repr(sorted(other.result.path.items()))),
            "weights": (self.kept and self.kept.sha256, other.kept and other.kept.sha256),
        }  # fmt: skip
        if None in pairs["weights"]:  # kept of chosen runs alone
            del pairs["weights"]
        return [name for name, (one, two) in pairs.items() if one != two]


def known(folder: Path) -> dict[RunId, Known]:
    """Every finished run of a folder by its id."""
    with closing(Store.read(folder)) as store:
        rows = store.database.rows
        kept = {run: Kept(*others[1:-1]) for run, *others in rows(KEPT)}
        seen = dict(rows("SELECT run, content FROM observations"))
        identities = store.identities()
        return {
            run: Known(
                run_of(identities[run]), result, rows(CURVE, (run, result.attempt))[0][0], kept.get(run), seen.get(run)
            )
            for run, result in store.results().items()
        }


def renewed(runs: dict[RunId, Known]) -> dict[RunId, Run]:
    """By their ids, all runs as they would be asked for now."""
    found: dict[RunId, Run] = {}

    def renew(old: Run) -> Run:
        if old.id not in found:
            rule = replace(old.rule, source=source_hash(old.rule.name))
            environment = replace(old.environment, source=identity.training_source())
            parent = renew(runs[old.parent].run).id if old.parent else None
            found[old.id] = replace(old, rule=rule, environment=environment, parent=parent)
        return found[old.id]

    for one in runs.values():
        renew(one.run)
    return found


def current(runs: dict[RunId, Known]) -> dict[RunId, Known]:
    """Those of one code alone, that of most: a folder may hold runs of older ones."""
    sources = [one.run.environment.source for one in runs.values()]
    most = max(set(sources), key=sources.count)
    return {run: one for run, one in runs.items() if one.run.environment.source == most}


def trained(folder: Path, runner: str) -> Path:
    """The folder of one seed of a runner, trained with the code as it is now."""
    seeds = load(RunnerCard, runner).seed_list
    seed = seeds[int(identity.training_source(), 16) % len(seeds)]
    out = folder.with_name(f"{folder.name}-again")
    words = ["run", runner, "--set", f"seeds=[{seed}]", "--out", str(out), "--keep-weights", "all"]
    if runner == "quick":
        words += ["--optimizer", "adamw,muon,sgd"]
    subprocess.run([sys.executable, "-m", "synthbench", *words], check=True, stdout=subprocess.DEVNULL)
    return out


def compared(old: dict[RunId, Known], again: dict[RunId, Known]) -> Iterator[tuple[Run, list[str]]]:
    """Every run that is in both, and what differs."""
    new = renewed(old)
    for run, one in old.items():
        if new[run].id in again:
            yield one.run, one.differs(again[new[run].id])


def adopt(folder: Path, old: dict[RunId, Known]) -> Path:
    """Writes all runs of a folder under the code as it is now into another one."""
    to, new = folder.with_name(f"{folder.name}-adopted"), renewed(old)
    with closing(Store.create(to)) as store:
        (to / "weights").mkdir(exist_ok=True)
        for run, one in old.items():
            before = one.run.environment.source[:8]
            said = {"trained by": before} | dict(one.result.versions)
            losses = [None if loss is None else float(loss) for loss in _curve(one.curve)]
            if one.kept:
                _link(folder / "weights" / one.kept.name, to / "weights" / one.kept.name)
            store.keep(new[run], replace(one.result, run=new[run].id, versions=said), losses, one.kept, one.seen)
    return to


def _curve(text: str) -> list[float | None]:
    import json

    found: list[float | None] = json.loads(text)
    return found


def _link(source: Path, place: Path) -> None:
    if source.exists() and not place.exists():
        try:
            os.link(source, place)
        except OSError:
            shutil.copyfile(source, place)


def readings(row: Row, like: Row, seed: int) -> dict[str, float]:
    """What a row shows of one seed that does not depend on the row's other seeds: scores at the end at the rates that both
    rows have, readings along the path, and what was chosen where both chose the same rate."""
    found = {f"{score} at {rate:g}": of[seed] for rate in row.rates.keys() & like.rates.keys()
             for score, of in row.rates[rate].items() if seed in of}  # fmt: skip
    if row.rates.keys() == like.rates.keys():
        found |= {f"{score} at {speed} steps": of[seed] for score, by_speed in row.speeds.items()
                  for speed, of in by_speed.items() if seed in of}  # fmt: skip
    if row.lr == like.lr:
        found |= {score: of[seed] for score, of in row.values.items() if seed in of}
    return found


def republished(runner: str) -> int:
    """Writes the rows of a report under the code as it is now, if those of one seed are trained as they stand there."""
    path = Path("reports") / f"{runner}.json"
    published = Reference.model_validate_json(path.read_bytes())
    out = trained(Path(f"{runner}-results"), runner)
    with closing(Store.read(out)) as store:
        again = {_name(row): row for row in reports.latest(store).rows if not row.reference}
    seen, wrong, apart = 0, list[str](), 0
    for row in published.rows:
        other = again.get(_name(row))
        if other is None or other.start_lr != row.start_lr:  # one seed alone chose another rate of pretraining
            apart += 1
            continue
        (seed,) = other.seeds
        was, now = readings(row, other, seed), readings(other, row, seed)
        seen += len(was)
        wrong += [f"{' '.join(map(str, _name(row)))}: {name}" for name in was if was[name] != now.get(name)]
    print(f"{runner}: {seen} numbers of {len(published.rows) - apart} of {len(published.rows)} rows trained again, "
          f"{len(wrong)} differ.", *wrong[:5], sep="\n  ", flush=True)  # fmt: skip
    if wrong or not seen:
        return 1
    versions = {"trained by": published.package[:8]} | published.versions
    renewed = published.model_copy(update={"package": identity.package_fingerprint(), "versions": versions})
    path.write_text(text(renewed) + "\n", encoding="utf-8")
    return 0


def _name(row: Row) -> tuple[str, ...]:
    """What a row is of."""
    return row.task, *row.base, row.optimizer, row.update, f"{row.weight_decay:g}", f"{row.size:g}"


def main(folder: Path, runners: list[str]) -> int:
    if folder.name == "reports":
        return max(map(republished, runners))
    old, seen = current(known(folder)), set[RunId]()
    for runner in runners:
        again = {run: one for run, one in known(trained(folder, runner)).items() if run not in seen}
        seen |= again.keys()
        found = list(compared(old, again))
        wrong = [(run, names) for run, names in found if names]
        said = f"{len(again)} runs of one seed trained again, {len(found)} of them published, {len(wrong)} differ"
        print(f"{runner}: {said}.", flush=True)
        for run, names in wrong[:5]:
            print(f"  {run.id[:12]} ({run.task} {run.rule.name} {run.update} lr {run.lr:g}): {', '.join(names)}")
        if wrong or not found:
            return 1
    print(f"All {len(old)} runs are written to {adopt(folder, old)}.")
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
