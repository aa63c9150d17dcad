"""Damage: bits flipped, ends cut off, files emptied or swapped in a finished folder of results; then looks and reruns."""

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
from tests.reliability.program import Said, say

PROMISE = (
    "what is damaged is either not needed (every output is exactly the undamaged one's) or recognized: refused with a "
    "sentence, or its runs count as not done and end with bitwise the same scores when they are trained again"
)
LOOKS = ("report --format json", "export --format json")
PAGE = 4096
LOG, INDEX = f"{DATABASE}-wal", f"{DATABASE}-shm"  # what SQLite leaves beside a database when its process is killed
UPDATES = ("full", "lora-4")
LARGER = ("--update", ",".join(UPDATES))
SLOW = program.PATIENCE  # seconds that looking at a damaged folder may take


@dataclass(frozen=True)
class Bench:
    """Sound folders, and all that may ever be said of them or found in them.

    folder: holds `whole`, a finished experiment; `older`, an earlier copy of it, of one seed; `other`, another
    experiment; `killed`, `whole` as a killed process leaves it, its last transaction in the log; `larger`, `whole` with
    low-rank updates added, which start from weights that it has; and `place`, where damage is done. weights: by name.
    """

    folder: Path
    card: Path
    experiment: Experiment
    said: dict[str, dict[str, Said]]
    results: Mapping[str, Result]
    weights: Mapping[str, bytes]
    larger: Experiment

    @property
    def place(self) -> Path:
        return self.folder / "place"

    def put(self, base: str, *taken: tuple[str, str]) -> None:
        """Copies a sound folder to its place, then these files over it, each out of another folder."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.folder / base, self.place)
        for source, name in taken:
            shutil.copyfile(self.folder / source / name, self.place / name)


def make(folder: Path) -> Bench:
    card, place = tiny.write(folder), folder / "place"
    options = ("--jobs", "1", "--device", "cpu", "--keep-weights", "all")
    said: dict[str, dict[str, Said]] = {}

    def save(name: str, *changes: str) -> None:
        ran = say("run", str(card), "--out", str(place), *options, *changes)
        assert ran.code == 0, ran.err
        shutil.copytree(place, folder / name)
        said[name] = {command: say(command, "--out", str(place)) for command in LOOKS}

    save("older", "--seeds", "1")
    save("whole", "--seeds", "2")
    save("larger", *LARGER)
    shutil.rmtree(place)
    save("other", "--set", "model.width=32", "--seeds", "1")
    leave_log(folder / "older", folder / "whole", folder / "killed")
    results = program.results(folder / "whole") | program.results(folder / "other")
    files = [file for name in ("whole", "other") for file in (folder / name / "weights").iterdir()]
    experiment, larger = (resolve(RunRequest(str(card), updates=updates, device="cpu")) for updates in (None, UPDATES))
    weights = {file.name: file.read_bytes() for file in files}
    return Bench(folder, card, experiment, said, results, weights, larger)


def leave_log(before: Path, after: Path, to: Path) -> None:
    """Makes a folder whose database is `before`'s and whose log brings it, in one transaction, to `after`."""
    work = to.with_name("work")
    shutil.copytree(before, work)
    with closing(sqlite3.connect(work / DATABASE, isolation_level=None)) as db:
        db.execute("ATTACH ? AS after", (str(after / DATABASE),))
        tables = [name for (name,) in db.execute("SELECT name FROM after.sqlite_master WHERE type = 'table'")]
        db.execute("BEGIN")
        for name in tables:
            db.execute(f"DELETE FROM main.{name}")
            db.execute(f"INSERT INTO main.{name} SELECT * FROM after.{name}")
        db.execute("COMMIT")
        shutil.copytree(after, to)
        for name in (DATABASE, LOG, INDEX):
            shutil.copyfile(work / name, to / name)
    shutil.rmtree(work)


Edit = Callable[[bytearray, random.Random], bytes]


def flip_a_bit(content: bytearray, chance: random.Random) -> bytes:
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return content


