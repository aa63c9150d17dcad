"""docs/architecture.md and its picture: the subpackages, their files and their imports."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

from docs.drawings import COLOURS, GREY, MIDDLE, Marks, box, line, sheet, text
from synthbench.common.wording import code

PACKAGE = Path(__file__).resolve().parent.parent / "synthbench"
ROOMS = (
    "interface", "verification", "gate", "reporting", "analysis", "execution", "store", "experiment", "plugins", "trainer",
    "scores", "generators", "cards", "common",
)  # fmt: skip
# What a reader looks for: file, and the function or class in it
QUESTIONS = {
    "Where is Muon's step?": ("trainer/optimizers/muon.py", "step"),
    "Where is one step of training?": ("trainer/step.py", "training_step"),
    "Where is that step in C++?": ("trainer/native/step.py", "training_step"),
    "Where is LoRA?": ("trainer/low_rank.py", "merged"),
    "Where is forgetting computed?": ("scores/forgetting.py", "forgetting"),
    "How is a score read at equal fit?": ("scores/reading.py", "Rates"),
    "What is an example of a task?": ("generators/examples.py", "Examples"),
    "What decides the next run?": ("experiment/plan.py", "ready"),
    "How is a learning rate chosen?": ("experiment/choice.py", "choose"),
    "What does a run's id hash?": ("experiment/runs.py", "identity"),
    "How are runs packed into fleets?": ("execution/packing.py", "pack"),
    "Where is a killed worker handled?": ("execution/scheduler.py", "_recover"),
    "Where is a torch.optim class wrapped?": ("plugins/torch_optim.py", "custom_optimizer"),
    "Where are stored runs scored again?": ("store/results.py", "_scored_again"),
    "Where does a new engine go?": ("execution/executor.py", "Executor"),
    "How do processes divide the work in a shared folder?": ("store/leases.py", "Leases"),
    "How is the table's interval made?": ("analysis/statistics.py", "interval"),
    "When are rows paired by seed?": ("analysis/pairing.py", "is_paired"),
    "When is a difference inconclusive?": ("analysis/verdict.py", "verdict"),
    "What does `check` count as changed?": ("analysis/change_test.py", "decide"),
}
# From the command to the first step: file, function or class, what it does. An earlier file imports each.
PATH = (
    ("interface/cli.py", "Run", "parses the options"),
    ("interface/commands.py", "run", "resolves the experiment, trains it, prints its table"),
    ("experiment/resolve.py", "resolve", "makes an `Experiment` of a runner's card and the options"),
    ("experiment/plan.py", "Plan", "knows which runs are finished, ready or still to come"),
    ("execution/session.py", "perform", "opens the folder of results, chooses the executor"),
    ("execution/scheduler.py", "Scheduler", "packs ready runs into fleets, keeps what comes back"),
    ("execution/engine.py", "Engine", "chooses what trains fleets: processes here, or a cluster"),
    ("execution/process_pool.py", "ProcessPool", "is the local `Executor`: starts worker processes, sends them jobs"),
    ("execution/worker.py", "serve", "receives a job in a worker process"),
    ("execution/fleet_job.py", "run_fleet", "sets up a fleet, trains it, evaluates it, computes its scores"),
    ("execution/fleet_setup.py", "build", "makes the fleet's weights and data"),
    ("trainer/fleet.py", "Fleet", "holds K models in one flat buffer"),
    ("trainer/loop.py", "train", "loops over the steps"),
    ("trainer/step.py", "training_step", "computes losses and gradients"),
    ("trainer/optimizer.py", "FleetOptimizer", "gives each optimizer its parameters, by the routing table"),
    ("trainer/optimizers/muon.py", "step", "moves them"),
)
MOST_STOPS = 16


def architecture_page() -> str:
    """The page: the picture, a line for each room, where to look for what, and the path of a run."""
    lines = [
        "# Architecture", "", "Made by `python -m docs.pages` from the package; a test fails when it is stale.", "",
        "All importable code is in `synthbench/`; `tasks/` and `runners/` hold cards, `reports/` what commands made,",
        "`tests/` mirrors the package. Planning, execution and storage are apart, and so are numbers and words. A",
        "generator knows no model; the trainer knows no task; scores take numpy arrays.", "",
        "![The subpackages and their imports](pictures/architecture.svg)", "",
        "A subpackage imports only those below it. An arrow is an import; those that follow from",
        "other arrows are left out.", "",
        "| subpackage | what it holds |", "| --- | --- |",
        *(f"| [{code(room)}](../synthbench/{room}/__init__.py) | {about(room)} |" for room in ROOMS), "",
        "## Where to look", "", "| question | file | at |", "| --- | --- | --- |",
        *(f"| {question} | {_link(file)} | {code(_defined(file, at))} |" for question, (file, at) in QUESTIONS.items()), "",
        "To add a generator, an optimizer or a score: [Contributing](../CONTRIBUTING.md#one-file-each).", "",
        "## From `synthbench run` to the first step of a fleet", "", f"{len(PATH)} files:", "",
        *(f"1. {_link(file)}: {code(_defined(file, name))} {does}." for file, name, does in PATH), "",
        "The scheduler keeps what a fleet returns in the store; then `commands.run` prints the table.",
    ]  # fmt: skip
    return "\n".join(lines)


def imports() -> dict[str, set[str]]:
    """The rooms that each room imports, at the top of a file or within a function."""
    return {
        room: {other for file in _files(room) for other in imported(_tree(file)) if other in ROOMS} - {room}
        for room in ROOMS
    }


def imported(node: ast.AST) -> Iterator[str]:
    """The folders and modules at the top of the package that are imported below a node, but for type checkers alone."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
    for name in names:
        parts = (f"{node.module}.{name}" if isinstance(node, ast.ImportFrom) else name).split(".")
        if parts[0] == "synthbench" and parts[1:]:
            yield parts[1]
    for child in ast.iter_child_nodes(node):
        yield from imported(child)


