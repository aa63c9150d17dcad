"""The native library is built once, complete or not at all, whatever happens to compilers and processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from synthbench.trainer.native import build
from tests.trainer import native

ROOT = Path(__file__).resolve().parents[2]
BUILD = "from synthbench.trainer.native import build; print(build.library())"


class FakeCompiler:
    """A compiler that runs a few lines of shell, with $OUT the file to be written."""

    def __init__(self, folder: Path, version: str = "fake 1.0") -> None:
        self.path, self.log = folder / "fake-c++", folder / "log"
        self._version = version

    def does(self, lines: str) -> None:
        self.path.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo "{self._version}" && exit 0\necho call >> {self.log}\n'
            f'while [ "$1" != -o ]; do shift; done\nOUT=$2\n{lines}\n'
        )
        self.path.chmod(0o755)

    @property
    def calls(self) -> int:
        return self.log.read_text().count("call") if self.log.exists() else 0


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCompiler:
    """The only compiler, with an empty cache."""
    fake = FakeCompiler(tmp_path)
    monkeypatch.setenv("CXX", str(fake.path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    build.compiler_version.cache_clear()
    return fake


def real() -> Path:
    """A library that can be loaded."""
    native.load()
    return build.library()


def start_build() -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", BUILD], env=environment, text=True, stdout=subprocess.PIPE)


def in_cache() -> list[str]:
    return sorted(path.suffix for path in build.cache_folder().iterdir())


def test_a_library_is_built_once_and_told_of_once(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    library = real()
    compiler: FakeCompiler = request.getfixturevalue("compiler")
    compiler.does(f"cp {library} $OUT")
    told: list[str] = []
    first = build.library(told.append)
    assert (build.library(told.append), compiler.calls, len(told)) == (first, 1, 1)
    assert first.read_bytes() == library.read_bytes()
    assert in_cache() == [".lock", ".so"]


def test_processes_that_build_at_once_build_one(request: pytest.FixtureRequest) -> None:
    library = real()
    compiler: FakeCompiler = request.getfixturevalue("compiler")
    compiler.does(f"sleep 1; cp {library} $OUT")
    builds = [start_build() for _ in range(2)]
    outputs = {process.communicate()[0] for process in builds}
    assert outputs == {f"{build.library()}\n"}
    assert compiler.calls == 1


def test_a_killed_build_leaves_nothing_that_the_next_one_would_use(request: pytest.FixtureRequest) -> None:
    library = real()
    compiler: FakeCompiler = request.getfixturevalue("compiler")
    compiler.does("echo half > $OUT; sleep 60")
    process = start_build()
    while not compiler.calls:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    compiler.does(f"cp {library} $OUT")
    assert build.library().read_bytes() == library.read_bytes()
    assert in_cache() == [".lock", ".so"]


@pytest.mark.slow
def test_a_build_takes_less_than_fifteen_seconds_of_a_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    native.load()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = os.times()
    assert build.library().is_relative_to(tmp_path)
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 15


def test_a_broken_compiler_is_quoted(compiler: FakeCompiler) -> None:
    compiler.does('echo "a.cpp:1: fatal error: no such header" >&2; exit 1')
    with pytest.raises(build.NotBuilt, match=r"the compiler fails: a\.cpp:1: fatal error: no such header"):
        build.library()
    assert in_cache() == [".lock"]


def test_what_cannot_be_loaded_is_not_kept(compiler: FakeCompiler) -> None:
    compiler.does("echo garbage > $OUT")
    with pytest.raises(build.NotBuilt, match="cannot be loaded"):
        build.library()
    assert in_cache() == [".lock"]


def test_without_a_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(build.NotBuilt, match=r"install g\+\+ or clang\+\+, or set CXX"):
        build.library()


def test_a_cache_that_cannot_be_written_is_named(
    compiler: FakeCompiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler.does("exit 0")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(build.NotBuilt, match=r"file/synthbench/native cannot be written \(Not a directory\)"):
        build.library()


def test_another_compiler_version_has_a_library_of_its_own(tmp_path: Path, compiler: FakeCompiler) -> None:
    compiler.does("exit 0")
    first = build.key()
    FakeCompiler(tmp_path, "fake 2.0").does("exit 0")
    build.compiler_version.cache_clear()
    assert build.key() != first


def test_planning_a_build_imports_no_torch() -> None:
    code = f"{BUILD.partition(';')[0]}; import sys; build.torch_folder(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
