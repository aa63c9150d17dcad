"""Files apart: code that only the runs that use it depend on."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest

from synthbench import cards
from synthbench.cards import RunnerCard, TaskCard
from synthbench.experiment import identity, used
from tests.each import each

HOPS = "generators/hops.py"


def imported(path: Path) -> set[str]:
    """The modules, or names in modules, that a file imports, as dotted places in the package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name.removeprefix("synthbench.") for name in found}


APART = [place for folder in identity.COMMON for place in identity.apart(folder)]
MODULES = {place.removesuffix(".py").replace("/", ".") for place in APART}
HASHED = [
    path
    for place in (*identity.TRAINING, "scores")
    for path in ([identity.PACKAGE / place] if place.endswith(".py") else (identity.PACKAGE / place).rglob("*.py"))
]


@each("path", HASHED)
def test_no_hashed_file_imports_a_file_apart_but_to_register_it(path: Path) -> None:
    """The import of a file apart leaves the hash: an edit of what it offers would not be seen."""
    if path.name != "__init__.py" and not identity.is_apart(path.relative_to(identity.PACKAGE)):
        assert not imported(path) & MODULES


@each("folder", identity.COMMON)
def test_every_file_of_a_folder_is_common_or_imported_where_it_registers(folder: str) -> None:
    names = {path.stem for path in (identity.PACKAGE / folder).glob("*.py")}
    assert identity.COMMON[folder] <= names
    registered = imported(identity.PACKAGE / folder / "__init__.py")
    assert {f"{folder.replace('/', '.')}.{name}" for name in names} - registered <= {
        f"{folder.replace('/', '.')}.{name}" for name in ("__init__", "contract")
    }


def hashes(root: Path) -> dict[str, str]:
    identity.source.cache_clear()
    return {
        "training": identity.training_source(),
        "package": identity.package_fingerprint(),
        "hops": identity.training_source(HOPS),
        "scores": identity.scores_source(),
    }


def test_a_file_apart_changes_the_hash_of_those_that_use_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "synthbench"
    shutil.copytree(identity.PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(identity, "PACKAGE", root)
    before = hashes(root)

    def changed() -> set[str]:
        after = hashes(root)
        return {name for name in before if before[name] != after[name]}

    try:
        text = (root / HOPS).read_text()
        (root / HOPS).write_text(text.replace("options.hops + 1", "options.hops + 2"))
        assert changed() == {"hops"}
        (root / HOPS).write_text(text)
        for folder in ("generators", "trainer/optimizers"):
            (root / folder / "new.py").write_text("answer = 42\n")
            init = root / folder / "__init__.py"
            init.write_text(f"{init.read_text()}\nfrom synthbench.{folder.replace('/', '.')} import new\n")
        assert changed() == set()
        (root / "scores" / "new.py").write_text("answer = 42\n")
        assert changed() == {"scores"}  # stored runs are scored again
        (root / "generators" / "task.py").write_text("answer = 42\n")
        assert changed() == {"training", "package", "hops", "scores"}
    finally:
        identity.source.cache_clear()


def test_a_task_uses_the_files_of_its_generators_as_far_as_a_stage() -> None:
    card = cards.load(TaskCard, "recall")
    assert used.by_task(card) == used.by_task(card, "pretrain") == ("generators/recall.py",)
    assert used.by_task(cards.load(TaskCard, "rote-vs-rule")) == ()
    runner = cards.load(RunnerCard, "quick").model_copy(update={"tasks": ["two-hop", "no-such-task", "wugs"]})
    assert used.by_card(runner) == (HOPS,)
    assert used.by_card(cards.load(RunnerCard, "quick")) == ()
