"""The code of a plugin is hashed like the package, from its file or, in a notebook, from its functions and globals."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench.plugins import code_hash, loading


def test_a_plugin_file_is_hashed_like_the_package_with_the_modules_it_imports(tmp_path: Path) -> None:
    def source(name: str, step: str, constants: str = "FACTOR = 2\n") -> str:
        folder = tmp_path / name
        folder.mkdir()
        helper = f"helper_{name}"
        (folder / f"{helper}.py").write_text(constants)
        (folder / "mine.py").write_text(f"from {helper} import FACTOR\nimport {helper} as helper\n\n{step}")
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
    scale = 3
    def step(self, lr=0.1):
        """Steps."""
        return [twice(lr) - self.scale for _ in range(2)]
'''


def notebook_hash(text: str) -> str:
    """The hash of a class without a file, as in a notebook."""
    namespace = {"__name__": "__main__"}
    exec(compile(text, "<cell>", "exec"), namespace)
    return code_hash.digest(namespace["Mine"])


@pytest.mark.parametrize(
    ("before", "after"),
    [('"""Steps."""', '"""Steps twice."""'), ('        """Steps."""\n', ""), ('    """Mine."""\n', ""),
     ("FACTOR = 2\n", "\n\nFACTOR = 2  # of all\n"), ("scale = 3", "scale = (3)")],
)  # fmt: skip
def test_comments_and_docstrings_of_a_notebook_class_leave_the_hash(before: str, after: str) -> None:
    assert before in CLASS
    assert notebook_hash(CLASS.replace(before, after)) == notebook_hash(CLASS)


@pytest.mark.parametrize(
    ("before", "after"),
    [("FACTOR * once", "FACTOR + once"), ("LESS = 2", "LESS = 3"), ("once(value, by=1)", "once(value, by=2)"),
     ("twice(value, by=1)", "twice(value, by=2)"), ("FACTOR = 2\n", "FACTOR = 3\n"), ("lr=0.1", "lr=0.2"),
     ("scale = 3", "scale = 4"), ("self, lr", "self, *, lr"), ("    def step", "    @staticmethod\n    def step"),
     ("range(2)", "range(3)"), ("twice(lr) - ", "twice(lr) + ")],
)  # fmt: skip
def test_an_edit_of_a_notebook_class_changes_the_hash(before: str, after: str) -> None:
    assert before in CLASS
    assert notebook_hash(CLASS.replace(before, after)) != notebook_hash(CLASS)
