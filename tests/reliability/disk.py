"""A disk that fails: the program is run with `failing_disk.c` preloaded, which makes one of its writes fail, or every
write from one on. What was finished must be kept and be right, and the same command must go on from there."""

from __future__ import annotations

import errno
import json
import random
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, product, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from tests import tiny
from tests.reliability import program
from tests.reliability.campaign import Campaign
from tests.reliability.program import Said, say

PROMISE = (
    "a write that fails with ENOSPC or EIO, once or from then on, ends the program with exit code 4 and one to three plain "
    "lines (or it does without that write); finished runs are then reported and exported with their numbers; the same "
    "command trains them no more and ends with scores and weights bitwise those of an undisturbed one"
)
SHIM = Path(__file__).with_name("failing_disk.c")
OPTIONS = ("--jobs", "1", "--seeds", "1")  # three runs, one after the other
FOREVER = 2**40
MAY_DIFFER = {"started", "seconds"}  # between two trainings of one run
MAY_GROW = {"chosen", "edge", "weights"}  # known, or dropped, only when all runs are done


class Failure(NamedTuple):
    """Writes `first` to `last` fail with an error code; 0, 0 for none."""

    first: int
    last: int
    code: int = errno.ENOSPC


def built(folder: Path) -> Path:
    """The shim, compiled; raises FileNotFoundError where there is no compiler."""
    library = folder / "failing_disk.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SHIM], check=True)
    return library


def environment(library: Path, out: Path, failure: Failure, log: Path) -> dict[str, str]:
    """The environment in which writes under `out` fail. log: gets a line for each of them."""
    count = log.with_suffix(".count")
    count.write_bytes(bytes(8))
    log.write_text("")
    return {
        "LD_PRELOAD": str(library), "DISK_UNDER": str(out.resolve()), "DISK_COUNT": str(count), "DISK_LOG": str(log),
        "DISK_FIRST": str(failure.first), "DISK_LAST": str(failure.last), "DISK_ERRNO": str(failure.code),
    }  # fmt: skip


def ran(card: Path, out: Path, env: Mapping[str, str] | None = None) -> Said:
    """What `synthbench run` says, in a process of its own."""
    with program.started(card, out, *OPTIONS, env=env) as process:
        said = process.communicate(timeout=program.PATIENCE)
    return Said(process.returncode, *said)


def asked(command: str, out: Path) -> Said:
    return say(command, "--out", str(out))


def exported(said: Said) -> dict[str, dict[str, Any]]:
    runs = map(json.loads, said.out.splitlines())
    return {run["run"]: run for run in runs if run["status"] != "interrupted"}


def same(run: Mapping[str, Any], other: Mapping[str, Any], but: set[str]) -> bool:
    return {key: run[key] for key in run.keys() - but} == {key: other[key] for key in other.keys() - but}


class Undisturbed(NamedTuple):
    """A run without failures. writes: the kind of each of its writes, in order."""

    runs: dict[str, dict[str, Any]]
    report: str
    writes: list[str]


def undisturbed(card: Path, out: Path, library: Path) -> Undisturbed:
    log = out.with_suffix(".log")
    said = ran(card, out, environment(library, out, Failure(0, 0), log))
    assert said.code == 0, said.err
    kinds = [re.sub(r"[0-9a-f]{20,}\S*", "*", line) for line in log.read_text().splitlines()]
    return shown(out, kinds)


def shown(out: Path, writes: Sequence[str] = ()) -> Undisturbed:
    return Undisturbed(exported(asked("export", out)), asked("report", out).out, [*writes])


def campaign(folder: Path, trials: int | None, seed: int) -> Campaign:
    """trials: how many failures to try, spread evenly over the kinds of writes; None for every write."""
    found = Campaign("disk", PROMISE)
    library, card = built(folder), tiny.write(folder)
    whole = undisturbed(card, folder / "undisturbed", library)
    for number, failure in enumerate([*failures(whole.writes, random.Random(seed))][:trials]):
        how = f"{errno.errorcode[failure.code]} {'once' if failure.first == failure.last else 'from then on'}"
        where = f"{how} at write {failure.first} ({whole.writes[failure.first - 1]})"
        said, wrong = tried(card, folder / f"trial-{number}", library, failure, whole)
        found.tried(f"{how}: exit {said.code}", *(f"{where}: {what}; it said {said.err!r}" for what in wrong))
    return found


def failures(writes: list[str], chance: random.Random) -> Iterator[Failure]:
    """Every write, error and duration: in random order, each kind of write before any kind's second."""
    kinds: dict[str, list[Failure]] = {}
    for (number, kind), code, forever in product(enumerate(writes, 1), (errno.ENOSPC, errno.EIO), (False, True)):
        kinds.setdefault(kind, []).append(Failure(number, FOREVER if forever else number, code))
    piles = [chance.sample(pile, len(pile)) for pile in chance.sample([*kinds.values()], len(kinds))]
    return (failure for failure in chain(*zip_longest(*piles)) if failure)


def tried(card: Path, out: Path, library: Path, failure: Failure, whole: Undisturbed) -> tuple[Said, list[str]]:
    """What a run said whose disk failed, and what was wrong then and after the same command without failures."""
    said = ran(card, out, environment(library, out, failure, out.with_suffix(".log")))
    wrong = [] if said.code == 0 or (said.code == 4 and said.is_plain) else ["it did not end with a sentence"]
    kept, broken = judged(out, whole)
    again = ran(card, out)
    return said, [*wrong, *broken, *finished(again, out, kept, whole)]


def judged(out: Path, whole: Undisturbed) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The finished runs that a disturbed run left, and what is wrong with them."""
    report, export = asked("report", out), asked("export", out)
    if {report.code, export.code} == {2} and report.is_plain and export.is_plain:
        return {}, []  # nothing is there yet
    if report.code or export.code:
        return {}, [f"a look at the folder failed: {report.err or export.err!r}"]
    kept = exported(export)
    wrong = [run for run in kept if not same(kept[run], whole.runs[run], MAY_DIFFER | MAY_GROW)]
    return kept, [f"run {run} was kept with other numbers" for run in wrong]


def finished(again: Said, out: Path, kept: Mapping[str, Mapping[str, Any]], whole: Undisturbed) -> Iterator[str]:
    """What is wrong after the same command was given again, with nothing in its way."""
    if again.code:
        yield f"the same command did not finish: {again.err!r}"
        return
    runs = exported(asked("export", out))
    if runs.keys() != whole.runs.keys() or not all(same(runs[run], whole.runs[run], MAY_DIFFER) for run in runs):
        yield "the same command ended with other numbers"
    if asked("report", out).out != whole.report:
        yield "the same command ended with another report"
    if any(runs[run]["started"] != kept[run]["started"] for run in kept.keys() & runs.keys()):
        yield "a finished run was trained again"
    if left := leftovers(out, runs):
        yield f"left behind: {', '.join(left)}"


def leftovers(out: Path, runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Files in a folder of results that belong to nothing."""
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    return sorted(
        files - {run["weights"] for run in runs.values()} - {"results.db", "results.db-wal", "results.db-shm"}
    )
