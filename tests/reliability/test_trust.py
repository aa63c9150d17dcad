"""Only code that a person installed or named is executed, and commands that read write nothing: see SECURITY.md."""

from __future__ import annotations

import ast
import os
import pickle
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest

import synthbench
from synthbench.store.database import seal
from tests import tiny
from tests.reliability import disk, program
from tests.reliability.program import invoke

SCRIPT = Path(sys.executable).with_name("synthbench")
MODULE = [sys.executable, "-m", "synthbench"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(program.ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
INSTALLED = {re.split(r"[./]", name)[0] for name in packages_distributions()} - {"synthbench"}
TEMPTING = {*sys.stdlib_module_names, *INSTALLED, "sitecustomize", "usercustomize", "conftest", "setup"}


def test_nothing_in_the_working_directory_is_imported(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Except what `python -m` itself imports before the program begins. Workers import nothing from it, either."""
    imported = tmp_path_factory.mktemp("imported") / "names"
    out, card = tmp_path / "results", tiny.write(tmp_path)
    out.mkdir()
    (imported.parent / "probe.py").write_text("import sys; print(*sys.modules)")
    probe, path = [sys.executable, "-m", "probe"], os.environ | {"PYTHONPATH": str(imported.parent)}
    printed = subprocess.run(probe, env=path, cwd="/", stdout=subprocess.PIPE, text=True, check=True).stdout
    exempt = set(printed.split())
    commands = [(MODULE, TEMPTING - exempt, f"run {card} --out {out} --jobs 1 --seeds 1")]
    if SCRIPT.exists():
        commands.append(([str(SCRIPT)], exempt, f"report --out {out}"))
    for start, names, command in commands:
        for name in names:
            for folder in (tmp_path, out):
                trap = f"open({str(imported)!r}, 'a').write('{name} ')\nraise ImportError\n"
                (folder / f"{name}.py").write_text(trap)
        completed = subprocess.run(
            [*start, *command.split()], cwd=tmp_path, env=ENVIRONMENT, timeout=program.TIMEOUT, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert not imported.exists(), imported.read_text()
        assert completed.returncode == 0, completed.stderr


EVIL = ["evil:X", "evil", "./evil.py:X", "./evil.py", "os:system", "os.system", "synthbench.trainer.evil", "../evil"]
TRAP = "import pathlib; pathlib.Path(__file__).with_name('imported').touch()\nX = 1\n"


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a card and a module that must not be imported."""
    (tmp_path / "evil.py").write_text(TRAP)
    tiny.write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert "evil" not in sys.modules
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("name", EVIL)
def test_no_module_that_a_card_mentions_is_imported(name: str, evil: Path) -> None:
    """Most keys never name code; for optimizers and generators only some spellings do."""
    runner, task = (evil / "runner.toml").read_text(), (evil / "task.toml").read_text()
    cards = [
        runner.replace('"fact_recall"', f'"{name}"'), runner.replace('"constant"', f'"{name}"'),
        re.sub("model = .*", f'model = "{name}"', runner), f'{runner}\n[arguments."{name}"]\nx = 1\n',
    ]  # fmt: skip
    options = [f"--task {name}", f"--update {name}", f"--set optimizer.rule={name}"]
    arguments = [f"{kind} {name}" for kind in ("task", "runner", "score")]
    if ":" not in name:
        (evil / "other.toml").write_text(task.replace('"facts"', f'"{name}"'))
        cards.append(runner.replace('["adamw"]', f'["{name}"]'))
        options += [f"--task {evil / 'other.toml'}", f"--optimizer {name}"]
        arguments += [f"task {evil / 'other.toml'}", f"optimizer {name}"]
    for number, content in enumerate(cards):
        (evil / f"card-{number}.toml").write_text(content)
    card_files = [f"{evil}/card-{number}.toml" for number in range(len(cards))]
    for command in [*card_files, *(f"{evil / 'runner.toml'} {option}" for option in options)]:
        code, _, err = invoke(f"run {command} --out {evil / 'out'}")
        assert code == 2, (command, err)
        assert re.split("[:/]", name.removesuffix(":X"))[-1] in err or "rule" in err, (command, err)
        assert 1 <= len(err.strip().splitlines()) <= 3
    assert [invoke(f"show {argument}").code for argument in arguments] == [2] * len(arguments)
    assert not (evil / "out").exists()


@pytest.mark.parametrize("name", ["./evil.py:X", "evil:X"])
@pytest.mark.parametrize(("old", "show"), [("facts", "show task"), ("adamw", "run --dry-run")])
def test_code_that_a_card_names_is_executed_after_a_warning(
    old: str, show: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil.py").write_text("import sys\nprint('run', file=sys.stderr)\nX = 1\n")
    tiny.write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    card = tmp_path / ("runner.toml" if old == "adamw" else "task.toml")
    card.write_text(card.read_text().replace(f'"{old}"', f'"{name}"'))
    code, _, err = invoke(show, str(card))
    sys.modules.pop("evil", None)
    assert code == 2
    warning, printed, refused = err.splitlines()
    assert warning.startswith(f"synthbench: loading {card} executes code: ")
    assert warning.endswith("evil" if name == "evil:X" else "evil.py")
    assert printed == "run"
    assert "X is a int" in refused or "is neither a torch.optim.Optimizer class" in refused


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._marker,)


def test_the_traps_of_these_tests_work(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(TRAP)
    subprocess.run([sys.executable, "-c", "import evil"], cwd=tmp_path, check=True)
    pickle.loads(pickle.dumps(Trap(tmp_path / "unpickled")))
    assert {"imported", "unpickled"} <= {path.name for path in tmp_path.iterdir()}


@pytest.fixture
def armed(tmp_path: Path) -> Iterator[bytes]:
    yield pickle.dumps(Trap(tmp_path / "unpickled"))
    assert not (tmp_path / "unpickled").exists()


@pytest.fixture
def results(tmp_path: Path) -> tuple[Path, Path]:
    """A tiny card and its finished results."""
    card, out = program.quick_card(tmp_path), tmp_path / "out"
    completed = invoke("run", str(card), "--out", str(out), *disk.OPTIONS)
    assert completed.code == 0, completed.err
    return card, out


def test_a_pickle_in_place_of_a_database_or_card_is_refused(armed: bytes, tmp_path: Path) -> None:
    (tmp_path / "results.db").write_bytes(armed * 20)
    (tmp_path / "card.toml").write_bytes(armed)
    commands = [f"{command} --out {tmp_path}" for command in ("report", "export", "run")]
    for command in [*commands, f"run {tmp_path / 'card.toml'}", f"show task {tmp_path / 'card.toml'}"]:
        assert invoke(command).code == 2


def test_pickles_in_every_value_of_a_database_are_not_loaded(
    armed: bytes, results: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checksums are forged, too. Observations of a run are read because the code of scores has changed."""
    _, out = results
    file = out.parent / "object.npz"
    np.savez(file, head=np.array([Trap(out.parent / "unpickled")], dtype=object))
    monkeypatch.setattr("synthbench.store.database.seal", lambda *_: "forged")
    monkeypatch.setattr("synthbench.store.results.seal", lambda *_: "forged")
    monkeypatch.setattr("synthbench.experiment.identity.source", lambda *_: "edited")
    for content in (armed, file.read_bytes()):
        with closing(sqlite3.connect(out / "results.db")) as db, db:
            db.execute("UPDATE observations SET content = ?", (content,))
            for (table,) in db.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%seal%' AND type = 'table'"):
                db.execute(f"UPDATE {table} SET seal = 'forged'")
            db.execute("UPDATE runs SET path_seal = 'forged'")
        for command in (f"report --out {out}", f"export --out {out}"):
            assert invoke(command).code == 2, command


def test_pickles_in_place_of_weights_are_not_loaded(armed: bytes, results: tuple[Path, Path]) -> None:
    """The row has their size and hash, too, and a fleet is to start from them."""
    card, out = results
    digest = sha256(armed).hexdigest()
    with closing(sqlite3.connect(out / "results.db")) as db, db:
        for run, attempt, name in db.execute("SELECT run, attempt, name FROM weights").fetchall():
            (out / "weights" / name).write_bytes(armed)
            row = (run, attempt, name, len(armed), digest)
            db.execute("INSERT OR REPLACE INTO weights VALUES (?,?,?,?,?,?)", (*row, seal(*row)))
    completed = invoke("run --lr 3e-3", str(card), "--out", str(out), *disk.OPTIONS)
    assert completed.code == 4
    assert "SafetensorError" in completed.err


READ = "import sys; from tests.reliability.program import invoke; sys.exit(any(invoke(line).code for line in sys.argv[1:]))"


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace")
def test_commands_that_read_open_no_file_for_writing(results: tuple[Path, Path], tmp_path: Path) -> None:
    """Except the two files of SQLite beside a database, which its readers write, too."""
    card, out = results
    before, log = (out / "results.db").read_bytes(), tmp_path / "strace"
    commands = (f"report --out {out}", f"export --out {out}", "ls task", f"show runner {card}", "show optimizer muon")
    arguments = [sys.executable, "-c", READ, *commands]
    traced = "trace=open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,unlink,unlinkat"
    subprocess.run(
        ["strace", "-f", "-qq", "-o", log, "-e", traced, *arguments], env=ENVIRONMENT, check=True, capture_output=True
    )
    calls = [line for line in log.read_text().splitlines() if not re.search(r" = -1 E\w+", line)]
    assert any("results.db" in line for line in calls)
    writes = [line for line in calls if not re.search(r"\bopen(at)?\(", line) or re.search("O_(WRONLY|RDWR)", line)]
    assert not [line for line in writes if not re.search(r'/results\.db-(wal|shm)"|"/dev/(null|tty)"', line)]
    assert (out / "results.db").read_bytes() == before


MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "runpy", "code", "imp"}
IMPORTERS = {"importlib", "importlib.util", "importlib.machinery", "pkgutil", "subprocess"}
CALLS = {"eval", "exec", "compile", "__import__", "breakpoint"}
METHODS = {"torch.load", "torch.hub", "os.system", "os.popen", "importlib.import_module"}


def forbidden(source: str) -> Iterator[str]:
    """What can execute code from outside of this package, by the names of modules, functions and arguments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ({alias.name for alias in node.names} & (MODULES | IMPORTERS))
        elif isinstance(node, ast.ImportFrom):
            yield from {node.module} & (MODULES | IMPORTERS)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in METHODS:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            name = ast.unparse(node.func)
            has_option = any(keywords.get(option, "False") != "False" for option in ("shell", "allow_pickle"))
            if name in CALLS or has_option or (name == "np.load" and "allow_pickle" not in keywords):
                yield ast.unparse(node)


def test_constructs_that_execute_other_code_are_detected() -> None:
    for source in (
        "import pickle", "from pickle import loads", "eval('1')", "exec(text)", "__import__(name)", "torch.load(file)",
        "np.load(file)", "np.load(file, allow_pickle=True)", "os.system('ls')", "run(line, shell=True)",
        "import importlib; importlib.import_module(name)", "from importlib.util import spec_from_file_location",
    ):  # fmt: skip
        assert [*forbidden(source)], source


ALLOWED = {
    "__init__.py": {"importlib"},  # the package's own modules, by public names
    "execution/engine.py": {"importlib.util"},  # whether Ray is installed
    "execution/preload.py": {"importlib"},  # torch, and the package's own modules, by a list
    "execution/probing.py": {"importlib"},  # the package's own modules, by names of probes
    "execution/tracking.py": {"importlib", "importlib.import_module"},  # the packages of trackers, by a list
    "plugins/registry.py": {"cloudpickle"},  # between a process and its workers
    "plugins/loading.py": {"importlib", "importlib.util", "importlib.import_module"},  # code that is named
    "trainer/native/build.py": {"importlib.util", "subprocess"},  # finds torch's headers, runs the user's compiler
}


def test_the_package_executes_other_code_only_where_it_is_named() -> None:
    files = sorted(Path(synthbench.__file__).parent.rglob("*.py"))
    assert len(files) > 50
    package = files[0].parent
    calls = {file.relative_to(package).as_posix(): {*forbidden(file.read_text(encoding="utf-8"))} for file in files}
    assert {name: names for name, names in calls.items() if names} == ALLOWED
