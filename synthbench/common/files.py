"""Files that people wrote, read with bounds: whatever a path leads to, reading ends soon and never with a traceback."""

from __future__ import annotations

import os
import shutil
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from synthbench.common.errors import BadInput, Failed, is_disk_failure
from synthbench.common.wording import named

MOST_BYTES = 2**16  # of a card
MOST_DOTS = 100  # in a line: the time to read a dotted key is the square of its length
MOST_LEVELS = 16  # of tables and lists in each other


def is_file(path: Path) -> bool:
    """Whether a path is that of a regular file; false for one that is no path at all."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, a folder that is not ours to look into
        return False


def is_folder(path: Path) -> bool:
    """Whether a path is that of a folder; false for one that is no path at all."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def text(path: Path, said: str, most: int) -> str:
    """A file's text as it stands, line ends included; raises BadInput that names it as `said`."""
    if not is_file(path):
        raise BadInput(f"{said} is not a file.")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise BadInput(f"{said} has more than {most} bytes, the most that is read.")
        return content.decode("utf-8")
    except OSError as error:
        raise BadInput(f"{said} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{said} is not UTF-8 text: {error.reason} at byte {error.start}.") from None


def write(path: Path, content: str, said: str) -> None:
    """Puts a file in place, whole or not at all; what a link leads to is replaced, not the link. Raises BadInput that
    begins with `said`, Failed where the disk fails."""
    place = path.resolve()
    temporary = place.with_name(f".{uuid4().hex}.new")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if place.exists():
            shutil.copymode(place, temporary)
        temporary.replace(place)
    except OSError as error:
        kind = Failed if is_disk_failure(error) else BadInput
        raise kind(f"{said} cannot be written: {error.strerror}.") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary; raises BadInput that names the file."""
    said = named(path)
    try:
        return parse(text(path, said, MOST_BYTES))
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(f"{said} is not valid TOML: {named(error)}.") from None


def parse(content: str) -> dict[str, Any]:
    """TOML as a dictionary; raises ValueError where it is invalid, or so deep that it would take long."""
    if any(line.count(".") > MOST_DOTS for line in content.split("\n")):
        raise ValueError(f"a line has more than {MOST_DOTS} dots")
    try:
        found = tomllib.loads(content)
        if _levels(found) > MOST_LEVELS:
            raise RecursionError
    except RecursionError:
        raise ValueError(f"more than {MOST_LEVELS} tables or lists in each other") from None
    except ValueError as error:
        if isinstance(error, tomllib.TOMLDecodeError):
            raise
        raise ValueError("a number has thousands of digits") from None
    return found


def _levels(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_levels, inside), default=0)
