"""What a run's numbers depend on beside its own settings: sources, versions, device. Importing it imports no torch."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePath

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
NATIVE = "trainer/native"  # of runs on the native path alone
COMMON = {  # of folders whose files register something, the files that every run depends on
    "generators": {"__init__", "examples", "facts", "floors", "inflection", "modular", "noisy", "registry", "task", "wugs"},
    "scores": {"__init__", "capacity", "distance", "forgetting", "learning", "observations", "reading", "registry",
               "relearning", "run_scores"},
    "trainer/optimizers": {"__init__", "adamw", "adamw_split", "muon", "registry", "sgd"},
}  # fmt: skip


def is_apart(place: PurePath) -> bool:
    """Whether only the runs that use what a file registers depend on it: so all that was added after the first ids. place:
    from the package."""
    return place.parent.as_posix() in COMMON and place.stem not in COMMON[place.parent.as_posix()]


def apart(folder: str) -> list[str]:
    """The places of such files of a folder, such as `scores/NAME.py`."""
    places = (path.relative_to(PACKAGE) for path in (PACKAGE / folder).glob("*.py"))
    return sorted(place.as_posix() for place in places if is_apart(place))


@cache
def source(*places: str) -> str:
    """sha256 of what these Python files of the package compute, and those in these folders of it but for files that are
    apart (`sources.digest`)."""
    paths = [PACKAGE / name for name in places]
    files = [path for path in paths if path.is_file()]
    files += [
        file for path in paths if path.is_dir() for file in path.rglob("*.py")
        if not is_apart(file.relative_to(PACKAGE)) and file.parent != PACKAGE / NATIVE
    ]  # fmt: skip
    skipped = [place.removesuffix(".py").replace("/", ".") for folder in COMMON for place in apart(folder)]
    return sources.digest(files, PACKAGE, skipped)


def training_source(*used: str, path: str = paths.TORCH) -> str:
    """sha256 of the code that draws data, trains by a path and evaluates: part of a run's identity, beside the run's
    settings. used: the files apart that a run uses (`used.py`)."""
    return _on(path, _with(source(*TRAINING), used))


def package_fingerprint(*used: str, path: str = paths.TORCH) -> str:
    """sha256 of all the code that can change a number on a path: that of shipped reference rows must be the same."""
    return _on(path, _with(source(*TRAINING, "scores"), used))


def scores_source() -> str:
    """sha256 of all the code of scores: where it differs from that of a stored run, the run is scored again."""
    return source("scores", *apart("scores"))


def _on(path: str, code: str) -> str:
    if path == paths.TORCH:
        return code
    return sha256(f"{code} {paths.source() if path == paths.NATIVE else path}".encode()).hexdigest()


def _with(common: str, used: tuple[str, ...]) -> str:
    return sha256(f"{common} {source(*sorted(set(used)))}".encode()).hexdigest() if used else common


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


def device_name(kind: str, path: str = paths.TORCH) -> str:
    """The processor or GPU in one line, with what decides how it rounds: the path, too. Imports torch."""
    return _processor(kind) + paths.mark(path)


@cache
def _processor(kind: str) -> str:
    return processor.gpu() if kind == "cuda" else processor.cpu()
