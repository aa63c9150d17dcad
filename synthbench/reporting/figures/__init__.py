"""Figures of a report: which there are, drawn from its rows, as SVG files. Importing this imports no matplotlib."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from synthbench.analysis.rows import Row, changes_items
from synthbench.cards import RunnerCard
from synthbench.common import files
from synthbench.common.errors import BadInput, Failed, is_disk_failure
from synthbench.common.wording import literal, named


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


OF_ONE_SIZE = ("equal-fit", "matrix", "front", "memorization", "sensitivity")  # see `marks.of_one_size`


def make(rows: Sequence[Row], card: RunnerCard) -> Made:
    """Draws all figures that rows have data for; raises BadInput where matplotlib is missing."""
    try:
        from synthbench.reporting.figures import axis, equal_fit, front, matrix, memorization, sensitivity, sizes
    except ModuleNotFoundError:
        raise BadInput("--figures needs matplotlib; install it with: pip install 'synthbench[plots]'.") from None
    # in a page's order
    kinds: dict[str, Any] = {
        "equal-fit": equal_fit, "matrix": matrix, "front": front, "memorization": memorization, "sizes": sizes,
        "sensitivity": sensitivity,
    }  # fmt: skip
    kinds |= {f"axis-{one.name}": axis.OverAxis(one) for one in card.axes if not changes_items(one)}
    drawn = {name: draw(name, kind, rows, card) for name, kind in kinds.items()}
    skipped = [f"No {name}.svg: {kind.NO_DATA}." for name, kind in kinds.items() if not drawn[name]]
    return Made([picture for picture in drawn.values() if picture], skipped)


def draw(name: str, kind: Any, rows: Sequence[Row], card: RunnerCard) -> Picture | None:
    """One figure. kind: a module with TITLE, CAPTION and draw(rows, card), which returns None where there is no data."""
    from synthbench.reporting.figures import sheet

    with sheet.styled():
        figure = kind.draw(list(rows), card)
    sizes = {row.size for row in rows}
    caption = kind.CAPTION
    if name in OF_ONE_SIZE and len(sizes) > 1:
        caption += f" At size {1 if 1 in sizes else min(sizes):g}."
    return Picture(name, kind.TITLE, caption, sheet.svg(figure)) if figure else None


def write(pictures: Sequence[Picture], folder: Path) -> list[Path]:
    """Writes pictures into a folder, which is made; each file is replaced whole or not at all."""
    paths = [folder / picture.file for picture in pictures]
    try:
        for path, picture in zip(paths, pictures, strict=True):
            folder.mkdir(parents=True, exist_ok=True)
            files.write_whole(path, picture.svg)
    except OSError as error:
        kind = Failed if is_disk_failure(error) else BadInput
        raise kind(f"--figures {named(folder)} cannot be written: {error.strerror}.") from None
    return paths


def markdown(pictures: Sequence[Picture], folder: Path, page: Path | None) -> list[str]:
    """Pictures as lines of a page, each with its caption. page: the file that they are put into, None for one that will
    stand beside the folder."""
    beside = page.resolve().parent if page else folder.resolve().parent
    where = quote(Path(os.path.relpath(folder.resolve(), beside)).as_posix())
    images = [(f"![{literal(p.title)}]({where}/{p.file})", f"*{literal(p.caption)}*") for p in pictures]
    return [line for image, caption in images for line in (image, "", caption, "")]
