"""Files: those that users wrote are read with bounds, so that reading ends soon and without a traceback; ours are written
complete or not at all."""

from __future__ import annotations

import os
import shutil
import tomllib
from contextlib import suppress
from errno import EEXIST, EINVAL
from pathlib import Path
from typing import Any
from uuid import uuid4

from synthbench.common.errors import BadInput, Failed, is_disk_failure
from synthbench.common.wording import named

MOST_BYTES = 2**16  # of a card
MOST_DOTS = 100  # in a line: the time to read a dotted key is the square of its length
MOST_LEVELS = 16  # of tables and lists in each other
TEMPORARY = ".new"  # how the name of a temporary file ends
MARK = "\ufeff"  # a byte order mark, which some editors of Windows put before UTF-8 text

# False, where methods of Path raise: for a name that is too long, a folder that may not be read.
is_file, is_folder = os.path.isfile, os.path.isdir


def text(path: Path, origin: str, most: int) -> str:
    """A file's text, line ends included, without a byte order mark; raises BadInput that begins with `origin`."""
    return marked_text(path, origin, most).removeprefix(MARK)


def marked_text(path: Path, origin: str, most: int) -> str:
    """A file's text as it stands, for a file that is written again; raises BadInput that begins with `origin`."""
    if not is_file(path):
        raise BadInput(f"{origin} is not a file.")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
        if len(content) > most:
            raise BadInput(f"{origin} has more than {most} bytes, the most that is read.")
        return content.decode("utf-8")
    except OSError as error:
        raise BadInput(f"{origin} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{origin} is not UTF-8 text: {error.reason} at byte {error.start}.") from None


def write(path: Path, content: str, origin: str) -> None:
    """Puts text into a file, complete or not at all (`write_whole`). Raises BadInput that begins with `origin`, Failed
    where the disk fails."""
    try:
        write_whole(path, content.encode())
    except OSError as error:
        kind = Failed if is_disk_failure(error) else BadInput
        raise kind(f"{origin} cannot be written: {error.strerror}.") from None


def write_whole(path: Path, content: bytes, *, exclusive: bool = False) -> None:
    """Puts content into a file, complete or not at all: a temporary file beside it, fsync, rename, fsync of the folder.

    An existing file keeps its permissions. Of a link the file that it leads to is replaced. Raises OSError; if exclusive,
    FileExistsError for a path that exists, whoever made it.
    """
    target = path if exclusive else path.resolve()
    temporary = target.with_name(f".{uuid4().hex}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if exclusive:
            put_new(temporary, target)
        else:
            if target.exists():
                shutil.copymode(target, temporary)
            temporary.replace(target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as error:
        if error.errno != EINVAL:  # a file system that cannot sync folders
            raise
    finally:
        os.close(folder)


def put_new(temporary: Path, target: Path) -> None:
    """Gives a file a name that nothing has yet; raises FileExistsError where something has it. The old name may stay."""
    try:
        os.link(temporary, target)
    except OSError as error:
        if os.path.lexists(target):
            raise FileExistsError(EEXIST, os.strerror(EEXIST), str(target)) from None
        if is_disk_failure(error):
            raise
        temporary.rename(target)  # a file system without hard links


def toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary; raises BadInput that names the file."""
    origin = named(path)
    content = text(path, origin, MOST_BYTES)
    try:
        return parse(content)
    except ValueError as error:
        raise BadInput(f"{origin} is not valid TOML: {named(error)}.") from None


def parse(content: str) -> dict[str, Any]:
    """TOML as a dictionary; raises ValueError where it is invalid, or so deep that it would take long."""
    if any(line.count(".") > MOST_DOTS for line in content.split("\n")):
        raise ValueError(f"a line has more than {MOST_DOTS} dots")
    try:
        tables = tomllib.loads(content)
        if _levels(tables) > MOST_LEVELS:
            raise RecursionError
    except RecursionError:
        raise ValueError(f"more than {MOST_LEVELS} tables or lists in each other") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:
        raise ValueError("a number has thousands of digits") from None
    return tables


def _levels(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_levels, inside), default=0)
