"""`synthbench new`: a commented file to start from, which works as it is."""

from __future__ import annotations

import keyword
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from synthbench import cards
from synthbench.cards import Card, RunnerCard, TaskCard
from synthbench.common.errors import BadInput
from synthbench.common.files import write_whole
from synthbench.common.wording import check_choice, inert, named, shown

TEMPLATES = Path(__file__).with_name("templates")
CARDS: dict[str, type[Card]] = {"task": TaskCard, "runner": RunnerCard}
KINDS = ("task", "runner", "optimizer", "generator")
NEXT: Mapping[str, tuple[str, ...]] = {
    "task": ("synthbench verify --task {toml}", "synthbench run --task {toml}"),
    "runner": ("synthbench run {toml} --dry-run", "synthbench run {toml}"),
    "optimizer": ("synthbench verify --optimizer {py}", "synthbench run --optimizer {py}"),
    "generator": ("synthbench verify --task {toml}", "synthbench run --task {toml}"),
}  # what to type next
MARK = "#:schema "  # editors take the schema of a TOML file from this line
SCHEMAS = Path(cards.__file__).with_name("schemas")


def write(kind: str, name: str, out: Path) -> list[str]:
    """Writes the starting files of a kind into a folder; returns lines that say what they are, and what to type next.

    Raises BadInput for a kind or a name that is not allowed, and where a file is there already.
    """
    check_choice("Kind", kind, KINDS)
    valid = _card_name(kind, name) if kind in CARDS else _code_name(kind, name)
    templates = {out / f"{valid}{file.suffix}": file for file in sorted(TEMPLATES.glob(f"{kind}.*"))}
    for path in templates:
        if path.exists():
            raise BadInput(f"{named(path)} exists already, and nothing is overwritten; give another name or --out.")
    out.mkdir(parents=True, exist_ok=True)
    for path, template in templates.items():
        text = _filled(template.read_text(encoding="utf-8"), kind, valid, out)
        write_whole(path, text.encode(), exclusive=True)
    lines = [f"The name is {valid}: {shown(name)} has characters that are not allowed."] if valid != name else []
    lines += [f"Written: {named(path)}" for path in templates]
    paths = {"toml": _typed(out / f"{valid}.toml"), "py": _typed(f"{out / valid}.py:{valid}")}
    return lines + [f"Next: {command.format(**paths)}" for command in NEXT[kind]]


def _card_name(kind: str, name: str) -> str:
    """A name that a card can have, underscores made hyphens."""
    valid = name.replace("_", "-")
    if not re.fullmatch("[a-z0-9][a-z0-9-]{0,39}", valid):
        raise BadInput(f"{kind} {shown(name)}: give a name of at most 40 lower-case letters, digits and hyphens.")
    if valid in cards.names(CARDS[kind]):
        raise BadInput(f"{kind} {shown(name)} is the name of a shipped {kind}; give another name.")
    return valid


def _code_name(kind: str, name: str) -> str:
    """A name that Python code can have, hyphens made underscores."""
    valid = name.replace("-", "_")
    if not re.fullmatch("[a-z][a-z0-9_]{0,39}", valid) or keyword.iskeyword(valid):
        raise BadInput(
            f"{kind} {shown(name)}: give a name of at most 40 lower-case letters, digits and underscores; it begins with "
            "a letter and is no keyword of Python."
        )
    return valid


def _filled(template: str, kind: str, name: str, out: Path) -> str:
    """A template under a name; the line that names the schema of a card leads from its folder to the installed one."""
    text = template.replace(f"my_{kind}", name).replace(f"my-{kind}", name.replace("_", "-"))
    lines = text.split("\n")
    if lines[0].startswith(MARK):
        schema_of = lines[0].rpartition("/")[2]
        lines[0] = MARK + Path(os.path.relpath(SCHEMAS / schema_of, out)).as_posix()
    return "\n".join(lines)


def _typed(path: object) -> str:
    """A path as it is typed in a shell."""
    return inert(shlex.quote(str(path)))
