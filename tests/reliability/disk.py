"""A failing disk: `failing_disk.c`, preloaded into the program, makes one write fail, or every write from one on.

Finished runs must keep their numbers, and the same command must resume.
"""

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
from tests.reliability.program import Completed, invoke

PROMISE = (
    "when writes fail with ENOSPC or EIO, once or persistently, the program exits with code 4 and one to three plain lines "
    "or completes without the write; finished runs are still reported and exported with the same numbers; the same command "
    "does not retrain them and ends with scores and weights bitwise equal to those of an undisturbed run"
)
SHIM = Path(__file__).with_name("failing_disk.c")
OPTIONS = ("--jobs", "1", "--seeds", "1")  # three runs in sequence
FOREVER = 2**40
MAY_DIFFER = {"started", "seconds"}  # when a run is trained twice
MAY_GROW = {"chosen", "edge", "weights"}  # determined or deleted when all runs are finished


class Failure(NamedTuple):
    """Writes `first` to `last` fail with an error code; none if both are 0."""

    first: int
    last: int
    code: int = errno.ENOSPC


def build_library(folder: Path) -> Path:
    """Compiles the shim; raises FileNotFoundError if there is no compiler."""
    library = folder / "failing_disk.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SHIM], check=True)
    return library


def environment(library: Path, out: Path, failure: Failure, log: Path) -> dict[str, str]:
    """The environment in which writes under `out` fail. log: the file that gets one line for each write."""
    count = log.with_suffix(".count")
    count.write_bytes(bytes(8))
    log.write_text("")
    return {
        "LD_PRELOAD": str(library), "DISK_UNDER": str(out.resolve()), "DISK_COUNT": str(count), "DISK_LOG": str(log),
        "DISK_FIRST": str(failure.first), "DISK_LAST": str(failure.last), "DISK_ERRNO": str(failure.code),
    }  # fmt: skip


def run_process(card: Path, out: Path, env: Mapping[str, str] | None = None) -> Completed:
    """Runs `synthbench run` as a separate process."""
    with program.started(card, out, *OPTIONS, env=env) as process:
        outputs = process.communicate(timeout=program.TIMEOUT)
    return Completed(process.returncode, *outputs)


def query(command: str, out: Path) -> Completed:
    return invoke(command, "--out", str(out))


def parse_export(export: Completed) -> dict[str, dict[str, Any]]:
    runs = map(json.loads, export.out.splitlines())
    return {run["run"]: run for run in runs if run["status"] != "interrupted"}


def is_same(run: Mapping[str, Any], other: Mapping[str, Any], ignored: set[str]) -> bool:
    return {key: run[key] for key in run.keys() - ignored} == {key: other[key] for key in other.keys() - ignored}


class Reference(NamedTuple):
    """Outputs of a run without failures. writes: the kind of each write, in order."""

    runs: dict[str, dict[str, Any]]
    report: str
    writes: list[str]


def run_undisturbed(card: Path, out: Path, library: Path) -> Reference:
    log = out.with_suffix(".log")
    completed = run_process(card, out, environment(library, out, Failure(0, 0), log))
    assert completed.code == 0, completed.err
    kinds = [re.sub(r"[0-9a-f]{20,}\S*", "*", line) for line in log.read_text().splitlines()]
    return read_outputs(out, kinds)


def read_outputs(out: Path, writes: Sequence[str] = ()) -> Reference:
    return Reference(parse_export(query("export", out)), query("report", out).out, [*writes])


def campaign(folder: Path, trials: int | None, seed: int) -> Campaign:
    """trials: the number of failures, spread evenly over the kinds of writes; None for every write."""
    result = Campaign("disk", PROMISE)
    library, card = build_library(folder), tiny.write(folder)
    reference = run_undisturbed(card, folder / "undisturbed", library)
    for number, failure in enumerate([*failures(reference.writes, random.Random(seed))][:trials]):
        kind = f"{errno.errorcode[failure.code]} {'once' if failure.first == failure.last else 'persistently'}"
        position = f"{kind} at write {failure.first} ({reference.writes[failure.first - 1]})"
        completed, violations = run_trial(card, folder / f"trial-{number}", library, failure, reference)
        result.record(
            f"{kind}: exit {completed.code}",
            *(f"{position}: {violation}; stderr: {completed.err!r}" for violation in violations),
        )
    return result


def failures(writes: list[str], rng: random.Random) -> Iterator[Failure]:
    """Every write, error and duration, in random order; one of each kind of write before the second of any kind."""
    kinds: dict[str, list[Failure]] = {}
    for (number, kind), code, is_persistent in product(enumerate(writes, 1), (errno.ENOSPC, errno.EIO), (False, True)):
        kinds.setdefault(kind, []).append(Failure(number, FOREVER if is_persistent else number, code))
    by_kind = [rng.sample(group, len(group)) for group in rng.sample([*kinds.values()], len(kinds))]
    return (failure for failure in chain(*zip_longest(*by_kind)) if failure)


def run_trial(
    card: Path, out: Path, library: Path, failure: Failure, reference: Reference
) -> tuple[Completed, list[str]]:
    """Runs with a failing disk, then without failures; returns the first command and the violations."""
    first = run_process(card, out, environment(library, out, failure, out.with_suffix(".log")))
    finished, violations = check_finished(out, reference)
    if first.code and not (first.code == 4 and first.has_plain_error):
        violations.append("it did not end with a plain message")
    second = run_process(card, out)
    return first, [*violations, *check_rerun(second, out, finished, reference)]


def check_finished(out: Path, reference: Reference) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """The finished runs in a folder, and the violations in its report and export."""
    report, export = query("report", out), query("export", out)
    if {report.code, export.code} == {2} and report.has_plain_error and export.has_plain_error:
        return {}, []  # there are no results yet
    if report.code or export.code:
        return {}, [f"the folder could not be read: {report.err or export.err!r}"]
    finished = parse_export(export)
    different = [run for run in finished if not is_same(finished[run], reference.runs[run], MAY_DIFFER | MAY_GROW)]
    return finished, [f"run {run} has other numbers" for run in different]


def check_rerun(
    rerun: Completed, out: Path, finished: Mapping[str, Mapping[str, Any]], reference: Reference
) -> Iterator[str]:
    """The violations after the same command ran again without failures."""
    if rerun.code:
        yield f"the same command did not finish: {rerun.err!r}"
        return
    runs = parse_export(query("export", out))
    expected = reference.runs
    if runs.keys() != expected.keys() or not all(is_same(runs[run], expected[run], MAY_DIFFER) for run in runs):
        yield "the same command ended with other numbers"
    if query("report", out).out != reference.report:
        yield "the same command ended with another report"
    if any(runs[run]["started"] != finished[run]["started"] for run in finished.keys() & runs.keys()):
        yield "a finished run was retrained"
    if extra_files := leftovers(out, runs):
        yield f"left behind: {', '.join(extra_files)}"


def leftovers(out: Path, runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Files in a folder of results that nothing refers to."""
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    return sorted(
        files - {run["weights"] for run in runs.values()} - {"results.db", "results.db-wal", "results.db-shm"}
    )
