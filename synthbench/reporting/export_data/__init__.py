"""`synthbench export-data`: a task's examples as readable text, for a language model of any kind: JSON lines or Parquet."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from synthbench.common.errors import BadInput, Failed, is_disk_failure
from synthbench.common.files import is_folder
from synthbench.common.wording import check_choice, listed, named, shown
from synthbench.plugins import generators
from synthbench.reporting.export_data.readme import page
from synthbench.reporting.export_data.text import FIELDS, file_name, parts, records

FOLDER = Path("synthbench-data")
MOST_SEED = 2**63 - 1
FORMATS = ("jsonl", "parquet")


def export(name: str, stage: str | None, seed: int, form: str, out: Path | None) -> None:
    """Writes a folder that `datasets.load_dataset(FOLDER, STAGE)` loads, and prints what is in it.

    It has a file for each stage and split, and README.md: how the text is loaded and scored. Held-out facts are not
    written, as they are not scored. name: a task by name or path, perhaps with a variant. stage: None for all. out: the
    folder, which must be absent, empty, or as this command leaves it. Raises BadInput for what is not allowed, Failed where
    the disk is full.
    """
    check_choice("--format", form, FORMATS)
    if not 0 <= seed <= MOST_SEED:
        raise BadInput(f"--seed {shown(seed)} must be between 0 and {MOST_SEED}.")
    task = generators.task(name)
    if stage is not None:
        check_choice(f"--stage of task {task.card.name}:", stage, task.card.stages)
    every_part = [
        part for stage_name in ([stage] if stage else task.card.stages) for part in parts(task, stage_name, seed)
    ]
    folder = out or FOLDER / task.card.label.replace(":", "-")
    by_file: dict[str, list[dict[str, Any]]] = {}
    for part in every_part:
        by_file.setdefault(file_name(part.stage, part.split, form), []).extend(records(task.language, part))
    files = {file: _encoded(rows, form) for file, rows in by_file.items()}
    is_new = write(folder, files | {"README.md": page(task, every_part, seed, form).encode()})
    count = sum(len(part.examples) for part in every_part)
    print(
        f"{named(folder)} {'has' if is_new else 'has already'} {count} examples of {task.card.label} {task.card.version}, "
        f"seed {seed}; its README.md says how to train and score on them."
    )
    print(f"Load them with: datasets.load_dataset({str(folder)!a}, {every_part[-1].stage!a})")


def _encoded(rows: list[dict[str, Any]], form: str) -> bytes:
    """The content of a file; raises BadInput where Parquet is asked for and pyarrow is missing."""
    if form == "jsonl":
        return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode("ascii")
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise BadInput("--format parquet needs pyarrow; install it with: pip install 'synthbench[data]'.") from None
    schema = pyarrow.schema([(field, getattr(pyarrow, kind)()) for field, (kind, _) in FIELDS.items()])
    file = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), file)
    return file.getvalue()


def write(folder: Path, files: Mapping[str, bytes]) -> bool:
    """Writes files into a folder that is absent or empty; false where they are all there already.

    A folder that is absent appears with all its files at once. Hidden files that it has (a repository's, say) stay. Raises
    BadInput where it holds anything else than these files, or cannot be written; Failed where the disk is full.
    """
    try:
        visible = [path for path in folder.iterdir() if path.name[:1] != "."] if folder.exists() else []
        if other := sorted(path.name for path in visible if not _holds(path, files.get(path.name))):
            raise BadInput(
                f"--out {named(folder)} holds something else already ({listed(other)}), which is not overwritten; "
                "give a folder that is new or empty."
            )
        present = {path.name for path in visible}
        if missing := {file: content for file, content in files.items() if file not in present}:
            _add(folder.resolve(), missing)
    except OSError as error:
        kind = Failed if is_disk_failure(error) else BadInput
        raise kind(f"--out {named(folder)} cannot be written: {error.strerror}.") from None
    return bool(missing)


def _holds(path: Path, content: bytes | None) -> bool:
    return content is not None and path.is_file() and path.read_bytes() == content


def _add(folder: Path, files: Mapping[str, bytes]) -> None:
    """Adds files to a folder that has none of them: all are on the disk before the first is in its place."""
    is_there, hidden = is_folder(folder), f".{uuid4().hex}.new"
    temporary = folder / hidden if is_there else folder.with_name(hidden)
    try:
        temporary.mkdir(parents=True)
        for file, content in files.items():
            (temporary / file).write_bytes(content)
        if is_there:
            for file in files:
                (temporary / file).rename(folder / file)
        else:
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
