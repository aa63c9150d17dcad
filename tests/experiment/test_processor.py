"""A device's name tells apart what rounds differently: model, instruction set, libraries, system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from synthbench.experiment import identity, processor
from tests.each import each

VIRTUAL_MACHINE = """processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 25
model		: 17
model name	: AMD EPYC
flags		: fpu avx2: yes

processor	: 1
cpu family	: 6
model name	: another
"""
ARM = """processor	: 0
BogoMIPS	: 243.75
CPU implementer	: 0x41
CPU architecture: 8
CPU part	: 0xd40
"""
MKL = "  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605\n  - BLAS_INFO=mkl, USE_CUDA=0"


@each(
    ("cpuinfo", "expected"),
    [
        (VIRTUAL_MACHINE, ("AMD EPYC", "family 25 model 17")),
        (ARM, ("", "implementer 0x41 part 0xd40")),
        ("", ("", "")),
        ("no colon\n:\nmodel name\n", ("", "")),
    ],
)
def test_the_first_processor_has_a_name_and_numbers(cpuinfo: str, expected: tuple[str, str]) -> None:
    assert processor.model(cpuinfo) == expected


@each(
    ("config", "expected"),
    [
        (MKL, "MKL 2024.2"),
        ("BLAS_INFO=mkl, USE_MKL=ON", "MKL"),
        ("BLAS_INFO=open, LAPACK_INFO=open", "OpenBLAS"),
        ("BLAS_INFO=accelerate", "Accelerate"),
        ("BLAS_INFO=flexi", "flexi"),
        ("", "unknown BLAS"),
    ],
)
def test_the_library_of_matrix_products(config: str, expected: str) -> None:
    assert processor.blas(config) == expected


def test_a_processor_is_named_with_its_model_instruction_set_library_and_system(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.__config__, "show", lambda: MKL)
    monkeypatch.setattr(processor.platform, "system", lambda: "Linux")
    (tmp_path / "cpuinfo").write_text(VIRTUAL_MACHINE)
    assert processor.cpu() == "AMD EPYC (family 25 model 17, AVX512), MKL 2024.2, Linux"
    (tmp_path / "cpuinfo").unlink()
    monkeypatch.setattr(processor, "sysctl", lambda name: "Apple M1")
    assert processor.cpu() == "Apple M1 (AVX512), MKL 2024.2, Linux"


def test_a_gpu_is_named_with_its_capability_and_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    values: dict[str, Any] = {"get_device_name": "NVIDIA H100", "get_device_capability": (9, 0)}
    for name, value in values.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert processor.gpu() == "NVIDIA H100 (compute capability 9.0), CUDA 12.8"


def test_here_the_name_is_one_line_and_made_once() -> None:
    name = identity.device_name("cpu")
    assert name.isprintable()
    assert torch.backends.cpu.get_cpu_capability() in name
    assert identity.device_name("cpu") is name
