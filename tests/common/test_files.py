"""Files that people wrote: read as they stand, within bounds, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench.common import files
from synthbench.common.errors import BadInput


def test_text_is_read_as_it_stands_and_what_is_none_or_too_long_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("é\r\n".encode())
    assert files.text(tmp_path / "a", "a", 4) == "é\r\n"
    for content, named in ((b"12345", "4 bytes"), (b"\xff", "UTF-8.* byte 0")):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(BadInput, match=named):
            files.text(tmp_path / "a", "a", 4)
    for path in ("", "nowhere", "/dev/zero", "x" * 300, "a\0b"):
        with pytest.raises(BadInput, match=r"^it "):
            files.text(Path(path), "it", 4)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BadInput, match="Permission denied"):
        files.text(tmp_path / "a", "a", 4)


def test_tables_may_be_as_deep_as_16_levels_and_a_line_may_have_100_dots() -> None:
    assert files.parse("a = " + "[" * 14 + "]" * 14)
    for content in ("a = " + "[" * 16 + "]" * 16, "[" + "a." * 16 + "a]", "a = " + "[" * 5000):
        with pytest.raises(ValueError, match="16 tables"):
            files.parse(content)
    assert files.parse("a = [" + "1.5," * 100 + "]")
    with pytest.raises(ValueError, match="100 dots"):
        files.parse("a = [" + "1.5," * 101 + "]")
