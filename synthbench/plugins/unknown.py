"""What to say of a name that means no optimizer: what is near it, or which classes the file has that it names."""

from __future__ import annotations

import ast
from collections.abc import Collection
from pathlib import Path

from synthbench.common import files
from synthbench.common.wording import did_you_mean, named, shown
from synthbench.plugins.loading import SUFFIX


def unknown(name: str, known: Collection[str]) -> str:
    """What is wrong with a name that means no optimizer, as the end of a sentence."""
    if name.endswith(SUFFIX):
        if not files.is_file(Path(name)):
            return f"{shown(name)} is not a file; give a file and a class in it: path/file.py:Name"
        found = defined(Path(name))
        which = " or ".join(f"{named(name)}:{one}" for one in found[:4]) or f"{named(name)}:NAME"
        return f"{shown(name)} is a file; name the class, too: {which}"
    hint = did_you_mean(name, known)
    if name.isidentifier() and "did you mean" not in hint:
        hint += f"; a class of your own is named with its file: path/file.py:{name}"
    return f"unknown optimizer {shown(name)}{hint}"


def defined(path: Path) -> list[str]:
    """The public names that a file defines as classes, or as functions with a decorator; it is read, not run."""
    try:
        parsed = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []
    return [
        one.name
        for one in parsed.body
        if (isinstance(one, ast.ClassDef) or (isinstance(one, ast.FunctionDef) and one.decorator_list))
        and not one.name.startswith("_")
    ]
