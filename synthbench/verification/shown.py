"""What `synthbench verify` prints: where a run's two ways part, and which checks an optimizer passes."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from tabulate import tabulate

from synthbench.errors import BadInput, Refuted
from synthbench.experiment.store import Store
from synthbench.terminal import console
from synthbench.verification import member
from synthbench.wording import inert, named


def verify(out: Path, prefix: str | None, optimizer: str | None, task: str | None, steps: int) -> None:
    """`synthbench verify`: a run trained again in a plain loop, or the checks that any optimizer, any task must pass.

    Raises Refuted where a check fails.
    """
    if prefix is not None:
        of_run(out, prefix, optimizer, task, steps)
    elif (optimizer is None) == (task is None):
        raise BadInput("verify: give a run (the beginning of its id), or --optimizer, or --task, to check.")
    elif optimizer is not None:
        of_optimizer(optimizer)
    elif task is not None:
        of_task(task)


def of_optimizer(name: str) -> None:
    """`verify --optimizer NAME`: every check with its verdict; raises Refuted where one fails."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from synthbench.verification import conformance

    candidate = conformance.taken(name)
    with Console(stderr=True).status("", spinner="line"):
        found = dict(conformance.outcomes(candidate))
    failed = {title: said for title, said in found.items() if said}
    table = Table("check", "verdict", *(["what failed"] if failed else []), title=Text(inert(candidate.name)))
    for title in conformance.CHECKS:
        verdict = "not tried" if title not in found else "failed" if title in failed else "passed"
        table.add_row(title, verdict, *([Text(inert(failed.get(title, "")))] if failed else []))
    console().print(table)
    if failed:
        raise Refuted(f"{named(candidate.name)}: {len(failed)} of {len(found)} checks failed.")


def of_task(name: str) -> None:
    """`verify --task NAME`: what a task's data has to hold to, each kept or broken; raises Refuted where one is broken."""
    from rich.table import Table
    from rich.text import Text

    from synthbench.verification.tasks import check_task

    found = check_task(name)
    broken = sum(wrong is not None for _, wrong in found)
    table = Table("promise", "verdict", *(["broken by"] if broken else []), title=Text(inert(name)))
    for promise, wrong in found:
        table.add_row(promise, "broken" if wrong else "kept", *([Text(inert(wrong or ""))] if broken else []))
    console().print(table)
    if broken:
        raise Refuted(f"{named(name)}: {broken} of {len(found)} promises are broken.")


def of_run(out: Path, prefix: str, optimizer: str | None, task: str | None, steps: int) -> None:
    """`verify RUN`: the losses of a run in both ways, side by side."""
    with closing(Store.read(out)) as store:
        name = member.found(prefix, store.identities())
        run, card = member.stored(store, name, task)
        member.load_rule(run, optimizer)
        parent = member.parent_of(store, run)
        found = member.verify(run, card, parent, store.weights, min(steps, run.steps))
    print(f"{run.stage} of {named(run.task)}, {named(run.rule.name)}, {run.update}, lr {run.lr:g}, seed {run.seed}\n")
    told = sorted({step for step in member.TOLD if step <= len(found.fleet)} | {found.at or 1, len(found.fleet)})
    rows = [
        [step, *(f"{losses[step - 1]:.6f}" for losses in found), f"{found.differences[step - 1]:.1e}"] for step in told
    ]
    print(tabulate(rows, ["step", "fleet", "plain loop", "relative"], disable_numparse=True, stralign="right"))
    where = f"They part at step {found.at}" if found.at else f"They do not part within {len(found.fleet)} steps"
    print(f"\nTraining loss, nats per answer token. {where} (by more than {member.CLOSE:g}).")
