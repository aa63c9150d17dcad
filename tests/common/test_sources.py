"""A hash of source code ignores comments, layout and location. Every edit that can change a number changes it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from synthbench.common import sources
from synthbench.experiment import identity
from synthbench.experiment.optimizers import source_hash
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

# (text of STEP, replacement) that computes the same
EQUIVALENT = [
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
# (text of STEP, replacement) that may compute something else
EDITS = [
    ("value - FACTOR", "value + FACTOR"),  # an operator
    ("FACTOR = 2.0", "FACTOR = 2.5"),  # a global
    ("FACTOR = 2.0", "FACTOR = 2"),  # another type
    ("lr: float = 1e-3,", "lr: float = 1e-2,"),  # a default argument
    ("turned: bool = False", "turned: bool = True"),
    ("*, turned", "turned"),  # a signature
    ("@scale\n", ""),  # a decorator
    ("import scale\n", "import scale as other\n"),
    ("from package.maths import scale", "from package.words import scale"),  # another module
    ("from package.maths import scale", "from others.maths import scale"),
    ("Wrong(ValueError)", "Wrong(TypeError)"),
    ("    if turned:\n", "    if not turned:\n"),
    ("    return value - FACTOR * lr\n", "    return value - FACTOR * lr\n    pass\n    return None\n"),
]


def package(folder: Path, step: str = STEP, maths: str = MATHS, module: str = "step.py") -> Path:
    root = folder / "package"
    (root / module).parent.mkdir(parents=True, exist_ok=True)
    for name, text in (
        ("__init__.py", ""),
        (module, step),
        ("maths.py", maths),
        ("words.py", "shown = scale = repr\n"),
    ):
        (root / name).write_text(text)
    return root


def digest(root: Path) -> str:
    return sources.digest(root.rglob("*.py"), root)


def changed(before: str, after: str) -> str:
    assert STEP.count(before) == 1
    return STEP.replace(before, after)


@pytest.mark.parametrize(("before", "after"), EQUIVALENT)
def test_comments_docstrings_layout_and_import_order_leave_the_hash(tmp_path: Path, before: str, after: str) -> None:
    assert digest(package(tmp_path / "b", changed(before, after))) == digest(package(tmp_path / "a"))


@pytest.mark.parametrize(("before", "after"), EDITS)
def test_an_edit_of_the_code_changes_the_hash(tmp_path: Path, before: str, after: str) -> None:
    assert digest(package(tmp_path / "b", changed(before, after))) != digest(package(tmp_path / "a"))


def test_a_move_leaves_the_hash_if_imports_lead_to_the_same_code(tmp_path: Path) -> None:
    before = package(tmp_path / "a")
    after = package(tmp_path / "b", STEP.replace("package.maths", "package.deep.sums"), module="inner/moves.py")
    (after / "deep").mkdir()
    (after / "deep" / "__init__.py").touch()
    (after / "maths.py").rename(after / "deep" / "sums.py")
    assert digest(after) == digest(before)
    (after / "deep" / "sums.py").write_text(MATHS.replace("return function", "return repr"))
    assert digest(after) != digest(before)


def test_swapped_modules_change_the_hash(tmp_path: Path) -> None:
    """Both modules define `scale`, and the set of files stays the same."""
    original, swapped = package(tmp_path / "a"), package(tmp_path / "b")
    (swapped / "words.py").write_text(MATHS)
    (swapped / "maths.py").write_text("shown = scale = repr\n")
    assert digest(original) != digest(swapped)


def test_a_docstring_that_the_code_reads_is_hashed(tmp_path: Path) -> None:
    code = STEP + "\nprint(step.__doc__)\n"
    original, edited = (
        package(tmp_path / name, text) for name, text in (("a", code), ("b", code.replace("Moves", "Turns")))
    )
    assert digest(original) != digest(edited)


def test_remembering_leaves_the_hash_where_the_decorator_is_ours(tmp_path: Path) -> None:
    decorated = changed("@scale\n", "@scale\n@remembered(lambda value: value, last=3)\n")
    imported = decorated.replace("FACTOR = 2.0", "from synthbench.common.remembered import remembered\nFACTOR = 2.0")
    assert digest(package(tmp_path / "ours", imported)) == digest(package(tmp_path / "without"))
    others = imported.replace("synthbench.common.remembered", "others.remembered")
    assert digest(package(tmp_path / "others", others)) != digest(package(tmp_path / "without"))


def test_a_long_expression_is_hashed(tmp_path: Path) -> None:
    text = f"x = {' + '.join(['1'] * 900)}\n"
    assert digest(package(tmp_path / "a", text)) != digest(package(tmp_path / "b", text.replace("1 + 1", "1 + 2", 1)))


def test_the_hash_of_this_package_survives_comments_and_moves_but_no_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edits a copy of the package."""
    root = tmp_path / "synthbench"
    shutil.copytree(identity.PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__"))

    def hashes() -> tuple[str, str]:
        identity.source.cache_clear()
        return identity.training_source(), identity.package_fingerprint()

    def edit(module: str, before: str, after: str) -> tuple[str, str]:
        text = (root / module).read_text()
        assert before in text
        (root / module).write_text(text.replace(before, after, 1))
        edited = hashes()
        (root / module).write_text(text)
        return edited

    try:
        real = hashes()
        monkeypatch.setattr(identity, "PACKAGE", root)
        assert hashes() == real
        assert edit("trainer/loop.py", '"""', '"""Another sentence. ') == real
        assert edit("trainer/loop.py", "\n\n\n", "\n\n\n# a comment\n") == real
        assert edit("trainer/optimizers/muon.py", " * ", " + ")[0] != real[0]
        training, fingerprint = edit("scores/capacity.py", " * ", " + ")
        assert (training, fingerprint == real[1]) == (real[0], False)
        folder = root / "trainer" / "deeper"
        folder.mkdir()
        (root / "trainer" / "schedule.py").rename(folder / "schedule.py")
        for path in root.rglob("*.py"):
            path.write_text(
                path.read_text().replace("synthbench.trainer.schedule", "synthbench.trainer.deeper.schedule")
            )
        assert hashes() == real
    finally:
        identity.source.cache_clear()


def test_the_source_of_an_optimizer_is_its_file() -> None:
    assert source_hash("adamw") == sources.digest([Path(adamw.__file__)], identity.PACKAGE)
    assert len({source_hash(name) for name in ("adamw", "muon", "sgd")}) == 3
