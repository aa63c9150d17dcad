"""What Python files compute, as a hash: of their syntax trees, without comments, docstrings, positions and file names.

The hash is the same under every supported version of Python. It stays the same when a file moves: an imported module of
the same package stands as the hash of what it computes, not as a path.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

SILENT = ("ctx", "kind", "type_comment")  # fields of a node that follow from others, or mean nothing


class Imported(NamedTuple):
    """An imported name. module: dotted, from the root where it is below it (is_own). name: "" for the module itself."""

    module: str
    name: str
    alias: str
    is_own: bool

    def text(self, known: Mapping[str, str]) -> str:
        """known: hashes of modules by name. An imported submodule is looked up itself, any other name by its module."""
        target = f"{self.module}.{self.name}".strip(".")
        meant = (known.get(target) or known.get(self.module, "")) if self.is_own else self.module
        return f"{meant} {self.name} {self.alias}"


Token = str | tuple[Imported, ...]
Item = Token | ast.AST


def digest(files: Iterable[Path], root: Path) -> str:
    """sha256 of what Python files compute. root: the package that they are of, or the folder where they import each other.

    An imported name is part of it with the code of its module, where that is among the files. Raises SyntaxError for what
    is no Python, OSError for what cannot be read.
    """
    places = {_place(path, root): path for path in files}
    package = root.name if (root / "__init__.py").exists() else ""
    tokens = {}
    for module, path in places.items():
        text = path.read_bytes()
        reader = Reader(path.relative_to(root).parts[:-1], package, places.keys(), b"__doc__" in text)
        tokens[module] = list(reader.tokens(ast.parse(text)))
    alone = {module: _hash(items, {}) for module, items in tokens.items()}
    linked = sorted(_hash(items, alone) for items in tokens.values() if items)  # an empty file computes nothing
    return sha256("".join(linked).encode()).hexdigest()


def _place(path: Path, root: Path) -> str:
    """The dotted name of a file from the root; "" for the root's own `__init__.py`."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _hash(tokens: Iterable[Token], known: Mapping[str, str]) -> str:
    state = sha256()
    for token in tokens:
        texts = [token] if isinstance(token, str) else sorted(imported.text(known) for imported in token)
        state.update("".join(f"{text}\0" for text in texts).encode("utf-8", "surrogatepass"))
    return state.hexdigest()


@dataclass(frozen=True)
class Reader:
    """Reads a syntax tree into tokens. folder: the file's, from the root. package: the root's name, "" where it is none.
    places: of all files. keeps_docs: whether code of the file reads docstrings, which are then part of what it computes."""

    folder: tuple[str, ...]
    package: str
    places: Collection[str]
    keeps_docs: bool

    def tokens(self, tree: ast.Module) -> Iterator[Token]:
        left = self._statements(tree.body)[::-1]  # a stack: expressions may nest deeper than Python calls
        while left:
            item = left.pop()
            if isinstance(item, ast.AST):
                left += self._fields(item)[::-1]
            else:
                yield item

    def _statements(self, body: Sequence[ast.stmt]) -> list[Item]:
        """Statements that do something. Imports that follow each other have no order."""
        items: list[Item] = []
        statements = [node for node in body if not self._is_silent(node)]
        for is_import, group in groupby(statements, lambda node: isinstance(node, ast.Import | ast.ImportFrom)):
            nodes = list(group)
            items += [tuple(imported for node in nodes for imported in self._imported(node))] if is_import else nodes
        return items

    def _is_silent(self, node: ast.stmt) -> bool:
        """Whether a statement does nothing when it runs: a docstring, `pass`, what only a type checker sees."""
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                return not self.keeps_docs
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=[]):
                return True
        return isinstance(node, ast.Pass)

    def _imported(self, node: Any) -> Iterator[Imported]:
        """The names of an `import` or a `from ... import`."""
        for name in node.names:
            if isinstance(node, ast.Import):
                module, is_own = self._from_root(name.name)
                yield Imported(module, "", name.asname or name.name, is_own)
            else:
                above = self.folder[: len(self.folder) + 1 - node.level]
                near = ".".join([*above, node.module] if node.module else above)
                module, is_own = (near, True) if node.level else self._from_root(node.module)
                yield Imported(module, name.name, name.asname or "", is_own)

    def _from_root(self, module: str) -> tuple[str, bool]:
        """A module's place, and whether it is below the root."""
        first, _, rest = module.partition(".")
        if self.package:
            return (rest, True) if first == self.package else (module, False)
        return module, any(module_name.partition(".")[0] == first for module_name in self.places)

    def _fields(self, node: ast.AST) -> list[Item]:
        """A node taken apart. Absent and empty fields leave nothing: versions of Python differ in which there are."""
        items: list[Item] = [type(node).__name__]
        for name in node._fields:
            value: Any = getattr(node, name, None)
            if name in SILENT or value == [] or (value is None and name != "value"):
                continue
            items.append(name)
            children = value if isinstance(value, list) else [value]
            items += self._statements(children) if isinstance(children[0], ast.stmt) else map(_item, children)
        return [*items, "end"]


def _item(value: Any) -> Item:
    """A field's value: a node, or a constant as text."""
    if isinstance(value, ast.AST):
        return value
    return f"{type(value).__name__} {f'{value:x}' if type(value) is int else repr(value)}"
