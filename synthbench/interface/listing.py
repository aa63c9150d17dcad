"""`ls KIND` and `show KIND NAME`: what there is, read from cards and registries."""

from __future__ import annotations

import inspect
import shlex
import textwrap
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from synthbench import cards
from synthbench.cards import MODELS, ModelCard, RunnerCard, TaskCard
from synthbench.common import files, overrides
from synthbench.common.terminal import console, encodable
from synthbench.common.wording import check_choice, inert, literal, named, prose
from synthbench.experiment.optimizers import source_hash
from synthbench.generators import GENERATORS
from synthbench.reporting import gallery
from synthbench.reporting.table import github
from synthbench.scores import SCORES
from synthbench.trainer.optimizers import OPTIMIZERS

SHORT = 18  # characters below which a cell of a list is not folded
LONGEST = 24  # characters of a word up to which it is not broken
WIDTH = 100

Listing = tuple[list[str], list[list[str]]]


def show_list(kind: str, form: str) -> None:
    """Prints what there is of a kind; raises BadInput for an unknown kind or format."""
    check_choice("Kind", kind, LISTS)
    check_choice("--format", form, ("table", "markdown"))
    heads, rows = LISTS[kind]()
    if form == "markdown":
        print(github(heads, [[literal(cell) for cell in row] for row in rows]))
    else:
        _print(heads, rows)


def show_one(kind: str, name: str) -> None:
    """Prints one thing; raises BadInput for an unknown kind or name."""
    check_choice("Kind", kind, DETAILS)
    DETAILS[kind](name)


def _attributes(kind: str, things: Iterable[Any], *attributes: str) -> Listing:
    """Names of things, and these attributes of each."""
    return [kind, *attributes], [[str(getattr(each, key)) for key in ("name", *attributes)] for each in things]


def _shipped(kind: type[Any]) -> list[Any]:
    return [cards.load(kind, name) for name in cards.names(kind)]


def _optimizers() -> Listing:
    rows = [[o.name, o.summary, o.source] for o in OPTIMIZERS.values()]
    rows += [[*row, ""] for row in _offered("synthbench.optimizers", OPTIMIZERS)]
    return ["optimizer", "what it does", "source"], rows


def _generators() -> Listing:
    rows = [[g.name, g.summary] for g in GENERATORS.values()]
    return ["generator", "what it draws"], rows + _offered("synthbench.generators", GENERATORS)


def _offered(group: str, known: Collection[str]) -> list[list[str]]:
    """What installed distributions offer beside what is built in; none of it is imported."""
    from synthbench.plugins import entry_points

    offers = [offer for offer in entry_points.offers(group) if offer.name not in known]
    return [[offer.name, f"{offer.value}, of {offer.distribution}"] for offer in offers]


LISTS: dict[str, Callable[[], Listing]] = {
    "task": lambda: _attributes("task", _shipped(TaskCard), "version", "question"),
    "runner": lambda: _attributes("runner", _shipped(RunnerCard), "version", "question", "cost"),
    "optimizer": _optimizers,
    "score": lambda: _attributes("score", SCORES.values(), "formula", "unit", "range", "better", "source"),
    "generator": _generators,
    "model": lambda: (
        ["model", *ModelCard.model_fields],
        [[name, *(str(value) for _, value in card)] for name, card in MODELS.items()],
    ),
}


def _task(name: str) -> None:
    from synthbench.plugins import generators

    task = generators.task(name)
    _prose(f"{task.card.name} {task.card.version}: {task.card.question}")
    _prose(task.card.description)
    _prose(f"Source: {task.card.source}")
    print()
    parts = list(gallery.slices(task))
    for part in parts:
        for text in gallery.coloured(task, part):
            console().print(text, highlight=False)
    print("\nThe answer (coloured on a terminal: from after = to the end token .) is what is learned and scored.\n")
    _print(gallery.HEADS, [part.facts(gallery.highest) for part in parts], named=2)
    print(f"\n{task.language.vocabulary} tokens, {task.language.length} an example.\nFingerprint: {task.fingerprint}")


