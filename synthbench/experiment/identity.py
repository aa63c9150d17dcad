"""What a run's numbers depend on beside its own settings: sources, versions, device. Importing it imports no torch."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from synthbench import __version__
from synthbench.common import sources
from synthbench.common.errors import BadInput
from synthbench.common.wording import check_choice
from synthbench.experiment import processor
from synthbench.trainer.native import path as paths

PACKAGE = Path(__file__).resolve().parent.parent
DEVICES = ("auto", "cpu", "cuda")
EXECUTION = ("fleet_job", "fleet_setup", "observe", "relearning")  # its files that numbers depend on
TRAINING = ("generators", "trainer", *(f"execution/{name}.py" for name in EXECUTION))
ASIDE = {"generators/contract.py"}  # checks data, draws none
NATIVE = PACKAGE / "trainer" / "native"  # of runs on the native path alone


@cache
def source(*places: str) -> str:
    """sha256 of what these Python files of the package, and those in these folders of it, compute (`sources.digest`)."""
    paths = [PACKAGE / name for name in places]
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*.py"))]
    files = [path for path in files if path.relative_to(PACKAGE).as_posix() not in ASIDE and path.parent != NATIVE]
    return sources.digest(files, PACKAGE)


def training_source(path: str = paths.TORCH) -> str:
    """sha256 of the code that draws data, trains by a path and evaluates: part of a run's identity, beside the run's
    settings."""
    code = source(*TRAINING)
    return code if path == paths.TORCH else sha256(f"{code} {paths.source()}".encode()).hexdigest()


def package_fingerprint() -> str:
    """sha256 of all the code that can change a number: that of shipped reference rows must be the same."""
    return source(*TRAINING, "scores")


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def torch_minor() -> str:
    """torch's MAJOR.MINOR."""
    return ".".join(installed("torch").split(".")[:2])


def versions() -> dict[str, str]:
    """The versions that a run was made with."""
    return {
        "synthbench": __version__, "torch": installed("torch"), "numpy": installed("numpy"),
        "python": platform.python_version(),
    }  # fmt: skip


@cache
def cuda_devices() -> int:
    """Number of CUDA devices that torch could use, asked of the driver so that torch need not be imported."""
    if installed("torch").endswith("+cpu"):
        return 0
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def device_kind(asked: str) -> str:
    """`cpu` or `cuda` for the value of `--device`; raises BadInput where CUDA is asked for and absent."""
    check_choice("--device", asked, DEVICES)
    if asked == "cuda" and not cuda_devices():
        raise BadInput("--device cuda: no CUDA device can be used here; allowed are auto and cpu.")
    return "cuda" if asked != "cpu" and cuda_devices() else "cpu"


def device_name(kind: str) -> str:
    """The processor or GPU in one line, with what decides how it rounds: the path that is taken now, too. Imports torch."""
    return _processor(kind) + paths.mark()


@cache
def _processor(kind: str) -> str:
    return processor.gpu() if kind == "cuda" else processor.cpu()
