"""What Python files compute, as a hash: of their syntax trees, without comments, docstrings, positions and file names.

The hash is the same under every supported version of Python. It stays the same when a file moves: an imported module of
the same package stands as the hash of what it computes, not as a path. It stays the same when a function's values are
remembered.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

SILENT = ("ctx", "kind", "type_comment")  # fields of a node that follow from others, or mean nothing
# A decorator under which a function returns what it would without it, and the import that says that it is this one.
REMEMBERED = "remembered"
FROM = "synthbench.common.remembered"
NOTHING = sha256().hexdigest()
Item = str | ast.AST


def digest(files: Iterable[Path], root: Path, apart: Collection[str] = ()) -> str:
    """sha256 of what Python files compute. root: the package that they are of, or the folder where they import each other.
    apart: dotted places of modules whose import leaves the hash, since they are hashed elsewhere.

    An imported name is part of it with the hash of its module alone, where that is among the files. Raises SyntaxError
    for what is no Python, OSError for what cannot be read.
    """
    places = {_place(path, root): path for path in files}
    package = root.name if (root / "__init__.py").exists() else ""
    parsed = []
    for path in places.values():
        text = path.read_bytes()
        tree = ast.parse(text)
        traits = b"__doc__" in text, any(map(_imports_remembered, tree.body))
        parsed.append((path.relative_to(root).parts[:-1], traits, tree))
    hashes = dict.fromkeys(places, "")
    for _ in ("alone", "linked"):
        now = [Reader(folder, package, hashes, *traits, apart).hash(tree) for folder, traits, tree in parsed]
        hashes = dict(zip(places, now, strict=True))
    linked = sorted(code for code in hashes.values() if code != NOTHING)  # an empty file computes nothing
    return sha256("".join(linked).encode()).hexdigest()


def _place(path: Path, root: Path) -> str:
    """The dotted name of a file from the root; "" for the root's own `__init__.py`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass(frozen=True)
class Reader:
    """Reads a syntax tree. folder: the file's, from the root. package: the root's name, "" where it is none. known: by
    place the hashes of all files. keeps_docs: whether code of the file reads docstrings, which are then part of it.
    remembers: whether it imports `remembered`. apart: places whose import is left out."""

    folder: tuple[str, ...]
    package: str
    known: Mapping[str, str]
    keeps_docs: bool
    remembers: bool
    apart: Collection[str] = ()

    def hash(self, tree: ast.Module) -> str:
        state = sha256()
        left = self._statements(tree.body)[::-1]  # a stack: expressions may nest deeper than Python calls
        while left:
            item = left.pop()
            if isinstance(item, ast.AST):
                left += self._fields(item)[::-1]
            else:
                state.update(f"{item}\0".encode("utf-8", "surrogatepass"))
        return state.hexdigest()

    def _statements(self, body: Sequence[ast.stmt]) -> list[Item]:
        """Statements that do something. Imports that follow each other have no order."""
        items: list[Item] = []
        statements = [node for node in body if not self._is_silent(node)]
        for is_import, group in groupby(statements, lambda node: isinstance(node, ast.Import | ast.ImportFrom)):
            nodes = list(group)
            items += sorted(name for node in nodes for name in self._imported(node)) if is_import else nodes
        return items

    def _is_silent(self, node: ast.stmt) -> bool:
        """Whether a statement does nothing when it runs: a docstring, `pass`, what only a type checker sees."""
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                return not self.keeps_docs
            case ast.ImportFrom():
                return _imports_remembered(node)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
                return True
        return isinstance(node, ast.Pass)

    def _imported(self, node: Any) -> Iterator[str]:
        """The names of an `import` or a `from ... import`, each with its module or, below the root, the module's hash."""
        for name in node.names:
            if isinstance(node, ast.Import):
                yield f"{self._meant(name.name, '')}  {name.asname or name.name}"
            else:
                above = self.folder[: len(self.folder) + 1 - node.level] if node.level else ()
                module = ".".join([*above, node.module] if node.module else above)
                if f"{module}.{name.name}".removeprefix(f"{self.package}.") in self.apart:
                    continue
                yield f"{self._meant(module, name.name, node.level)} {name.name} {name.asname or ''}"

    def _meant(self, module: str, name: str, level: int = 0) -> str:
        """An imported submodule is looked up itself, any other name by its module."""
        first, _, rest = module.partition(".")
        if not level and self.package:
            if first != self.package:
                return module
            module = rest
        elif not level and not any(place.partition(".")[0] == first for place in self.known):
            return module
        return self.known.get(f"{module}.{name}".strip(".")) or self.known.get(module, "")

    def _fields(self, node: ast.AST) -> list[Item]:
        """A node taken apart. Absent and empty fields leave nothing: versions of Python differ in which there are."""
        items: list[Item] = [type(node).__name__]
        for name in node._fields:
            value: Any = getattr(node, name, None)
            if name == "decorator_list" and self.remembers:
                value = [decorator for decorator in value if not _is_remembered(decorator)]
            if name in SILENT or value == [] or (value is None and name != "value"):
                continue
            items.append(name)
            children = value if isinstance(value, list) else [value]
            items += self._statements(children) if isinstance(children[0], ast.stmt) else map(_item, children)
        return [*items, "end"]


def _imports_remembered(node: ast.stmt) -> bool:
    """Whether a statement imports `remembered`, and nothing else, under its name."""
    match node:
        case ast.ImportFrom(module=module, names=[ast.alias(name=name, asname=None)]):
            return (module, name) == (FROM, REMEMBERED)
    return False


def _is_remembered(decorator: ast.expr) -> bool:
    match decorator:
        case ast.Call(func=ast.Name(id=name)):
            return name == REMEMBERED
    return False


def _item(value: Any) -> Item:
    """A field's value: a node, or a constant as text."""
    if isinstance(value, ast.AST):
        return value
    return f"{type(value).__name__} {f'{value:x}' if type(value) is int else repr(value)}"
