"""Damage to a finished folder of results: flipped bits, truncated, emptied or swapped files. Then it is read and rerun."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from synthbench.common.errors import BadInput
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Result
from synthbench.store.database import DATABASE
from synthbench.store.members import enlist, usable_results
from synthbench.store.results import Store
from tests import tiny
from tests.reliability import program
from tests.reliability.campaign import Campaign
from tests.reliability.program import Completed, invoke

PROMISE = (
    "damage either has no effect (every output equals that of the undamaged folder) or is detected: the folder is refused "
    "with a plain message, or the affected runs count as unfinished and reproduce bitwise equal scores when retrained"
)
READ_COMMANDS = ("report --format json", "export --format json")
PAGE = 4096
LOG, INDEX = f"{DATABASE}-wal", f"{DATABASE}-shm"  # SQLite leaves them when its process is killed
UPDATES = ("full", "lora-4")
LARGER_OPTIONS = ("--update", ",".join(UPDATES))
TIME_LIMIT = program.TIMEOUT  # seconds in which a damaged folder is read and checked


@dataclass(frozen=True)
class Bench:
    """Undamaged folders with all their outputs, results and weights.

    folder: holds `finished`, a finished experiment; `older`, an earlier copy of it with one seed; `other`, another
    experiment; `killed`, `finished` as a killed process leaves it, with the last transaction in the log; `larger`,
    `finished` with low-rank updates added, which start from its weights; and `out`, the copy that is damaged.
    outputs: by folder and command. weights: file contents by name.
    """

    folder: Path
    card: Path
    experiment: Experiment
    outputs: dict[str, dict[str, Completed]]
    results: Mapping[str, Result]
    weights: Mapping[str, bytes]
    larger: Experiment

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def restore(self, base: str, *replacements: tuple[str, str]) -> None:
        """Copies an undamaged folder to `out`, then replaces these files, each by that of another folder."""
        shutil.rmtree(self.out, ignore_errors=True)
        shutil.copytree(self.folder / base, self.out)
        for source, name in replacements:
            shutil.copyfile(self.folder / source / name, self.out / name)


def make(folder: Path) -> Bench:
    card, out = tiny.write(folder), folder / "out"
    options = ("--jobs", "1", "--device", "cpu", "--keep-weights", "all")
    outputs: dict[str, dict[str, Completed]] = {}

    def save(name: str, *more_options: str) -> None:
        completed = invoke("run", str(card), "--out", str(out), *options, *more_options)
        assert completed.code == 0, completed.err
        shutil.copytree(out, folder / name)
        outputs[name] = {command: invoke(command, "--out", str(out)) for command in READ_COMMANDS}

    save("older", "--seeds", "1")
    save("finished", "--seeds", "2")
    save("larger", *LARGER_OPTIONS)
    shutil.rmtree(out)
    save("other", "--set", "model.width=32", "--seeds", "1")
    leave_log(folder / "older", folder / "finished", folder / "killed")
    results = program.results(folder / "finished") | program.results(folder / "other")
    files = [file for name in ("finished", "other") for file in (folder / name / "weights").iterdir()]
    experiment, larger = (resolve(RunRequest(str(card), updates=updates, device="cpu")) for updates in (None, UPDATES))
    weights = {file.name: file.read_bytes() for file in files}
    return Bench(folder, card, experiment, outputs, results, weights, larger)


def leave_log(before: Path, after: Path, to: Path) -> None:
    """Makes a folder with the database of `before` and a log that turns it, in one transaction, into that of `after`."""
    copy = to.with_name("copy")
    shutil.copytree(before, copy)
    with closing(sqlite3.connect(copy / DATABASE, isolation_level=None)) as db:
        db.execute("ATTACH ? AS after", (str(after / DATABASE),))
        tables = [name for (name,) in db.execute("SELECT name FROM after.sqlite_master WHERE type = 'table'")]
        db.execute("BEGIN")
        for name in tables:
            db.execute(f"DELETE FROM main.{name}")
            db.execute(f"INSERT INTO main.{name} SELECT * FROM after.{name}")
        db.execute("COMMIT")
        shutil.copytree(after, to)
        for name in (DATABASE, LOG, INDEX):
            shutil.copyfile(copy / name, to / name)
    shutil.rmtree(copy)


Edit = Callable[[bytearray, random.Random], bytes]


def flip_a_bit(content: bytearray, rng: random.Random) -> bytes:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def change_bytes(content: bytearray, rng: random.Random) -> bytes:
    for _ in range(rng.randint(2, 9)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    return content


def cut_off(content: bytearray, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def clear_a_page(content: bytearray, rng: random.Random) -> bytes:
    start = rng.randrange(len(content)) // PAGE * PAGE
    end = min(start + PAGE, len(content))
    content[start:end] = bytes(end - start)
    return content


def empty(content: bytearray, rng: random.Random) -> bytes:
    return b""


EDITS: tuple[Edit, ...] = (flip_a_bit, change_bytes, cut_off, clear_a_page, empty)
Damage = Callable[[Bench, random.Random], None]


def _edited(edit: Edit, base: str, name: str) -> Damage:
    """Edits one file of an undamaged folder; a random one if `name` is a folder."""

    def damage(bench: Bench, rng: random.Random) -> None:
        bench.restore(base)
        file = bench.out / name
        if file.is_dir():
            file = rng.choice(sorted(file.iterdir()))
        file.write_bytes(edit(bytearray(file.read_bytes()), rng))

    return damage


def _swapped(base: str, *replacements: tuple[str, str]) -> Damage:
    return lambda bench, rng: bench.restore(base, *replacements)


def delete_weights(bench: Bench, rng: random.Random) -> None:
    bench.restore("finished")
    for file in rng.sample(sorted((bench.out / "weights").iterdir()), rng.randint(1, 3)):
        file.unlink()


def swap_weights(bench: Bench, rng: random.Random) -> None:
    bench.restore("finished")
    first, second = rng.sample(sorted((bench.out / "weights").iterdir()), 2)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def mix_pages(bench: Bench, rng: random.Random) -> None:
    """Leaves a log with some pages of the other database beside the finished one."""
    bench.restore("other")
    with closing(sqlite3.connect(bench.out / DATABASE, isolation_level=None)) as db:
        columns = db.execute("SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c").fetchall()
        table, column = rng.choice(sorted(columns))
        db.execute(f"UPDATE {table} SET {column} = {column}")
        logs = {name: (bench.out / name).read_bytes() for name in (LOG, INDEX)[: rng.randint(1, 2)]}
        bench.restore("finished")
        for name, log in logs.items():
            (bench.out / name).write_bytes(log)


FILES = {
    "the database": ("finished", DATABASE),
    "a database with a log": ("killed", DATABASE),
    "the log": ("killed", LOG),
    "the log's index": ("killed", INDEX),
    "weights": ("finished", "weights"),
}
DAMAGES: dict[str, Damage] = {
    f"{edit.__name__.replace('_', ' ')} of {name}": _edited(edit, *location)
    for name, location in FILES.items()
    for edit in EDITS
} | {
    "pages of another's log": mix_pages,
    "delete weights": delete_weights,
    "swap weights": swap_weights,
    "an older database": _swapped("finished", ("older", DATABASE)),
    "another's database": _swapped("finished", ("other", DATABASE)),
    "a log left beside another's database": _swapped("killed", ("other", DATABASE)),
    "a log left beside the finished database": _swapped("killed", ("finished", DATABASE)),
    "another's log": _swapped("other", ("killed", LOG)),
    "another's log and index": _swapped("other", ("killed", LOG), ("killed", INDEX)),
}  # fmt: skip


def campaign(folder: Path, trials: int, seed: int, retrainings: int = 5) -> Campaign:
    """Damage at random positions, most often of the database; the first few reruns train what is missing."""
    return run_trials(make(folder), trials, seed, retrainings)


def run_trials(bench: Bench, trials: int, seed: int, retrainings: int) -> Campaign:
    rng = random.Random(seed)
    result = Campaign("damage", PROMISE)
    weights = [1 + 5 * (" of " in name) + 10 * ("flip" in name and "database" in name) for name in DAMAGES]
    for name in rng.choices([*DAMAGES], weights, k=trials):
        outcome, violations = trial(bench, name, rng, train=retrainings > 0)
        retrainings -= outcome.endswith("retrained")
        result.record(outcome, *violations)
    return result


def trial(bench: Bench, name: str, rng: random.Random, train: bool = False) -> tuple[str, list[str]]:
    """Damages a folder; returns the outcome and the violations."""
    DAMAGES[name](bench, rng)
    digest = sha256(b"".join(file.read_bytes() for file in sorted(bench.out.rglob("*")) if file.is_file())).hexdigest()
    start = time.monotonic()
    reading, violations = check_reading(bench)
    rerun, more_violations = check_rerun(bench)
    violations += more_violations
    if (seconds := time.monotonic() - start) > TIME_LIMIT:
        violations.append(f"it took {seconds:.0f} s")
    if train and rerun == "retrained":
        violations += retrain(bench)
    return f"reading: {reading}, rerunning: {rerun}", [
        f"{name} ({digest[:8]}): {violation}" for violation in violations
    ]


def check_reading(bench: Bench) -> tuple[str, list[str]]:
    """How the damaged folder is reported and exported, and the violations."""
    answers = {command: invoke(command, "--out", str(bench.out)) for command in READ_COMMANDS}
    for name, outputs in bench.outputs.items():
        if answers == outputs:
            return ("as undamaged" if name == "finished" else f"as the {name} folder"), []
    unexpected = [
        f"{command}: {answer}"[:1000]
        for command, answer in answers.items()
        if answer.code != 2 or answer.out or not answer.err.startswith("synthbench: ") or not answer.has_plain_error
    ]
    agree = [outputs[command] == answers[command] for outputs in bench.outputs.values() for command in READ_COMMANDS]
    return "refused", unexpected if not any(agree) else []


def check_rerun(bench: Bench) -> tuple[str, list[str]]:
    """Whether `run` would retrain anything, and the violations among the results that it would keep."""
    try:
        with closing(Store.create(bench.out)) as store:
            return _check_rerun(bench, store)
    except BadInput as error:
        return "refused", [] if len(str(error).splitlines()) == 1 else [f"refused with more than one line: {error}"]
    except Exception as error:
        return "broken", [f"rerunning: {error!r}"]


def _check_rerun(bench: Bench, store: Store) -> tuple[str, list[str]]:
    card = bench.experiment.card.model_dump_json(by_alias=True)
    store.record("name", card, "{}", "command")
    finished = usable_results(bench.larger, store)
    enlist(bench.experiment, "name", store, finished)
    violations = [
        f"run {run[:8]} was read as {result}" for run, result in finished.items() if result != bench.results.get(run)
    ]
    for result in finished.values():
        weights = store.valid_weights(result)
        if not weights:
            continue
        expected = bench.weights[str(bench.results[result.run].weights)]
        if (store.weights / weights.name).read_bytes() != expected:
            violations.append(f"the weights of run {result.run[:8]} differ")
    is_incomplete = len(Plan(bench.larger, finished).remaining()) > len(Plan(bench.larger, bench.results).remaining())
    return "retrained" if is_incomplete else "nothing lost", violations


def retrain(bench: Bench) -> list[str]:
    """Runs the larger experiment in the damaged folder; returns what differs from the undamaged results."""
    completed = invoke("run --jobs 1 --device cpu", str(bench.card), "--out", str(bench.out), *LARGER_OPTIONS)
    if completed.code:
        return [f"the rerun ended with {completed.code}: {completed.err}"]
    actual = program.numbers(program.results(bench.out))
    expected = program.numbers(program.results(bench.folder / "larger"))
    return [f"run {run[:8]} ended with other scores" for run in expected if actual.get(run) != expected[run]]
