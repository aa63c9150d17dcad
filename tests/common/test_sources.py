"""What code computes has one hash, whatever it looks like and wherever it stands; any edit that can change a number has
another one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from synthbench.common import sources
from synthbench.experiment import identity
from synthbench.experiment.optimizers import source_hash
from synthbench.plugins import code_hash, loading
from synthbench.trainer.optimizers import adamw

STEP = '''"""A module."""

from __future__ import annotations

from package.maths import scale
from package.words import shown
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

FACTOR = 2.0


class Wrong(ValueError):
    """A mistake."""


@scale
def step(value: Tensor, lr: float = 1e-3, *, turned: bool = False) -> Tensor:
    """Moves a value.

    lr: the rate."""
    # against the gradient
    if turned:
        return value + FACTOR * lr
    return value - FACTOR * lr
'''
MATHS = "import math\n\ndef scale(function):\n    return function\n"

# Each makes the same of a file: what stands before, and after.
LOOKS = [
    ("    # against the gradient\n", "    # along it\n"),
    ('"""Moves a value.\n\n    lr: the rate."""', '"""Moves."""'),
    ('    """Moves a value.\n\n    lr: the rate."""\n', ""),
    ('    """A mistake."""\n', "    pass\n"),
    ("        return value + FACTOR * lr\n", "        return (\n            value + FACTOR * lr\n        )\n"),
    ("lr: float = 1e-3,", "lr: float = 0.001,"),
    ("FACTOR = 2.0\n", "\n\nFACTOR = 2.0  # of the rate\n"),
    ("    from torch import Tensor\n", "    from torch import Tensor, nn\n"),
    ("from package.maths import scale\nfrom package.words import shown\n",
     "from package.words import shown\nfrom package.maths import scale\n"),
    ("from package.maths import scale", "from .maths import scale"),
]  # fmt: skip
EDITS = [
    ("value - FACTOR", "value + FACTOR"),  # an operator
    ("FACTOR = 2.0", "FACTOR = 2.5"),  # a global
    ("FACTOR = 2.0", "FACTOR = 2"),  # another type
    ("lr: float = 1e-3,", "lr: float = 1e-2,"),  # a default argument
    ("turned: bool = False", "turned: bool = True"),
    ("*, turned", "turned"),  # a signature
    ("@scale\n", ""),  # a decorator
    ("import scale\n", "import scale as other\n"),
    ("from package.maths import scale", "from package.words import scale"),  # a name from elsewhere
    ("from package.maths import scale", "from others.maths import scale"),
    ("Wrong(ValueError)", "Wrong(TypeError)"),
    ("    if turned:\n", "    if not turned:\n"),
    ("    return value - FACTOR * lr\n", "    return value - FACTOR * lr\n    pass\n    return None\n"),
]


def package(folder: Path, step: str = STEP, maths: str = MATHS, place: str = "step.py") -> Path:
    root = folder / "package"
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    for name, text in (("__init__.py", ""), (place, step), ("maths.py", maths), ("words.py", "shown = scale = repr\n")):
        (root / name).write_text(text)
    return root


def digest(root: Path) -> str:
    return sources.digest(root.rglob("*.py"), root)


def changed(before: str, after: str) -> str:
    assert STEP.count(before) == 1
    return STEP.replace(before, after)


@pytest.mark.parametrize(("before", "after"), LOOKS)
def test_what_only_readers_see_changes_nothing(tmp_path: Path, before: str, after: str) -> None:
    assert digest(package(tmp_path / "b", changed(before, after))) == digest(package(tmp_path / "a"))


@pytest.mark.parametrize(("before", "after"), EDITS)
def test_an_edit_of_what_runs_is_another_code(tmp_path: Path, before: str, after: str) -> None:
    assert digest(package(tmp_path / "b", changed(before, after))) != digest(package(tmp_path / "a"))


def test_a_move_changes_nothing_as_long_as_imports_lead_to_the_same_code(tmp_path: Path) -> None:
    before = package(tmp_path / "a")
    after = package(tmp_path / "b", STEP.replace("package.maths", "package.deep.sums"), place="inner/moves.py")
    (after / "deep").mkdir()
    (after / "deep" / "__init__.py").touch()
    (after / "maths.py").rename(after / "deep" / "sums.py")
    assert digest(after) == digest(before)
    (after / "deep" / "sums.py").write_text(MATHS.replace("return function", "return repr"))
    assert digest(after) != digest(before)


def test_names_that_change_places_are_another_code(tmp_path: Path) -> None:
    """Both modules have a `scale`: which of them is meant counts, though the set of files is the same."""
    one, other = package(tmp_path / "a"), package(tmp_path / "b")
    (other / "words.py").write_text(MATHS)
    (other / "maths.py").write_text("shown = scale = repr\n")
    assert digest(one) != digest(other)


def test_a_docstring_that_the_code_reads_counts(tmp_path: Path) -> None:
    reads = STEP + "\nprint(step.__doc__)\n"
    one, other = (
        package(tmp_path / name, text) for name, text in (("a", reads), ("b", reads.replace("Moves", "Turns")))
    )
    assert digest(one) != digest(other)


def test_a_long_expression_is_read(tmp_path: Path) -> None:
    text = f"x = {' + '.join(['1'] * 900)}\n"
    assert digest(package(tmp_path / "a", text)) != digest(package(tmp_path / "b", text.replace("1 + 1", "1 + 2", 1)))


def test_the_identity_of_this_package_survives_words_and_moves_and_no_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a copy: what a run's id is made of."""
    root = tmp_path / "synthbench"
    shutil.copytree(identity.PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__"))

    def now() -> tuple[str, str]:
        identity.source.cache_clear()
        return identity.training_source(), identity.package_fingerprint()

    def edit(place: str, before: str, after: str) -> tuple[str, str]:
        text = (root / place).read_text()
        assert before in text
        (root / place).write_text(text.replace(before, after, 1))
        found = now()
        (root / place).write_text(text)
        return found

    try:
        real = now()
        monkeypatch.setattr(identity, "PACKAGE", root)
        assert now() == real
        assert edit("trainer/loop.py", '"""', '"""Another sentence. ') == real
        assert edit("trainer/loop.py", "\n\n\n", "\n\n\n# a comment\n") == real
        assert edit("trainer/optimizers/muon.py", " * ", " + ")[0] != real[0]
        training, package_of_all = edit("scores/capacity.py", " * ", " + ")
        assert (training, package_of_all == real[1]) == (real[0], False)
        place = root / "trainer" / "deeper"
        place.mkdir()
        (root / "trainer" / "schedule.py").rename(place / "schedule.py")
        for path in root.rglob("*.py"):
            path.write_text(
                path.read_text().replace("synthbench.trainer.schedule", "synthbench.trainer.deeper.schedule")
            )
        assert now() == real
    finally:
        identity.source.cache_clear()


def test_the_source_of_an_optimizer_is_its_own_file() -> None:
    assert source_hash("adamw") == sources.digest([Path(adamw.__file__)], identity.PACKAGE)
    assert len({source_hash(name) for name in ("adamw", "muon", "sgd")}) == 3


def test_a_plugin_file_is_hashed_like_ours_with_its_neighbours(tmp_path: Path) -> None:
    def source(name: str, step: str, near: str = "FACTOR = 2\n") -> str:
        folder = tmp_path / name
        folder.mkdir()
        near_name = f"near_{name}"
        (folder / f"{near_name}.py").write_text(near)
        (folder / "mine.py").write_text(f"from {near_name} import FACTOR\nimport {near_name} as near\n\n{step}")
        return loading.load(f"{folder}/mine.py:step", "--optimizer").source

    step = "def step(value, lr=0.1):\n    return value - FACTOR * lr\n"
    first = source("a", step)
    assert source("b", f'"""Mine."""\n{step}  # done\n', "# twice\nFACTOR = 2\n") == first
    assert len({first, source("c", step.replace("0.1", "0.2")), source("d", step, "FACTOR = 3\n")}) == 3


CLASS = '''
FACTOR = 2
LESS = 2
def once(value, by=1): return value * by - LESS
def twice(value, by=1): return FACTOR * once(value) * by
class Mine:
    """Mine."""
    kept = 3
    def step(self, lr=0.1):
        """Steps."""
        return [twice(lr) - self.kept for _ in range(2)]
'''


def defined(text: str) -> str:
    """The hash of a class that has no file, as in a notebook."""
    space = {"__name__": "__main__"}
    exec(compile(text, "<cell>", "exec"), space)
    return code_hash.digest(space["Mine"])


@pytest.mark.parametrize(
    ("before", "after"),
    [('"""Steps."""', '"""Steps twice."""'), ('        """Steps."""\n', ""), ('    """Mine."""\n', ""),
     ("FACTOR = 2\n", "\n\nFACTOR = 2  # of all\n"), ("kept = 3", "kept = (3)")],
)  # fmt: skip
def test_words_in_a_class_of_a_notebook_change_nothing(before: str, after: str) -> None:
    assert defined(CLASS.replace(before, after)) == defined(CLASS)


@pytest.mark.parametrize(
    ("before", "after"),
    [("FACTOR * once", "FACTOR + once"), ("LESS = 2", "LESS = 3"), ("once(value, by=1)", "once(value, by=2)"),
     ("twice(value, by=1)", "twice(value, by=2)"), ("FACTOR = 2\n", "FACTOR = 3\n"), ("lr=0.1", "lr=0.2"),
     ("kept = 3", "kept = 4"), ("self, lr", "self, *, lr"), ("    def step", "    @staticmethod\n    def step"),
     ("range(2)", "range(3)"), ("twice(lr) - ", "twice(lr) + ")],
)  # fmt: skip
def test_an_edit_of_a_class_of_a_notebook_is_another_code(before: str, after: str) -> None:
    assert before in CLASS
    assert defined(CLASS.replace(before, after)) != defined(CLASS)
