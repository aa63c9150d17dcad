"""`ls KIND` and `show KIND NAME`: what there is, read from cards and registries."""

from __future__ import annotations

import inspect
import shlex
import textwrap
from collections.abc import Callable, Collection, Sequence

from synthbench import cards
from synthbench.cards import MODELS, RunnerCard, TaskCard
from synthbench.common import files, overrides
from synthbench.common.errors import BadInput
from synthbench.common.wording import did_you_mean, inert, literal, named, prose, shown
from synthbench.experiment.optimizers import source_hash
from synthbench.generators import GENERATORS
from synthbench.reporting import gallery
from synthbench.scores import SCORES
from synthbench.trainer.optimizers import OPTIMIZERS

SHORT = 18  # characters below which a cell of a list is not folded
LONGEST = 24  # characters of a word up to which it is not broken
WIDTH = 100


def show_list(kind: str, form: str) -> None:
    """Prints what there is of a kind; raises BadInput for an unknown kind or format."""
    if kind not in LISTS:
        raise BadInput(f"Unknown kind {shown(kind)}{did_you_mean(kind, LISTS)}.")
    pages: dict[str, Callable[[], str]] = {"task": gallery.tasks_page, "runner": gallery.runners_page}
    if form == "markdown" and kind in pages:
        print(pages[kind]())
    elif form in ("table", "markdown"):
        heads, rows = LISTS[kind]()
        _print(heads, rows, form)
    else:
        raise BadInput(f"--format {shown(form)} is not allowed; allowed are table, markdown.")


def show_one(kind: str, name: str) -> None:
    """Prints one thing; raises BadInput for an unknown kind or name."""
    if kind not in SHOWN:
        raise BadInput(f"Unknown kind {shown(kind)}{did_you_mean(kind, SHOWN)}.")
    SHOWN[kind](name)


Listing = tuple[list[str], list[list[str]]]


def _tasks() -> Listing:
    found = [cards.load(TaskCard, name) for name in cards.names(TaskCard)]
    return ["task", "version", "question"], [[card.name, card.version, card.question] for card in found]


def _runners() -> Listing:
    found = [cards.load(RunnerCard, name) for name in cards.names(RunnerCard)]
    return ["runner", "version", "question", "cost"], [[c.name, c.version, c.question, c.cost] for c in found]


def _optimizers() -> Listing:
    offered = [[*one, ""] for one in _offered("synthbench.optimizers", OPTIMIZERS)]
    return ["optimizer", "what it does", "source"], [
        [o.name, o.summary, o.source] for o in OPTIMIZERS.values()
    ] + offered


def _scores() -> Listing:
    heads = ["score", "formula", "unit", "range", "better", "source"]
    return heads, [[s.name, s.formula, s.unit, s.range, s.better, s.source] for s in SCORES.values()]


def _generators() -> Listing:
    offered = _offered("synthbench.generators", GENERATORS)
    return ["generator", "what it draws"], [[g.name, g.summary] for g in GENERATORS.values()] + offered


def _offered(group: str, known: Collection[str]) -> list[list[str]]:
    """What installed distributions offer beside what is built in; none of it is imported."""
    from synthbench.plugins import entry_points

    return [
        [one.name, f"{one.value}, of {one.distribution}"] for one in entry_points.offers(group) if one.name not in known
    ]


def _models() -> Listing:
    fields = list(next(iter(MODELS.values())).model_dump())
    return ["model", *fields], [[name, *map(str, card.model_dump().values())] for name, card in MODELS.items()]


LISTS: dict[str, Callable[[], Listing]] = {
    "task": _tasks, "runner": _runners, "optimizer": _optimizers, "score": _scores, "generator": _generators,
    "model": _models,
}  # fmt: skip