def _files(room: str) -> list[Path]:
    return [file for file in sorted((PACKAGE / room).rglob("*.py")) if "templates" not in file.parts]


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def about(room: str) -> str:
    """The first sentences of a room's docstring, "" where there is none."""
    docstring = ast.get_docstring(_tree(PACKAGE / room / "__init__.py")) or ""
    return " ".join(docstring.partition("\n\n")[0].split())


def _defined(file: str, name: str) -> str:
    """The name of a function or class; raises ValueError where the file does not define it."""
    kinds = ast.FunctionDef | ast.ClassDef
    if not any(isinstance(node, kinds) and node.name == name for node in ast.walk(_tree(PACKAGE / file))):
        raise ValueError(f"synthbench/{file} does not define {name}.")
    return name


def _link(file: str) -> str:
    return f"[{code(file)}](../synthbench/{file})"


def below(room: str, direct: dict[str, set[str]]) -> set[str]:
    """All rooms that a room imports, directly or not."""
    return direct[room].union(*(below(other, direct) for other in direct[room]))


def arrows(direct: dict[str, set[str]]) -> dict[str, set[str]]:
    """The imports that do not follow from others."""
    return {
        room: {other for other in others if not any(other in below(via, direct) for via in others)}
        for room, others in direct.items()
    }


WIDE, TALL, GAP = 390, 62, 44  # of a room's box, and between two levels


def picture() -> str:
    """Rooms as boxes with the names of their files, users above what they use."""
    drawn = arrows(imports())
    levels: dict[str, int] = {}
    for room in ROOMS:  # a room lies just below the lowest of its users
        levels[room] = 1 + max((levels[user] for user in ROOMS if room in drawn[user]), default=-1)
    centres: dict[str, tuple[float, float]] = {}
    for level in range(1 + max(levels.values())):
        rooms = [room for room in ROOMS if levels[room] == level]
        above = {room: _mean([centres[user][0] for user in centres if room in drawn[user]]) for room in rooms}
        for index, room in enumerate(sorted(rooms, key=above.__getitem__)):
            x = above[room] if len(rooms) == 1 else 220 + 420 * index
            centres[room] = (x, 20 + TALL / 2 + level * (TALL + GAP))
    marks: Marks = []
    for room in ROOMS:
        for other in sorted(drawn[room]):
            (x, y), (end, low) = centres[room], centres[other]
            marks.append(line([(x, y + TALL / 2), (end, low - TALL / 2)], GREY, 'marker-end="url(#head)"'))
    for room, (x, y) in centres.items():
        marks.append(box(x - WIDE / 2, y - TALL / 2, WIDE, TALL, COLOURS["fact"], 'rx="6"'))
        marks.append(text(x, y - 15, room, 15, more=f'{MIDDLE} font-weight="bold"'))
        names = textwrap.wrap(", ".join(_names(room)), 66)
        marks += [text(x, y + 1 + 12 * index, names_line, 10, more=MIDDLE) for index, names_line in enumerate(names)]
    head = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{GREY}"/></marker></defs>'
    )
    return sheet(860, 20 + (1 + max(levels.values())) * (TALL + GAP), "The subpackages of synthbench", [head, *marks])


def _names(room: str) -> list[str]:
    """The modules and folders of a room."""
    entries = sorted(
        path for path in (PACKAGE / room).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    )
    return [f"{path.name}/" if path.is_dir() else path.stem for path in entries if path.stem != "__init__"]


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers) if numbers else 430.0