def change_bytes(content: bytearray, chance: random.Random) -> bytes:
    for _ in range(chance.randint(2, 9)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return content


def cut_off(content: bytearray, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def clear_a_page(content: bytearray, chance: random.Random) -> bytes:
    start = chance.randrange(len(content)) // PAGE * PAGE
    end = min(start + PAGE, len(content))
    content[start:end] = bytes(end - start)
    return content


def empty(content: bytearray, chance: random.Random) -> bytes:
    return b""


EDITS: tuple[Edit, ...] = (flip_a_bit, change_bytes, cut_off, clear_a_page, empty)
Damage = Callable[[Bench, random.Random], None]


def _edited(edit: Edit, base: str, name: str) -> Damage:
    """Damage of one file of a sound folder; of any one weight file where a folder is named."""

    def damage(bench: Bench, chance: random.Random) -> None:
        bench.put(base)
        file = bench.place / name
        if file.is_dir():
            file = chance.choice(sorted(file.iterdir()))
        file.write_bytes(edit(bytearray(file.read_bytes()), chance))

    return damage


def _swapped(base: str, *taken: tuple[str, str]) -> Damage:
    return lambda bench, chance: bench.put(base, *taken)


def lose_weights(bench: Bench, chance: random.Random) -> None:
    bench.put("whole")
    for file in chance.sample(sorted((bench.place / "weights").iterdir()), chance.randint(1, 3)):
        file.unlink()


def swap_weights(bench: Bench, chance: random.Random) -> None:
    bench.put("whole")
    one, two = chance.sample(sorted((bench.place / "weights").iterdir()), 2)
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


def mix_pages(bench: Bench, chance: random.Random) -> None:
    """Leaves beside the whole database a log of some pages of the other one."""
    bench.put("other")
    with closing(sqlite3.connect(bench.place / DATABASE, isolation_level=None)) as db:
        columns = db.execute("SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c").fetchall()
        table, column = chance.choice(sorted(columns))
        db.execute(f"UPDATE {table} SET {column} = {column}")
        logs = {name: (bench.place / name).read_bytes() for name in (LOG, INDEX)[: chance.randint(1, 2)]}
        bench.put("whole")
        for name, log in logs.items():
            (bench.place / name).write_bytes(log)


FILES = {
    "the database": ("whole", DATABASE),
    "a database with a log": ("killed", DATABASE),
    "the log": ("killed", LOG),
    "the log's index": ("killed", INDEX),
    "weights": ("whole", "weights"),
}
DAMAGES: dict[str, Damage] = {
    f"{edit.__name__.replace('_', ' ')} of {what}": _edited(edit, *place)
    for what, place in FILES.items()
    for edit in EDITS
} | {
    "pages of another's log": mix_pages,
    "lose weights": lose_weights,
    "swap weights": swap_weights,
    "an older database": _swapped("whole", ("older", DATABASE)),
    "another's database": _swapped("whole", ("other", DATABASE)),
    "a log left beside another's database": _swapped("killed", ("other", DATABASE)),
    "a log left beside the whole database": _swapped("killed", ("whole", DATABASE)),
    "another's log": _swapped("other", ("killed", LOG)),
    "another's log and index": _swapped("other", ("killed", LOG), ("killed", INDEX)),
}  # fmt: skip


def campaign(folder: Path, trials: int, seed: int, trained: int = 5) -> Campaign:
    """Damages at random positions, the database most often; after the first few reruns really train what is missing."""
    return on(make(folder), trials, seed, trained)


def on(bench: Bench, trials: int, seed: int, trained: int) -> Campaign:
    chance = random.Random(seed)
    found = Campaign("damage", PROMISE)
    often = [1 + 5 * (" of " in name) + 10 * ("flip" in name and "database" in name) for name in DAMAGES]
    for name in chance.choices([*DAMAGES], often, k=trials):
        outcome, broken = trial(bench, name, chance, train=trained > 0)
        trained -= outcome.endswith("trained again")
        found.tried(outcome, *broken)
    return found


def trial(bench: Bench, name: str, chance: random.Random, train: bool = False) -> tuple[str, list[str]]:
    """One damage: what came of it, in words, and what was broken."""
    DAMAGES[name](bench, chance)
    mark = sha256(b"".join(file.read_bytes() for file in sorted(bench.place.rglob("*")) if file.is_file())).hexdigest()
    began = time.monotonic()
    looked, broken = look(bench)
    ran, more = rerun(bench)
    broken += more
    if (took := time.monotonic() - began) > SLOW:
        broken.append(f"it took {took:.0f} s")
    if train and ran == "trained again":
        broken += train_again(bench)
    return f"looking: {looked}; running: {ran}", [f"{name} ({mark[:8]}): {text}" for text in broken]


def look(bench: Bench) -> tuple[str, list[str]]:
    found = {command: say(command, "--out", str(bench.place)) for command in LOOKS}
    for name, said in bench.said.items():
        if found == said:
            return ("as undamaged" if name == "whole" else f"as the {name} one"), []
    refused = {name: said.code == 2 and not said.out and said.err.startswith("synthbench: ") and said.is_plain
               for name, said in found.items()}  # fmt: skip
    wrong = [f"{command}: {said}"[:1000] for command, said in found.items() if not refused[command]]
    agree = [said[command] == found[command] for said in bench.said.values() for command in LOOKS]
    return "refused", wrong if not any(agree) else []


def rerun(bench: Bench) -> tuple[str, list[str]]:
    """What `run` would train again, and whether all that it would not is as it was."""
    try:
        with closing(Store.create(bench.place)) as store:
            return _rerun(bench, store)
    except BadInput as error:
        return "refused", [] if len(str(error).splitlines()) == 1 else [f"refused in other words: {error}"]
    except Exception as error:
        return "broken", [f"running: {error!r}"]


def _rerun(bench: Bench, store: Store) -> tuple[str, list[str]]:
    card = bench.experiment.card.model_dump_json(by_alias=True)
    store.record("name", card, "{}", "command")
    done = usable_results(bench.larger, store)
    enlist(bench.experiment, "name", store, done)
    wrong = [f"run {run[:8]} came back as {one}" for run, one in done.items() if one != bench.results.get(run)]
    for one in done.values():
        kept = store.valid_weights(one)
        if kept and (store.weights / kept.name).read_bytes() != bench.weights[str(bench.results[one.run].weights)]:
            wrong.append(f"the weights of run {one.run[:8]} are others")
    needed = len(Plan(bench.larger, done).remaining()) > len(Plan(bench.larger, bench.results).remaining())
    return "trained again" if needed else "nothing is lost", wrong


def train_again(bench: Bench) -> list[str]:
    """Runs the larger experiment on the damaged folder, which must end as if nothing had been damaged."""
    ran = say("run --jobs 1 --device cpu", str(bench.card), "--out", str(bench.place), *LARGER)
    if ran.code:
        return [f"the rerun ended with {ran.code}: {ran.err}"]
    found = program.numbers(program.results(bench.place))
    wanted = program.numbers(program.results(bench.folder / "larger"))
    return [f"run {run[:8]} ended with other scores" for run in wanted if found.get(run) != wanted[run]]
