"""A person's code, named on the command line: `pkg.mod:Name` or `path/file.py:Name`. Nothing else is ever imported.

A file is loaded by its path, its folder appended to the end of `sys.path` so that it finds its neighbours, and no bytecode
is written. Settings of torch that an import changes are put back: they would change the numbers of everybody else.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import cache
from hashlib import sha256
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from synthbench.common import files, sources
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, named, short, shown

SUFFIX = ".py"
FROM_FILE = "synthbench_plugin_"  # begins the names of modules that are loaded from a path


class Loaded(NamedTuple):
    """thing: what was named. label: what it is called in tables. source: sha256 of the code that it came from (and the
    version of its distribution, where it is installed). versions: of its distributions, by name. changed: settings that its
    import changed, and that were put back.
    """

    thing: Any
    label: str
    source: str
    versions: dict[str, str]
    changed: tuple[str, ...] = ()


CHANGED: dict[str, tuple[str, ...]] = {}  # by module: what its import changed, which happens once in a process


def is_plugin(name: str) -> bool:
    """Whether a name means a person's code, and no built-in optimizer."""
    return ":" in name


def load(name: str, said: str) -> Loaded:
    """What `pkg.mod:Name` or `path/file.py:Name` means; raises BadInput that begins with `said`."""
    where, _, attribute = name.rpartition(":")
    if not where or not attribute.isidentifier():
        raise BadInput(f"{said} {shown(name)}: give pkg.mod:Name or path/file.py:Name.")
    with put_back() as changed, redirect_stdout(sys.stderr):  # standard output is for results
        try:
            module = _from_file(Path(where), said) if where.endswith(SUFFIX) else _from_package(where, said)
        except BadInput:
            raise
        except BaseException as error:  # a person's module may raise anything, exit among it
            if isinstance(error, KeyboardInterrupt):
                raise
            why = short(f"{type(error).__name__}: {error}", 200)
            raise BadInput(f"{said} {named(name)} cannot be imported: {named(why)}.") from error
    if not hasattr(module, attribute):
        public = [key for key, value in vars(module).items() if not key.startswith("_") and _is_own(value, module)]
        raise BadInput(f"{said} {named(where)} has no {shown(attribute)}{did_you_mean(attribute, public)}.")
    once = CHANGED.setdefault(module.__name__, tuple(changed))
    return Loaded(getattr(module, attribute), label(name), source_of(module), versions_of(module), once)


def _is_own(value: Any, module: ModuleType) -> bool:
    """Whether a module's name may be what somebody meant: no other module, and nothing taken from outside of it.

    A package's names often come from modules within it (``torch.optim.Adamax`` from ``torch.optim.adamax``).
    """
    if isinstance(value, ModuleType):
        return False
    home = str(getattr(value, "__module__", type(value).__module__))  # an instance says where its class is
    return home == type(value).__module__ or f"{home}.".startswith(f"{module.__name__}.")


def is_missing(name: str) -> bool:
    """Whether a name means a file that is not there."""
    where = name.rpartition(":")[0]
    return where.endswith(SUFFIX) and not files.is_file(Path(where))


def label(name: str) -> str:
    """What is called so on a command line in tables: of a file its name, without its folder."""
    where, _, attribute = name.rpartition(":")
    return f"{Path(where).name}:{attribute}" if where.endswith(SUFFIX) else name


def _from_package(name: str, said: str) -> ModuleType:
    """A module on the path."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise BadInput(
                f"{said}: there is no module {shown(error.name)}; install it, or give a file (path/file.py:Name)."
            ) from None
        raise


def _from_file(path: Path, said: str) -> ModuleType:
    """A module from its file, loaded once in a process as long as the file is what it was."""
    if not files.is_file(path):
        raise BadInput(f"{said}: {named(path)} is not a file.")
    place = path.resolve()
    if str(place.parent) not in sys.path:
        sys.path.append(str(place.parent))
    name = f"{FROM_FILE}{sha256(bytes(place) + place.read_bytes()).hexdigest()[:16]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, place)
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


@cache
def _distributions(path: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Distributions by module, for this path of modules: reading them all takes a quarter of a second."""
    return packages_distributions()


