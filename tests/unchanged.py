"""Keeps published runs through an edit of the code that trains, where the edit changes no number.

    python -m tests.unchanged FOLDER RUNNER...         for instance leaderboard-results leaderboard planted sizes
    python -m tests.unchanged --since REV RUNNER...    for instance v0.1 quick

What is published is tied to what the code that trained it computes, so that an edit of that asks for hours of training.
This trains every run of one seed of each runner again, with the code as it is now, and compares losses, scores and weights
bit by bit; the seed is drawn from the hash of the code, not chosen. Where one differs it says which, and all is to be
trained again.

The first form compares with the runs of FOLDER, which must be this machine's. Where all agree, FOLDER-adopted gets every
run of FOLDER under the code as it is now, each with a note in its versions of the code that trained it; `python -m
tests.publish` makes the reports of it. The second form needs no folder: it trains the same with the code of a revision,
too, in a work tree of its own. Where all agree, `reports/*.json` and the gate's baselines that were made by the code of
that revision are written under the code as it is now.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from synthbench.cards import RunnerCard, load
from synthbench.experiment import identity
from synthbench.experiment.optimizers import source_hash
from synthbench.experiment.runs import Result, Run, RunId
from synthbench.store.results import CURVE, WEIGHTS, Store
from synthbench.store.weights import WeightFile
from synthbench.verification.replay import run_of

ROOT = Path(__file__).resolve().parents[1]
FINGERPRINT = "from synthbench.experiment import identity; print(identity.package_fingerprint())"


class Known(NamedTuple):
    """A run with all that came of it. identity_: what it is, as its id is the hash of. seen: what was seen of it."""

    run: Run
    result: Result
    curve: str
    kept: WeightFile | None
    seen: bytes | None

    def differs(self, other: Known) -> list[str]:
        """What is not the same, to the last bit."""
        pairs = {
            "status": (self.result.status, other.result.status), "curve": (self.curve, other.curve),
            "scores": (repr(sorted(self.result.scores.items())), repr(sorted(other.result.scores.items()))),
            "path": (_sorted(self.result.path), _sorted(other.result.path)),
            "weights": (self.kept and self.kept.sha256, other.kept and other.kept.sha256),
        }  # fmt: skip
        if None in pairs["weights"]:  # kept of chosen runs alone
            del pairs["weights"]
        return [name for name, (one, two) in pairs.items() if one != two]


def _sorted(path: Mapping[int, Mapping[str, float]]) -> str:
    return repr(sorted((step, sorted(scores.items())) for step, scores in path.items()))


def known(folder: Path) -> dict[RunId, Known]:
    """Every finished run of a folder by its id."""
    with closing(Store.read(folder)) as store:
        rows = store.database.rows
        kept = {run: WeightFile(*others[1:-1]) for run, *others in rows(WEIGHTS)}
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
            rule = replace(old.optimizer, source=source_hash(old.optimizer.name))
            environment = replace(old.environment, source=identity.training_source())
            parent = renew(runs[old.parent].run).id if old.parent else None
            found[old.id] = replace(old, optimizer=rule, environment=environment, parent=parent)
        return found[old.id]

    for one in runs.values():
        renew(one.run)
    return found


def current(runs: dict[RunId, Known]) -> dict[RunId, Known]:
    """Those of one code alone, that of most: a folder may hold runs of older ones."""
    sources = [one.run.environment.source for one in runs.values()]
    most = max(set(sources), key=sources.count)
    return {run: one for run, one in runs.items() if one.run.environment.source == most}


def trained(out: Path, runner: str, code: Path = ROOT) -> Path:
    """The folder of one seed of a runner, trained with the code in a folder."""
    seeds = load(RunnerCard, runner).seed_list
    seed = seeds[int(identity.training_source(), 16) % len(seeds)]
    words = ["run", runner, "--set", f"seeds=[{seed}]", "--out", str(out), "--keep-weights", "all"]
    if runner == "quick":
        words += ["--optimizer", "adamw,muon,sgd"]
    called(code, "-m", "synthbench", *words)
    return out


def called(code: Path, *words: str) -> str:
    """What Python prints that finds the package in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(code)}
    done = subprocess.run(
        [sys.executable, *words], cwd=code, env=environment, check=True, text=True, stdout=subprocess.PIPE
    )
    return done.stdout.strip()


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
    found: list[float | None] = json.loads(text)
    return found


def _link(source: Path, place: Path) -> None:
    if source.exists() and not place.exists():
        try:
            os.link(source, place)
        except OSError:
            shutil.copyfile(source, place)


def agree(runner: str, old: dict[RunId, Known], again: dict[RunId, Known]) -> bool:
    """Whether all runs that are in both are the same; says how many are, and which are not."""
    found = list(compared(old, again))
    wrong = [(run, names) for run, names in found if names]
    said = f"{len(again)} runs of one seed trained again, {len(found)} of them known, {len(wrong)} differ"
    print(f"{runner}: {said}.", flush=True)
    for run, names in wrong[:5]:
        print(f"  {run.id[:12]} ({run.task} {run.optimizer.name} {run.update} lr {run.lr:g}): {', '.join(names)}")
    return bool(found) and not wrong


def by_folder(folder: Path, runners: list[str]) -> int:
    old, seen = current(known(folder)), set[RunId]()
    for runner in runners:
        out = trained(folder.resolve().with_name(f"{folder.name}-again"), runner)
        again = {run: one for run, one in known(out).items() if run not in seen}
        seen |= again.keys()
        if not agree(runner, old, again):
            return 1
    print(f"All {len(old)} runs are written to {adopt(folder, old)}.")
    return 0


def by_revision(revision: str, runners: list[str]) -> int:
    with tempfile.TemporaryDirectory() as place:
        code = Path(place, "code")
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(code), revision], cwd=ROOT, check=True)
        try:
            before = called(code, "-c", FINGERPRINT)
            for runner in runners:
                old = known(trained(Path(place, f"{runner}-then"), runner, code))
                if not agree(runner, old, known(trained(Path(place, f"{runner}-now"), runner))):
                    return 1
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(code)], cwd=ROOT, check=True)
    for path in [*(ROOT / "reports").glob("*.json"), *(ROOT / "tests" / "gate" / "baselines").glob("*.json")]:
        what = "written anew" if renew_file(path, before) else "made by other code, left as it is"
        print(f"{path.relative_to(ROOT)}: {what}.")
    return 0


def renew_file(path: Path, before: str) -> bool:
    """Writes a published file under the code as it is now, in place, if it was made by the code of this fingerprint."""
    text, found = path.read_text(encoding="utf-8"), json.loads(path.read_bytes())
    if found.get("package") != before:
        return False
    changes = {before: identity.package_fingerprint()}
    if rule := found.get("rule"):
        changes[rule["source"]] = source_hash(rule["name"])
    for was, now in changes.items():
        assert text.count(was) == 1
        text = text.replace(was, now)
    path.write_text(text, encoding="utf-8")
    return True


def main(words: list[str]) -> int:
    if len(words) > 2 and words[0] == "--since":
        return by_revision(words[1], words[2:])
    if len(words) > 1 and not words[0].startswith("-"):
        return by_folder(Path(words[0]), words[1:])
    sys.exit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
