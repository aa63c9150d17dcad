"""Rooms of the package: imports go downwards only, and a run calls downwards from the command line to its first step."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from docs.architecture import MOST_STOPS, PACKAGE, PATH, ROOMS, imports
from synthbench.trainer import loop
from tests.calling import TINY, Caller


def test_a_room_imports_only_rooms_below_it() -> None:
    for room, others in imports().items():
        assert others <= {*ROOMS[ROOMS.index(room) + 1 :]}, room


def test_every_folder_is_a_room_and_there_are_few() -> None:
    folders = {path.parent.name for path in PACKAGE.glob("*/*.py")}
    assert folders == {*ROOMS}
    assert len(ROOMS) <= 14
    assert {path.name for path in PACKAGE.iterdir() if path.suffix} == {"__init__.py", "__main__.py", "py.typed"}


def test_a_run_calls_only_lower_rooms_down_to_its_first_step(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call_paths = []

    def step(*arguments: Any) -> Any:
        files = [Path(frame.filename) for frame in inspect.stack()[1:]]
        call_paths.append(
            [file.relative_to(PACKAGE).as_posix() for file in reversed(files) if file.is_relative_to(PACKAGE)]
        )
        return training_step(*arguments)

    training_step = loop.training_step
    monkeypatch.setattr(loop, "training_step", step)
    settings = " ".join(f"--set {path}={value}" for path, value in TINY.items())
    code, _, err = call(f"run --optimizer adamw --lr 1e-3 {settings} --path torch --quiet --out {tmp_path / 'results'}")
    assert code == 0, err
    path = [file for file, _, _ in PATH]
    files_called = dict.fromkeys([*call_paths[0], "trainer/step.py"])
    assert [*files_called] == [
        "interface/outcome.py",
        "interface/app.py",
        *(file for file in path if file in files_called),
    ]
    assert len(path) <= MOST_STOPS
    levels = [ROOMS.index(file.partition("/")[0]) for file in files_called]
    assert levels == sorted(levels)
