"""Builds the C++ of this folder with the user's compiler, once for a machine, into the user's cache. Imports no torch.

A library is found again by the hash of all that made it: sources, flags, compiler, torch, the processor's instructions.
It appears under its name complete and loadable, or not at all; processes that build at once wait for the first.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from synthbench.common.errors import SynthbenchError

FOLDER = Path(__file__).resolve().parent
SOURCES = sorted([*FOLDER.glob("*.cpp"), *FOLDER.glob("*.h")])
COMPILERS = ("c++", "g++", "clang++")  # in this order, where CXX names none
# Of -ffast-math only what keeps NaN and infinity what they are: no errno, no traps, and `omp simd` where sums may be
# reordered.
FLAGS = (
    "-std=c++20", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp-simd", "-fPIC", "-shared",
)  # fmt: skip
CPUINFO = Path("/proc/cpuinfo")
SECONDS = 600  # a compiler that takes longer hangs
CHECK = "import sys, torch; torch.ops.load_library(sys.argv[1])"


class NotBuilt(SynthbenchError):
    """Why there is no library, in one clause."""


def cache_folder() -> Path:
    """Where libraries are kept: `synthbench/native` in XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "synthbench" / "native"


def compiler() -> str:
    """The path of the user's C++ compiler, the one that CXX names where it is set; raises NotBuilt where there is none."""
    chosen = os.environ.get("CXX")
    for name in (chosen,) if chosen else COMPILERS:
        if found := shutil.which(name):
            return found
    if chosen:
        raise NotBuilt(f"CXX names {chosen}, which is not there; it must be one program, without options")
    raise NotBuilt("no C++ compiler was found; install g++ or clang++, or set CXX")


@cache
def compiler_version(path: str) -> str:
    """The first line that a compiler says of its version."""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotBuilt(f"{path} --version fails ({type(error).__name__})") from None
    return done.stdout.partition("\n")[0].strip()


def torch_folder() -> Path:
    spec = find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        raise NotBuilt("torch is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def instructions() -> str:
    """What distinguishes processors for which a compiler chooses other instructions."""
    with suppress(OSError):
        lines = CPUINFO.read_text(errors="replace").splitlines()
        return next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return platform.processor()


def key() -> str:
    """The name of the library that this machine needs; raises NotBuilt where it could not be built."""
    made_of = [compiler_version(compiler()), *FLAGS, version("torch"), platform.machine(), instructions()]
    return sha256("\0".join([*made_of, *(path.read_text() for path in SOURCES)]).encode()).hexdigest()[:32]


def library(tell: Callable[[str], None] = lambda sentence: None) -> Path:
    """The built library; built now where the cache has none, of which `tell` gets a sentence. Raises NotBuilt."""
    name, folder = key(), cache_folder()
    target = folder / f"{name}.so"
    if target.is_file():
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel, however this process ends
            if not target.is_file():
                tell("The native step is built, once for this machine; it takes about ten seconds.")
                _build(target)
    except OSError as error:
        raise NotBuilt(f"{folder} cannot be written ({error.strerror})") from None
    return target


def _build(target: Path) -> None:
    torch = torch_folder()
    include = [f"-isystem{torch / 'include' / part}" for part in ("", "torch/csrc/api/include")]
    link = [f"-L{torch / 'lib'}", "-lc10", "-ltorch_cpu"]
    for left in target.parent.glob(f"{target.stem}-*"):  # of a build that was killed: nobody else has the lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{target.stem}-", dir=target.parent) as folder:
        built = Path(folder, target.name)
        _run(
            [compiler(), *FLAGS, *include, str(FOLDER / "operators.cpp"), "-o", str(built), *link], "the compiler fails"
        )
        _run([sys.executable, "-c", CHECK, str(built)], "what the compiler built cannot be loaded")
        built.replace(target)


def _run(command: list[str], failure: str) -> None:
    """Raises NotBuilt with the failure and the last line that the command says of an error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise NotBuilt(f"{failure} ({type(error).__name__})") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if "error" in line.lower()] or ["no message"]
        raise NotBuilt(f"{failure}: {lines[0][:200]}")
