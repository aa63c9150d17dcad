"""Standard streams that may vanish (a closed pipe, a hung-up terminal, a full disk behind them) or lack characters."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

CLOSED_PIPE = 141  # what a shell reports of a program that a closed pipe ends: 128 + SIGPIPE
IN_ASCII = "synthbench.ascii"  # the name under which streams know `_in_ascii`
WORDS = {"±": "+-", "×": "x", "↑": "(up)", "↓": "(down)", "→": "->", "…": "...", "–": "-", "—": "-", "─": "-"}


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    """What stands for characters that an encoding lacks: words for our own, escapes for those of a user's text."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(WORDS.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


codecs.register_error(IN_ASCII, _in_ascii)


def encodable(text: str, encoding: str) -> str:
    """Text as a stream of this encoding will show it; for what is laid out, because words are longer than characters."""
    return text.encode(encoding, IN_ASCII).decode(encoding)


def show_what_streams_lack() -> None:
    """Standard streams show words or escapes for characters that they lack, whatever the locale says of such errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=IN_ASCII)


class Quiet:
    """A stream whose writes cannot fail: what nobody can read any more is not worth dying for."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def open_closed_streams() -> None:
    """Opens standard streams that were closed by the caller on nothing: else the next file opened, perhaps the database,
    would take their place, and what is written to standard error would be written into it."""
    while (handle := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(handle, True)
    os.close(handle)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def abandon_stdout() -> None:
    """Sends what is still to be flushed nowhere, so that the interpreter does not complain at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def console() -> Console:
    """A console as wide as the terminal, 100 columns where there is none."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=100)
