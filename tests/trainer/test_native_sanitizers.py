"""The native path's tests, with its C++ under the sanitizers of addresses and of undefined behaviour."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/trainer/test_native_gradients.py", "tests/trainer/test_native_step.py")


@pytest.mark.slow
def test_the_native_tests_pass_under_sanitizers(tmp_path: Path) -> None:
    gcc = shutil.which("g++")
    if gcc is None:
        pytest.skip("g++ is not installed")
    runtimes = [
        subprocess.run([gcc, f"-print-file-name={name}"], capture_output=True, text=True, check=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so", "libstdc++.so")  # that throws, before another one does
    ]
    if not all(map(os.path.isabs, runtimes)):
        pytest.skip("g++ has no sanitizers")
    compiler = tmp_path / "sanitizing-c++"
    flags = "-g -fsanitize=address,undefined -fno-sanitize-recover=all"
    compiler.write_text(f'#!/bin/sh\nunset LD_PRELOAD\nexec {gcc} "$@" {flags}\n')
    compiler.chmod(0o755)
    environment = {
        **os.environ, "CXX": str(compiler), "XDG_CACHE_HOME": str(tmp_path), "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-s", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (library,) = (tmp_path / "synthbench" / "native").glob("*.so")
    assert b"__asan_report" in library.read_bytes()