def versions_of(module: ModuleType) -> dict[str, str]:
    """The distributions that a module is installed by, each with its version; none for a file given by its path."""
    if module.__name__.startswith(FROM_FILE):
        return {}
    found = _distributions(tuple(sys.path)).get(module.__name__.partition(".")[0], [])
    return {name: version(name) for name in sorted(set(found))}


def source_of(module: ModuleType) -> str:
    """sha256 of what a module computes, with the modules in its folder that it got names from, and of the version of its
    distribution."""
    found, own = versions_of(module), _file(module)
    near = [] if own is None else [own] if found else _near(module, own.parent, set())
    code = sources.digest(near, own.parent) if own else ""
    return sha256("".join([*(f"{name} {number}\n" for name, number in found.items()), code]).encode()).hexdigest()


def _near(module: ModuleType, folder: Path, seen: set[Path]) -> set[Path]:
    """The files below a folder that a module's names come from, its own and theirs in turn."""
    own = _file(module)
    if own is None or own in seen or folder not in own.parents or "site-packages" in own.parts:
        return seen
    seen.add(own)
    for value in list(vars(module).values()):
        other = value if isinstance(value, ModuleType) else sys.modules.get(str(getattr(value, "__module__", "")))
        if other is not None:
            _near(other, folder, seen)
    return seen


def _file(module: ModuleType) -> Path | None:
    """A module's Python file; None for one that has none."""
    file = getattr(module, "__file__", None)
    return Path(file).resolve() if file and file.endswith(SUFFIX) else None


@contextmanager
def put_back() -> Iterator[list[str]]:
    """Puts back what is changed meanwhile of the settings that numbers depend on; yields a list that names them then."""
    before, changed = settings(), list[str]()
    draws = random.getstate()
    try:
        yield changed
    finally:
        after = settings()
        for name in before:
            if _differs(before[name].value, after[name].value):
                before[name].put(before[name].value)
                changed.append(name)
        random.setstate(draws)


class Setting(NamedTuple):
    value: Any
    put: Any


def settings() -> dict[str, Setting]:
    """The settings of torch and numpy that change what is computed, or how its threads do it."""
    import numpy as np
    import torch

    deterministic = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    return {
        "threads": Setting(torch.get_num_threads(), torch.set_num_threads),
        "default dtype": Setting(torch.get_default_dtype(), torch.set_default_dtype),
        "matmul precision": Setting(torch.get_float32_matmul_precision(), torch.set_float32_matmul_precision),
        "deterministic algorithms": Setting(
            deterministic, lambda one: torch.use_deterministic_algorithms(one[0], warn_only=one[1])
        ),
        "gradients": Setting(torch.is_grad_enabled(), torch.set_grad_enabled),
        "default device": Setting(torch.get_default_device(), torch.set_default_device),
        "anomaly detection": Setting(torch.is_anomaly_enabled(), torch.autograd.set_detect_anomaly),
        "cudnn.benchmark": Setting(
            torch.backends.cudnn.benchmark, lambda one: setattr(torch.backends.cudnn, "benchmark", one)
        ),
        "cudnn.deterministic": Setting(
            torch.backends.cudnn.deterministic, lambda one: setattr(torch.backends.cudnn, "deterministic", one)
        ),
        "random numbers of torch": Setting(torch.get_rng_state(), torch.set_rng_state),
        "random numbers of numpy": Setting(np.random.get_state(), np.random.set_state),
    }


def _differs(one: Any, other: Any) -> bool:
    if hasattr(one, "equal"):
        return not one.equal(other)
    if isinstance(one, tuple) and len(one) == 5:  # numpy's generator
        return bool((one[1] != other[1]).any() or one[2:] != other[2:])
    return bool(one != other)
