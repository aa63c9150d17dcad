"""A stream that lacks a character shows a word for it; characters of a user's text that it lacks are escaped."""

from __future__ import annotations

import io
import sys

import pytest

from synthbench.common.terminal import WORDS, encodable, show_what_streams_lack
from synthbench.execution.progress import Tally


def test_words_stand_for_what_an_encoding_lacks_and_for_nothing_else() -> None:
    assert encodable("0.1 ±0.2 ↓ a…b ж", "ascii") == r"0.1 +-0.2 (down) a...b \u0436"
    assert encodable("0.1 ±0.2 ↓", "latin-1") == "0.1 ±0.2 (down)"
    assert encodable("0.1 ±0.2 ↓ ж", "utf-8") == "0.1 ±0.2 ↓ ж"
    assert all(word.isascii() for word in WORDS.values())


def test_notices_beside_progress_are_shown_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="surrogateescape")  # as in the locale C
    monkeypatch.setattr(sys, "stderr", stream)
    show_what_streams_lack()
    Tally([]).note("a → b")
    stream.seek(0)
    assert stream.read() == "synthbench: a -> b\n"
