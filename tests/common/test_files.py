"""Files are read unchanged or refused by name. They are written completely or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from synthbench.common import files
from synthbench.common.errors import BadInput


def test_text_is_returned_unchanged_and_invalid_or_too_long_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("é\r\n".encode())
    assert files.text(tmp_path / "a", "a", 4) == "é\r\n"
    for content, expected in ((b"12345", "4 bytes"), (b"\xff", "UTF-8.* byte 0")):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(BadInput, match=expected):
            files.text(tmp_path / "a", "a", 4)
    for path in ("", "nowhere", "/dev/zero", "x" * 300, "a\0b"):
        with pytest.raises(BadInput, match=r"^it "):
            files.text(Path(path), "it", 4)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("a = 'é'", encoding="utf-8-sig")
    assert files.text(path, "a", 20) == "a = 'é'"
    assert files.toml(path) == {"a": "é"}
    assert files.marked_text(path, "a", 20) == "\ufeffa = 'é'"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BadInput, match="Permission denied"):
        files.text(tmp_path / "a", "a", 4)


def test_tables_nest_16_levels_at_most_and_a_line_has_100_dots_at_most() -> None:
    assert files.parse("a = " + "[" * 14 + "]" * 14)
    for content in ("a = " + "[" * 16 + "]" * 16, "[" + "a." * 16 + "a]", "a = " + "[" * 5000):
        with pytest.raises(ValueError, match="16 tables"):
            files.parse(content)
    assert files.parse("a = [" + "1.5," * 100 + "]")
    with pytest.raises(ValueError, match="100 dots"):
        files.parse("a = [" + "1.5," * 101 + "]")


def refuse_links(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.mark.parametrize("has_links", [True, False])
def test_an_exclusive_write_keeps_an_existing_file_and_leaves_no_other(
    has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_links:  # as on some network file systems
        monkeypatch.setattr(os, "link", refuse_links)
    files.write_whole(tmp_path / "a", b"first", exclusive=True)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("a", "dangling"):
        with pytest.raises(FileExistsError) as caught:
            files.write_whole(tmp_path / name, b"second", exclusive=True)
        assert caught.value.filename == str(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == b"first"
    assert {path.name for path in tmp_path.iterdir()} == {"a", "dangling"}


def test_a_write_keeps_permissions_and_links_and_a_failed_write_keeps_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    files.write_whole(link, b"new")
    assert link.is_symlink()
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o640)

    def unable(handle: int) -> None:  # some file systems cannot sync a folder
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unable)
    files.write_whole(target, b"new")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for path, exclusive in ((target, False), (tmp_path / "other", True)):
        with pytest.raises(OSError, match="No space"):
            files.write_whole(path, b"newer", exclusive=exclusive)
    assert target.read_bytes() == b"new"
    assert {path.name for path in tmp_path.iterdir()} == {"target", "link"}