def _runner(name: str) -> None:
    card = cards.load(RunnerCard, name)
    _prose(f"{card.name} {card.version}: {card.question}")
    _prose(f"Cost: {card.cost}. Fingerprint: {card.fingerprint()}")
    written = files.text(cards.locate(RunnerCard, name), named(name), files.MOST_BYTES)
    print("", *(inert(line.expandtabs(4).rstrip()) for line in written.strip().split("\n")), sep="\n")
    print(f"\nWhat it would train: synthbench run {inert(shlex.quote(name))} --dry-run")


def _optimizer(name: str) -> None:
    from synthbench import plugins

    label = plugins.name_of(name, "show optimizer")
    optimizer = OPTIMIZERS[label]
    print(f"{inert(label)}: {prose(optimizer.summary)}\nSource: {inert(optimizer.source)}")
    print(f"Code: sha256 {source_hash(label)}\n")
    _print(["pattern of parameters", "optimizer"], [list(pair) for pair in optimizer.routing])
    print()
    arguments = plugins.defaults(label)
    needed = inspect.Parameter.empty
    rows = [[key, "needed" if value is needed else str(value)] for key, value in arguments.items()]
    _print(["argument", "default"], rows)
    if optimizer.grid:
        rates = ", ".join(f"{rate:g}" for rate in optimizer.grid)
        print(f"\nLearning rates where a card has none for it: {rates} (--lr gives others to the last stage).")
    key, value = next((key, value) for key, value in arguments.items() if value not in (None, needed))
    example = {f"optimizer.{key}": value}
    if key == "routing":  # there is no other argument
        example = {"routing": "hidden" if value == "all" else "all"}
    words = ["synthbench", "run", "--optimizer", name, "--set", *overrides.typed(example)]
    print(f"\nSet one with: {inert(shlex.join(words))}")


def _score(name: str) -> None:
    check_choice("Score", name, SCORES)
    heads, rows = LISTS["score"]()
    for head, cell in zip(heads, next(row for row in rows if row[0] == name), strict=True):
        print(f"{head}: {cell}")


def _generator(name: str) -> None:
    check_choice("Generator", name, GENERATORS)
    generator = GENERATORS[name]
    print(f"{generator.name}: {generator.summary}")
    for paragraph in (inspect.getdoc(inspect.getmodule(generator.options)) or "").split("\n\n"):
        is_example = paragraph.startswith(" ")
        print("", textwrap.dedent(paragraph) if is_example else textwrap.fill(paragraph, WIDTH), sep="\n")
    print()
    schema, rows = generator.options.model_json_schema(), []
    for key, option in schema["properties"].items():
        default = "needed" if key in schema["required"] else str(option["default"])
        rows.append([key, str(option["type"]), default, option.get("description", "").rstrip(".")])
    _print(["option", "kind", "default", "meaning"], rows)


DETAILS: dict[str, Callable[[str], None]] = {
    "task": _task, "runner": _runner, "optimizer": _optimizer, "score": _score, "generator": _generator,
}  # fmt: skip


def _prose(text: str) -> None:
    print(textwrap.fill(encodable(prose(text), console().encoding), WIDTH))


def _print(heads: Sequence[str], rows: Sequence[Sequence[str]], named: int = 1) -> None:
    """A table for a terminal. named: how many of the first columns name a row; the others are folded between words."""
    from synthbench.reporting.terminal_table import Column, Drawing

    texts = [[prose(cell) for cell in cells] for cells in zip(*rows, strict=True)]
    longest = (max((len(word) for cell in cells for word in cell.split()), default=0) for cells in texts)
    least = [None if index < named else max(SHORT, min(LONGEST, most)) for index, most in enumerate(longest)]
    columns = [Column(*column) for column in zip(heads, texts, [False] * len(heads), least, strict=True)]
    console().print(Drawing(columns[:named], columns[named:]))
