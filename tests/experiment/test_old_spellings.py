"""Cards and `--set` paths with the names of an earlier version are read, and one line says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench.experiment.resolve import RunRequest, resolve
from tests import tiny

OLD = {"[variants.": "[arms.", "target_steps = ": "speeds = ", "target_step = ": "speed = "}


def aged(path: Path) -> Path:
    """The card as an earlier version wrote it, with a variant and a scale."""
    text = path.read_text() + "\n[variants.slow]\nof = 'adamw'\nlr = [1e-4]\n"
    text += "\n[scales.quick]\n'reading.speed' = 9\n'reading.speeds' = [9]\n"
    for new, old in OLD.items():
        text = text.replace(new, old)
    path.write_text(text)
    return path


def test_a_card_with_old_names_means_what_it_meant(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "new").mkdir()
    new = resolve(RunRequest(str(tiny.write(tmp_path / "new")), device="cpu"))
    assert capsys.readouterr().err == ""
    old = resolve(RunRequest(str(aged(tiny.write(tmp_path))), device="cpu"))
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    for name in ("arms is now variants", "reading.speed is now reading.target_step", "version 0.2"):
        assert name in err
    assert old.card.reading == new.card.reading
    assert old.card.variants["slow"].lr == [1e-4]


def test_a_path_of_set_and_of_a_scale_with_an_old_name_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card, settings = str(aged(tiny.write(tmp_path))), ("scale=quick", "arms.slow.lr=[2e-4]")
    found = resolve(RunRequest(card, settings=settings, device="cpu")).card
    assert (found.reading.target_step, found.reading.target_steps) == (9, [9])
    assert found.variants["slow"].lr == [2e-4]
    assert capsys.readouterr().err.count("\n") == 2  # of the card and of --set
