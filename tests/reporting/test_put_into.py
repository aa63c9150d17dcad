"""`report --into FILE`: a table between markers, the rest of the file untouched."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthbench.common.errors import BadInput
from synthbench.reporting.report import put_into
from tests.each import each

BEGIN, END = "<!-- BEGIN synthbench quick -->", "<!-- END synthbench quick -->"


def test_only_what_stands_between_the_markers_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_into(page, "quick", "new")
    put_into(page, "quick", "newer")
    assert page.read_text() == f"before\n{BEGIN}\nnewer\n{END}\nafter\n"
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


@each("text", ["", BEGIN, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}", BEGIN.replace("quick", "other")])
def test_a_page_without_its_markers_is_refused_and_left_as_it_is(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(BadInput, match=r"page\.md"):
        put_into(page, "quick", "new")
    assert page.read_text() == text


def test_a_missing_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere"):
        put_into(tmp_path / "nowhere.md", "quick", "new")
    assert not list(tmp_path.iterdir())
