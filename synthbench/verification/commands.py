"""What `synthbench verify` prints: where a run's two ways part, and which checks an optimizer passes."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from tabulate import tabulate

from synthbench.common.errors import BadInput, Refuted
from synthbench.common.terminal import console
from synthbench.common.wording import inert, named
from synthbench.store.results import Store
from synthbench.verification import replay


def verify(
    out: Path, prefix: str | None, optimizer: str | None, task: str | None, steps: int, settings: Sequence[str] = ()
) -> None:
    """`synthbench verify`: a run trained again in a plain loop, or the checks that any optimizer, any task must pass.

    settings: of the optimizer that is checked. Raises Refuted where a check fails.
    """
    if settings and (optimizer is None or prefix is not None):
        raise BadInput("verify: --set goes with --optimizer alone; a run has the settings that it was trained with.")
    if prefix is not None:
        of_run(out, prefix, optimizer, task, steps)
    elif (optimizer is None) == (task is None):
        raise BadInput("verify: give a run (the beginning of its id), or --optimizer, or --task, to check.")
    elif optimizer is not None:
        of_optimizer(optimizer, settings)
    elif task is not None:
        of_task(task)


def of_optimizer(name: str, settings: Sequence[str] = ()) -> None:
    """`verify --optimizer NAME`: every check with its verdict; raises Refuted where one fails. settings: as `--set` gives
    them, in place of defaults."""
    from rich.console import Console

    from synthbench.verification import conformance
    from synthbench.verification.settled import settled

    candidate = settled(conformance.taken(name), settings)
    with Console(stderr=True).status("", spinner="line"):
        found = dict(conformance.outcomes(candidate))
    show(candidate.name, {title: "failed" if said else "passed" for title, said in found.items()}, found)
    failed, left = sum(said is not None for said in found.values()), len(conformance.CHECKS) - len(found)
    if left:
        print(f"The other {left} checks were not tried.")
        raise Refuted(f"{named(candidate.name)}: the first check failed; the others were not tried.")
    if failed:
        raise Refuted(f"{named(candidate.name)}: {failed} of {len(found)} checks failed.")
    words = ["synthbench", "run", "--optimizer", name, *(word for setting in settings for word in ("--set", setting))]
    print(f"All {len(found)} checks passed; next: {inert(shlex.join(words))}")


def of_task(name: str) -> None:
    """`verify --task NAME`: what a task's data has to hold to, each kept or broken; raises Refuted where one is broken."""
    from synthbench.verification.tasks import check_task

    found = dict(check_task(name))
    show(name, {title: "broken" if said else "kept" for title, said in found.items()}, found)
    if broken := sum(said is not None for said in found.values()):
        raise Refuted(f"{named(name)}: {broken} of {len(found)} promises are broken.")


def show(title: str, verdicts: Mapping[str, str], found: Mapping[str, str | None]) -> None:
    """A table of verdicts, and below it what is wrong, a paragraph each."""
    from rich import box
    from rich.table import Table

    table = Table("check", "verdict", box=box.SIMPLE_HEAD)
    for check, verdict in verdicts.items():
        table.add_row(inert(check), verdict)
    print(inert(title))
    console().print(table)
    for check, said in found.items():
        if said:
            print(textwrap.fill(inert(f"{check}: {said}"), console().width, subsequent_indent="  "))


def of_run(out: Path, prefix: str, optimizer: str | None, task: str | None, steps: int) -> None:
    """`verify RUN`: the losses of a run in both ways, side by side."""
    with closing(Store.read(out)) as store:
        name = replay.found(prefix, store.identities())
        run, card = replay.stored(store, name, task)
        replay.load_rule(run, optimizer, replay.typed(store, run.optimizer.name))
        parent = replay.parent_of(store, run)
        found = replay.verify(run, card, parent, store.weights, min(steps, run.steps))
    print(
        f"{run.stage} of {named(run.task)}, {named(run.optimizer.name)}, {run.update}, lr {run.lr:g}, seed {run.seed}\n"
    )
    told = sorted({step for step in replay.TOLD if step <= len(found.fleet)} | {found.at or 1, len(found.fleet)})
    rows = [
        [step, *(f"{losses[step - 1]:.6f}" for losses in found), f"{found.differences[step - 1]:.1e}"] for step in told
    ]
    print(tabulate(rows, ["step", "fleet", "plain loop", "relative"], disable_numparse=True, stralign="right"))
    where = f"They part at step {found.at}" if found.at else f"They do not part within {len(found.fleet)} steps"
    print(f"\nTraining loss, nats per answer token. {where} (by more than {replay.CLOSE:g}).")
    print(textwrap.fill(found.verdict, min(console().width, 100)))
