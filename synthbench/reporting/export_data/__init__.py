"""`synthbench export-data`: a task's examples as readable text, for a language model of any kind."""

from __future__ import annotations

from pathlib import Path

from synthbench.common.errors import BadInput
from synthbench.common.wording import check_choice, named, shown
from synthbench.plugins import generators
from synthbench.reporting.export_data.files import FORMATS, contents, write
from synthbench.reporting.export_data.readme import page
from synthbench.reporting.export_data.text import parts

__all__ = ["export"]

FOLDER = Path("synthbench-data")
MOST_SEED = 2**63 - 1


def export(given: str, stage: str | None, seed: int, form: str, out: Path | None) -> None:
    """Writes a folder that `datasets.load_dataset(FOLDER, STAGE)` loads, and prints what is in it.

    given: a task by name or path, perhaps with a variant. stage: only this one; None for all. seed: the root seed. form:
    one of FORMATS. out: the folder, which must be absent, empty, or as this command leaves it.

    The folder has a file for each stage and split, and README.md: how the text is loaded and scored, and for each slice
    its counts, entropy, chance and floor. Held-out facts are not written, as they are not scored.

    Raises BadInput for what is not allowed, and where the folder holds something else; Failed where the disk is full.
    """
    check_choice("--format", form, FORMATS)
    if not 0 <= seed <= MOST_SEED:
        raise BadInput(f"--seed {shown(seed)} must be between 0 and {MOST_SEED}.")
    task = generators.task(given)
    if stage is not None:
        check_choice(f"--stage of task {task.card.name}:", stage, task.card.stages)
    found = [part for name in ([stage] if stage else task.card.stages) for part in parts(task, name, seed)]
    folder = out or FOLDER / task.card.label.replace(":", "-")
    files = contents(task, found, form) | {"README.md": page(task, found, seed, form).encode()}
    is_new = write(folder, files)
    count = sum(len(part.examples) for part in found)
    print(
        f"{named(folder)} {'has' if is_new else 'has already'} {count} examples of {task.card.label} {task.card.version}, "
        f"seed {seed}; its README.md says how to train and score on them."
    )
    print(f"Load them with: datasets.load_dataset({str(folder)!a}, {found[-1].stage!a})")
