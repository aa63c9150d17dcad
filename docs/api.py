"""docs/api.md: what `import synthbench` offers, read from its signatures and docstrings."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import griffe

import synthbench
from synthbench.common.wording import code

ROOT = Path(__file__).resolve().parent.parent
INTRODUCTION = """\
# Python API

Made by `python -m docs.pages` from signatures and docstrings. Examples: [Use it from Python](python.md).
"""
CHAPTERS = {
    "Run and read": ("run", "open_results", "Results", "Comparison"),
    "Check": ("baseline", "check", "verify"),
    "Add an optimizer": ("matrix_optimizer", "fleet_optimizer"),
    "Train models": ("Fleet",),
    "Errors": ("SynthbenchError", "BadInput", "Refuted", "NotMeasured", "Failed"),
}


def api_page() -> str:
    """Every public name by chapter; raises KeyError for one that has no chapter."""
    lines = [INTRODUCTION]
    for chapter, names in CHAPTERS.items():
        lines += [f"## {chapter}", ""]
        for name in names:
            lines += _entry(_documented(name), name, 3)
    return "\n".join(lines).rstrip()


def _documented(name: str) -> griffe.Class | griffe.Function:
    """A public name where it is defined."""
    module = importlib.import_module(getattr(synthbench, name).__module__)
    source = griffe.load(module.__name__, search_paths=[ROOT], docstring_parser="google")
    return source[name]  # type: ignore[no-any-return]


def _entry(documented_object: griffe.Object, title: str, level: int) -> Iterator[str]:
    """A class or function: its signature and what its docstring says; of a class, its public methods too."""
    yield from (f"{'#' * level} {code(title)}", "")
    source = _constructor(documented_object) if isinstance(documented_object, griffe.Class) else documented_object
    if isinstance(source, griffe.Function):
        yield from ("```python", _signature(source, title.rpartition(".")[2]), "```", "")
    for documented in dict.fromkeys((documented_object, source)):
        for section in documented.docstring.parsed if documented.docstring else ():
            yield from _section(section)
    if isinstance(documented_object, griffe.Class):
        for name, member in documented_object.members.items():
            if isinstance(member, griffe.Function | griffe.Attribute) and not name.startswith("_") and member.docstring:
                yield from _entry(member, f"{title}.{name}", level + 1)


def _constructor(found: griffe.Class) -> griffe.Object:
    """The constructor that a person calls: one whose docstring has its parameters; else the class."""
    made = found.members.get("__init__", found)
    documented = made.docstring and any(s.kind is griffe.DocstringSectionKind.parameters for s in made.docstring.parsed)
    return made if documented and isinstance(made, griffe.Function) else found


def _signature(function: griffe.Function, name: str) -> str:
    """`name(parameters) -> what`, a line each for many parameters."""
    parameters, kinds = [], griffe.ParameterKind
    is_keyword = False
    for parameter in function.parameters:
        if parameter.name == "self" or parameter.kind is kinds.positional_only:
            continue
        if parameter.kind is kinds.keyword_only and not is_keyword:
            parameters.append("*")
            is_keyword = True
        stars = {kinds.var_keyword: "**", kinds.var_positional: "*"}.get(parameter.kind, "")
        annotation = f": {parameter.annotation}" if parameter.annotation else ""
        default = f" = {parameter.default}" if parameter.default is not None and not stars else ""
        parameters.append(f"{stars}{parameter.name}{annotation}{default}")
    returns = f" -> {function.returns}" if function.returns and function.name != "__init__" else ""
    short = f"{name}({', '.join(parameters)}){returns}"
    return short if len(short) <= 100 else f"{name}(\n    " + ",\n    ".join(parameters) + f",\n){returns}"


def _section(section: griffe.DocstringSection) -> Iterator[str]:
    """A part of a docstring as markdown."""
    if section.kind is griffe.DocstringSectionKind.text:
        yield from (section.value, "")
        return
    yield from (f"**{str(section.kind.value).capitalize()}**", "")
    for item in section.value:
        name = getattr(item, "name", None) or (
            item.annotation if section.kind is griffe.DocstringSectionKind.raises else None
        )
        described = " ".join(item.description.split())
        yield f"- {code(str(name))}: {described}" if name else f"- {described}"
    yield ""