def _task(name: str) -> None:
    from rich.console import Console

    from synthbench.plugins import generators

    task = generators.task(name)
    parts = list(gallery.slices(task))
    _prose(f"{task.card.name} {task.card.version}: {task.card.question}")
    _prose(task.card.description)
    _prose(f"Source: {task.card.source}")
    print()
    console = Console(width=None if Console().is_terminal else WIDTH, highlight=False)
    for part in parts:
        for text in gallery.coloured(task, part):
            console.print(text)
    print("\nThe answer (coloured on a terminal: from after = to the end token .) is what is learned and scored.\n")
    heads = [head.replace("trained/val./test/unseen", "trained/val./\ntest/unseen") for head in gallery.HEADS]
    _print(heads, [part.facts(gallery.highest) for part in parts], "table", named=2)
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
    found, plugin = OPTIMIZERS[label], plugins.TAKEN.get(label)
    code = f"Code: sha256 {source_hash(label)}"
    print(f"{inert(label)}: {prose(found.summary)}\nSource: {inert(found.source)}\n{code}\n")
    _print(["pattern of parameters", "optimizer"], [list(pair) for pair in found.routing], "table")
    print()
    arguments = plugins.defaults(label) if plugin else found.arguments().model_dump()
    needed = inspect.Parameter.empty
    texts = {key: "needed" if value is needed else str(value) for key, value in arguments.items()}
    _print(["argument", "default"], [list(pair) for pair in texts.items()], "table")
    if found.grid:
        rates = ", ".join(f"{rate:g}" for rate in found.grid)
        print(f"\nLearning rates where a card has none for it: {rates} (--lr gives others to the last stage).")
    key, value = next((pair for pair in arguments.items() if pair[1] not in (None, needed)), ("", None))
    if key == "routing":  # nothing of its own can be set
        key, value = "routing", "hidden" if value == "all" else "all"
    elif key:
        key = f"optimizer.{key}"
    setting = shlex.quote(f"{key}={overrides.written(value)}")
    print(f"\nSet one with: synthbench run --optimizer {inert(shlex.quote(name))} --set {inert(setting)}")


def _score(name: str) -> None:
    if name not in SCORES:
        raise BadInput(f"Unknown score {shown(name)}{did_you_mean(name, SCORES)}.")
    heads, _ = _scores()
    found = SCORES[name]
    for head in heads:
        print(f"{head}: {getattr(found, 'name' if head == 'score' else head)}")


def _generator(name: str) -> None:
    from synthbench.interface.scaffold.meanings import meanings

    if name not in GENERATORS:
        raise BadInput(f"Unknown generator {shown(name)}{did_you_mean(name, GENERATORS)}.")
    found = GENERATORS[name]
    print(f"{found.name}: {found.summary}")
    for paragraph in (inspect.getdoc(inspect.getmodule(found.options)) or "").split("\n\n"):
        is_example = paragraph.startswith(" ")
        print("", textwrap.dedent(paragraph) if is_example else textwrap.fill(paragraph, WIDTH), sep="\n")
    print()
    known = found.options.model_json_schema()
    explained = {"word": "the word that stands in front of each item, one slice's own"} | meanings(found.options)
    _print(
        ["option", "kind", "default", "meaning"],
        [
            [
                key,
                str(one["type"]),
                "needed" if key in known["required"] else str(one["default"]),
                explained.get(key, ""),
            ]
            for key, one in known["properties"].items()
        ],
        "table",
    )


SHOWN: dict[str, Callable[[str], None]] = {
    "task": _task, "runner": _runner, "optimizer": _optimizer, "score": _score, "generator": _generator,
}  # fmt: skip


def _least(cells: Sequence[str]) -> int:
    """The width down to which a column of a list is folded: names in it stay whole."""
    return max(SHORT, min(LONGEST, max((len(word) for cell in cells for word in cell.split()), default=0)))


def _prose(text: str) -> None:
    print(textwrap.fill(prose(text), WIDTH))


def _print(heads: Sequence[str], rows: Sequence[Sequence[str]], form: str, named: int = 1) -> None:
    """named: how many of the first columns name a row."""
    if form == "markdown":
        from tabulate import tabulate

        print(
            tabulate([[literal(cell) for cell in row] for row in rows], heads, tablefmt="github", disable_numparse=True)
        )
        return
    from rich.console import Console

    from synthbench.reporting.terminal_table import Column, Drawing

    texts = [[prose(row[place]) for row in rows] for place in range(len(heads))]
    columns = [
        Column(head, texts[place], least=_least(texts[place]) if place >= named else None)
        for place, head in enumerate(heads)
    ]
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(Drawing(columns[:named], columns[named:]))
