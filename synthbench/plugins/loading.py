"""Loads code that a person names, `pkg.mod:Name` or `path/file.py:Name`. Nothing else is ever imported.

A file is loaded by its path. Its folder is appended to `sys.path`, where it finds its neighbours, and no bytecode is
written. Settings of torch and numpy that an import changes are put back: they would change the numbers of other optimizers.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Collection, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any

from synthbench.common import files, sources
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, named, shown
from synthbench.plugins.errors import describe
from synthbench.plugins.settings import preserved_settings

SUFFIX = ".py"
FROM_FILE = "synthbench_plugin_"  # begins the names of modules that are loaded from a path
CHANGED = "__synthbench_changed__"  # on a module: settings that its import changed, which happens once in a process


@dataclass(frozen=True)
class Plugin:
    """What is known of an optimizer or a generator that is not built in.

    value: the CustomOptimizer or the Generator. label: its name in tables and in the registry. source: sha256 of its code
    and of its distribution's version. origin: where a worker finds it, a name with an absolute path or the object by value.
    versions: of the distributions that installed it. changed: settings that it changed, and that were put back.
    """

    value: Any
    label: str
    source: str
    origin: str | bytes
    versions: Mapping[str, str] = field(default_factory=dict)
    changed: tuple[str, ...] = ()


def is_plugin(name: str) -> bool:
    """Whether a name stands for code in a file or a module, not for a built-in optimizer or an entry point."""
    return ":" in name


def label(name: str) -> str:
    """The name in tables: `file.py:Name` without the file's folder; a module's name as it is."""
    path, _, attribute = name.rpartition(":")
    return f"{Path(path).name}:{attribute}" if path.endswith(SUFFIX) else name


def unknown(name: str, known: Collection[str]) -> str:
    """Why a name stands for no optimizer, as the end of a sentence. known: names of optimizers."""
    if name.endswith(SUFFIX):
        return f"{shown(name)} names a file alone; name the optimizer in it, too: {named(name)}:Name"
    hint = did_you_mean(name, known)
    if name.isidentifier() and "did you mean" not in hint:
        hint += f"; for a class in a file, give path/file.py:{name}"
    return f"unknown optimizer {shown(name)}{hint}"


def load(name: str, where: str) -> Plugin:
    """What `pkg.mod:Name` or `path/file.py:Name` stands for; raises BadInput that begins with `where`."""
    path, _, attribute = name.rpartition(":")
    if not path or not attribute.isidentifier():
        raise BadInput(f"{where} {shown(name)}: give pkg.mod:Name or path/file.py:Name.")
    with preserved_settings() as changed, redirect_stdout(sys.stderr):  # standard output is for results
        try:
            module = _from_file(Path(path), where) if path.endswith(SUFFIX) else importlib.import_module(path)
        except (BadInput, KeyboardInterrupt):
            raise
        except BaseException as error:  # a person's module may raise anything, SystemExit among it
            raise BadInput(f"{where} {named(name)} cannot be imported: {describe(error)}.") from error
    if not hasattr(module, attribute):
        raise BadInput(f"{where} {named(path)} has no {shown(attribute)}{did_you_mean(attribute, _defined(module))}.")
    once: tuple[str, ...] = vars(module).setdefault(CHANGED, tuple(changed))
    origin = f"{Path(path).resolve()}:{attribute}" if path.endswith(SUFFIX) else name
    return Plugin(getattr(module, attribute), label(name), source_of(module), origin, versions_of(module), once)


def _defined(module: ModuleType) -> list[str]:
    """The public names of a module that it, or a module of its package, defines: no class or module that it imported."""

    def imported(value: object) -> bool:
        within = isinstance(value, type) and f"{value.__module__}.".startswith(f"{module.__name__}.")
        return isinstance(value, ModuleType | type) and not within

    return [name for name, value in vars(module).items() if not (name.startswith("_") or imported(value))]


def _from_file(path: Path, where: str) -> ModuleType:
    """A module from its file, loaded once in a process while the file stays the same."""
    if not files.is_file(path):
        raise BadInput(f"{where}: {named(path)} is not a file.")
    file = path.resolve()
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    name = f"{FROM_FILE}{sha256(bytes(file) + file.read_bytes()).hexdigest()[:16]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        writing, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        finally:
            sys.dont_write_bytecode = writing
    return sys.modules[name]


@cache  # reading the names of all distributions takes a quarter of a second
def versions_of(module: ModuleType) -> Mapping[str, str]:
    """The versions of the distributions that installed a module; none for a file given by its path."""
    if module.__name__.startswith(FROM_FILE):
        return {}
    names = packages_distributions().get(module.__name__.partition(".")[0], [])
    return {name: version(name) for name in sorted(set(names))}


def source_of(module: ModuleType) -> str:
    """sha256 of what a module computes, with the modules in its folder that it uses, and of its distributions' versions."""
    versions, file = versions_of(module), _file(module)
    installed = "".join(f"{name} {number}\n" for name, number in versions.items())
    code = sources.digest([file] if versions else _near(module, file.parent, set()), file.parent) if file else ""
    return sha256((installed + code).encode()).hexdigest()


def _near(module: ModuleType, folder: Path, seen: set[Path]) -> set[Path]:
    """The files below a folder that a module's names come from, with those that their names come from in turn."""
    file = _file(module)
    if file is None or file in seen or folder not in file.parents or "site-packages" in file.parts:
        return seen
    seen.add(file)
    for value in list(vars(module).values()):
        other = value if isinstance(value, ModuleType) else sys.modules.get(str(getattr(value, "__module__", "")))
        if other is not None:
            _near(other, folder, seen)
    return seen


def _file(module: ModuleType) -> Path | None:
    """A module's Python file; None for one that has none."""
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file and file.endswith(SUFFIX) else None
