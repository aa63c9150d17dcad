"""Plug-ins that travel: what a machine without their files needs to load them."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from modulefinder import ModuleFinder
from pathlib import Path
from typing import NamedTuple

from synthbench.common.errors import BadInput
from synthbench.common.files import write_whole
from synthbench.common.wording import named
from synthbench.plugins import generators
from synthbench.plugins.loading import SUFFIX
from synthbench.plugins.registry import Named, Origin


class Parcel(NamedTuple):
    """Origins of plug-ins with the code that they name by path. folders: by folder the content of files, by their path in
    it. Modules of installed packages are not packed: they must be installed where the parcel arrives."""

    origins: Sequence[Origin]
    folders: Mapping[str, Mapping[str, bytes]]

    @property
    def sha256(self) -> str:
        """Of everything in it: parcels with the same hash may share a process."""
        files = [(folder, *file) for folder, within in self.folders.items() for file in within.items()]
        return sha256(repr((self.origins, sorted(files))).encode()).hexdigest()


def pack(origins: Sequence[Origin]) -> Parcel:
    """A parcel of these origins."""
    folders: dict[str, dict[str, bytes]] = {}
    for place in _places(origins):
        file = Path(place.rpartition(":")[0])
        within = folders.setdefault(str(file.parent), {})
        within |= {path.relative_to(file.parent).as_posix(): path.read_bytes() for path in _files(file)}
    return Parcel(list(origins), folders)


def unpack(parcel: Parcel) -> list[Origin]:
    """Writes a parcel's files into a folder that lasts as long as the process, and returns the origins there."""
    root = Path(tempfile.mkdtemp(prefix="synthbench-plugins-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    moved = {folder: root / str(number) for number, folder in enumerate(sorted(parcel.folders))}
    for folder, files in parcel.folders.items():
        for name, content in files.items():
            file = moved[folder] / name
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, content)

    def there(place: str) -> str:
        path, _, name = place.rpartition(":")
        return f"{moved[str(Path(path).parent)] / Path(path).name}:{name}" if _is_file(place) else place

    return [_moved(origin, there) for origin in parcel.origins]


def _places(origins: Sequence[Origin]) -> list[str]:
    """The `path/file.py:Name` among them."""
    of_tasks = [origin.sources for origin in origins if isinstance(origin, generators.Origin)]
    by_name = [origin.name for origin in origins if isinstance(origin, Named)]
    return [
        place for place in (*by_name, *(place for sources in of_tasks for _, place, _ in sources)) if _is_file(place)
    ]


def _files(file: Path) -> list[Path]:
    """A plug-in's file and those of its folder that it imports, and that these import. Raises BadInput where one lies in a
    folder that is no package."""
    finder = ModuleFinder([str(file.parent)], excludes=["synthbench"])
    try:
        finder.run_script(str(file))
    except AttributeError:  # how it fails on folders without __init__.py
        raise BadInput(
            f"{named(file)} imports from a folder without __init__.py, which cannot travel to other machines; add the file."
        ) from None
    found = [getattr(module, "__file__", None) for module in finder.modules.values()]
    return [Path(path) for path in found if path]


def _is_file(place: str) -> bool:
    return place.rpartition(":")[0].endswith(SUFFIX)


def _moved(origin: Origin, there: Callable[[str], str]) -> Origin:
    if isinstance(origin, generators.Origin):
        return origin._replace(sources=tuple((label, there(place), code) for label, place, code in origin.sources))
    return origin._replace(name=there(origin.name)) if isinstance(origin, Named) else origin
