"""From a report's rows to files: every figure that they have data for, and a line for each that they have not."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote
from uuid import uuid4

from synthbench.analysis.rows import Row
from synthbench.cards import RunnerCard
from synthbench.common.errors import BadInput, Failed, is_disk_failure
from synthbench.common.wording import literal, named

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("front", "memorization", "sizes", "sensitivity", "regime")  # modules of this package, in a page's order


class Picture(NamedTuple):
    """A drawn figure: `title` for who cannot see it, `caption` for the page, the file's content."""

    name: str
    title: str
    caption: str
    svg: bytes

    @property
    def file(self) -> str:
        return f"{self.name}.svg"


class Made(NamedTuple):
    """skipped: a sentence for each figure that the rows have no data for."""

    pictures: Sequence[Picture] = ()
    skipped: Sequence[str] = ()


def make(rows: Sequence[Row], card: RunnerCard) -> Made:
    """Draws all figures that rows have data for; raises BadInput where matplotlib is missing."""
    try:
        from synthbench.reporting.figures import front, memorization, regime, sensitivity, sheet, sizes
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        raise BadInput("--figures needs matplotlib; install it with: pip install 'synthbench[plots]'.") from None
    pictures, skipped = [], []
    kinds: list[Any] = [front, memorization, sizes, sensitivity, regime]
    for name, kind in zip(KINDS, kinds, strict=True):
        draw: Callable[[list[Row], RunnerCard], Figure | None] = kind.draw
        with sheet.styled():
            figure = draw(list(rows), card)
        if figure is None:
            skipped.append(f"No {name}.svg: {kind.NO_DATA}.")
        else:
            pictures.append(Picture(name, kind.TITLE, kind.CAPTION, sheet.svg(figure)))
    return Made(pictures, skipped)


def write(pictures: Sequence[Picture], folder: Path) -> list[Path]:
    """Writes pictures into a folder, which is made; each file is replaced whole or not at all."""
    written = []
    try:
        if pictures:
            folder.mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            place, temporary = folder / picture.file, folder / f".{uuid4().hex}.new"
            try:
                temporary.write_bytes(picture.svg)
                temporary.replace(place)
            finally:
                temporary.unlink(missing_ok=True)
            written.append(place)
    except OSError as error:
        kind = Failed if is_disk_failure(error) else BadInput
        raise kind(f"--figures {named(folder)} cannot be written: {error.strerror}.") from None
    return written


def markdown(pictures: Sequence[Picture], folder: Path, page: Path | None) -> list[str]:
    """Pictures as lines of a page, each with its caption. page: the file that they are put into, None for one that will
    stand beside the folder."""
    beside = page.resolve().parent if page else folder.resolve().parent
    where = Path(os.path.relpath(folder.resolve(), beside)).as_posix()
    lines = []
    for picture in pictures:
        image = f"![{literal(picture.title)}]({quote(where)}/{picture.file})"
        lines += [image, "", f"*{literal(picture.caption)}*", ""]
    return lines
