"""A processor's or GPU's name with what decides how it rounds: its model, its instruction set, the libraries of torch.

On two devices of one name a run is expected to give the same bits; rows are paired by seed only there.
"""

from __future__ import annotations

import ctypes
import platform
import re
from contextlib import suppress
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# Keys of cpuinfo, and how a name shows them. Virtual machines often hide the model's name (`AMD EPYC`), not its numbers.
NUMBERS = {"cpu family": "family", "model": "model", "CPU implementer": "implementer", "CPU part": "part"}
LIBRARIES = {"mkl": "MKL", "open": "OpenBLAS", "accelerate": "Accelerate"}  # by BLAS_INFO of torch's build


def cpu() -> str:
    """`AMD EPYC (family 25 model 17, AVX512), MKL 2024.2, Linux`."""
    import torch

    cpuinfo = ""
    with suppress(OSError):  # it exists on Linux alone, and may be unreadable there
        cpuinfo = CPUINFO.read_text(errors="replace")
    name, numbers = model(cpuinfo)
    name = name or sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine()
    details = ", ".join(filter(None, [numbers, torch.backends.cpu.get_cpu_capability()]))
    return f"{name} ({details}), {blas(torch.__config__.show())}, {platform.system()}"


def gpu() -> str:
    """`NVIDIA H100 80GB HBM3 (compute capability 9.0), CUDA 12.8`."""
    import torch

    capability = ".".join(map(str, torch.cuda.get_device_capability()))
    return f"{torch.cuda.get_device_name()} (compute capability {capability}), CUDA {torch.version.cuda}"


def model(cpuinfo: str) -> tuple[str, str]:
    """The name and the numbers of the first processor in the text of Linux's cpuinfo; empty where it has none."""
    lines = (line.partition(":") for line in cpuinfo.strip().split("\n\n")[0].splitlines())
    values = {key.strip(): value.strip() for key, _, value in lines}
    return values.get("model name", ""), " ".join(f"{NUMBERS[key]} {values[key]}" for key in NUMBERS if values.get(key))


def sysctl(name: str) -> str:
    """A text that the kernel of macOS knows; empty elsewhere."""
    text, size = ctypes.create_string_buffer(256), ctypes.c_size_t(256)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).sysctlbyname(name.encode(), text, ctypes.byref(size), None, ctypes.c_size_t(0))
    return text.value.decode(errors="replace").strip()


def blas(config: str) -> str:
    """The library of matrix products in the text of torch's build, with its version where that has one: `MKL 2024.2`."""
    found = re.search(r"BLAS_INFO=(\w+)", config)
    name = LIBRARIES.get(found[1], found[1]) if found else "unknown BLAS"
    version = re.search(r"Math Kernel Library Version ([\w.]+)", config)
    return f"{name} {version[1]}" if name == "MKL" and version else name
