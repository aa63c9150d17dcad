"""Python: `synthbench.verify(...)` checks an optimizer, the data of a task or a stored run, as `synthbench verify` does."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.terminal import console
from synthbench.common.wording import inert, named
from synthbench.plugins.settings import preserved_settings
from synthbench.store.results import Store
from synthbench.verification import replay

if TYPE_CHECKING:
    from synthbench.plugins import OptimizerLike

SHOWN = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # steps of a run that are printed


@dataclass(frozen=True)
class Check:
    """A check by name. message: why it failed, "" where it passed."""

    name: str
    passed: bool
    message: str = ""


@dataclass(frozen=True, repr=False)
class Verification:
    """What `verify` found; its `repr` is what `synthbench verify` prints.

    Attributes:
        title: The optimizer, the task or the run that was verified.
        checks: Of an optimizer or a task, every check that was made. Empty for a run.
        untried: How many checks were left out, because an optimizer that moves nothing is checked no further.
        curves: Of a run, the training loss of every step in nats per answer token, as a fleet (`curves.fleet`) and in a
            plain PyTorch loop (`curves.plain`). None for an optimizer and a task.
        hint: What to do next where everything passed.
    """

    title: str
    checks: list[Check] = field(default_factory=list)
    untried: int = 0
    curves: replay.Curves | None = None
    hint: str = ""

    @property
    def diverges_at(self) -> int | None:
        """Of a run, the first step (from 1) at which the two losses differ by more than 1e-5, relative; None if never."""
        return self.curves.diverges_at if self.curves else None

    @property
    def passed(self) -> bool:
        """Whether every check passed, or the run does not diverge from the plain PyTorch loop."""
        return all(check.passed for check in self.checks) and self.diverges_at is None

    @property
    def failure(self) -> str | None:
        """How many checks failed, in a sentence; None where none did."""
        if self.untried:
            return f"{self.title}: the first check failed; the other {self.untried} were not tried."
        failed = sum(not check.passed for check in self.checks)
        return f"{self.title}: {failed} of {len(self.checks)} checks failed." if failed else None

    def __repr__(self) -> str:
        return self._run_text(self.curves) if self.curves else self._checks_text()

    def _checks_text(self) -> str:
        width = console().width
        rows = [[inert(check.name), "passed" if check.passed else "failed"] for check in self.checks]
        lines = [self.title, "", tabulate(rows, ["check", "verdict"], maxcolwidths=[width - 12, None]), ""]
        failed = [inert(f"{check.name}: {check.message}") for check in self.checks if not check.passed]
        lines += [textwrap.fill(line, width, subsequent_indent="  ") for line in failed]
        if self.untried:
            lines.append(f"The other {self.untried} checks were not tried.")
        if not failed:
            lines.append(f"All {len(self.checks)} checks passed{self.hint}")
        return "\n".join(lines)

    def _run_text(self, curves: replay.Curves) -> str:
        last, diverges = len(curves.fleet), curves.diverges_at
        steps = sorted({step for step in SHOWN if step <= last} | {diverges or 1, last})
        values = zip(curves.fleet, curves.plain, curves.differences, strict=True)
        texts = [(f"{fleet:.6f}", f"{plain:.6f}", f"{difference:.1e}") for fleet, plain, difference in values]
        rows = [(step, *texts[step - 1]) for step in steps]
        table = tabulate(rows, ["step", "fleet", "plain loop", "relative"], disable_numparse=True, stralign="right")
        verdict = f"does not diverge within {last} steps from the plain PyTorch loop"
        if diverges:
            verdict = f"diverges from the plain PyTorch loop at step {diverges}"
        unit = f"Training loss, nats per answer token. The fleet {verdict} (by more than {replay.CLOSE:g}, relative)."
        width = min(console().width, 100)
        return "\n".join([self.title, "", table, "", textwrap.fill(unit, width), textwrap.fill(curves.meaning, width)])


def verify(
    optimizer: OptimizerLike | None = None, *, task: str | Path | None = None, run: str | None = None,
    out: str | Path = "synthbench-results", steps: int = 50, settings: Mapping[str, Any] | None = None,
) -> Verification:  # fmt: skip
    """Checks an optimizer, the data of a task, or a stored run.

    Args:
        optimizer: The optimizer to check: a name, `path/file.py:Class`, a `torch.optim.Optimizer` class or what
            `matrix_optimizer` and `fleet_optimizer` make. With `run`, the plug-in that the run was trained by.
        task: The task whose data to check, by name or by path of its card. With `run`, the run's task, needed where its
            card names code.
        run: The beginning of a run's id. The run is trained again as a fleet of one and in a plain PyTorch loop.
        out: The folder of results that has the run.
        steps: How many steps of the run, at least 1.
        settings: Of an optimizer to check, values in place of its defaults, such as `{"optimizer.momentum": 0.9}` and, for
            a plug-in, `{"routing": "hidden"}`.

    Returns:
        A Verification with `passed`, `checks` and, for a run, `curves` and `diverges_at`. Its repr is a table.

    Raises:
        BadInput: For what is not allowed or not found, in one sentence.
    """
    if settings and (optimizer is None or run is not None):
        raise BadInput("verify: --set goes with --optimizer alone; a run has the settings that it was trained with.")
    if steps < 1:
        raise BadInput(f"verify: steps = {steps} must be at least 1.")
    if run is not None:
        return _run(run, Path(out), optimizer, None if task is None else str(task), steps)
    if task is not None and optimizer is None:
        from synthbench.verification import tasks

        return Verification(named(task), _checks(tasks.outcomes(str(task))), hint=".")
    if task is not None or optimizer is None:
        raise BadInput("verify: give a run (the beginning of its id), or --optimizer, or --task, to check.")
    return _optimizer(optimizer, settings or {})


def _checks(outcomes: Iterable[tuple[str, str | None]]) -> list[Check]:
    return [Check(name, failure is None, failure or "") for name, failure in outcomes]


def _optimizer(optimizer: OptimizerLike, settings: Mapping[str, Any]) -> Verification:
    from synthbench.verification import conformance

    name = conformance.candidate(optimizer, settings)
    checks = _checks(conformance.outcomes(name))
    words = ["synthbench", "run", "--optimizer", optimizer if isinstance(optimizer, str) else name]
    for setting in overrides.typed(settings):
        words += ["--set", setting]
    hint = f"; next: {inert(shlex.join(words))}" if isinstance(optimizer, str) else "."
    return Verification(named(name), checks, len(conformance.CHECKS) - len(checks), hint=hint)


def _run(prefix: str, out: Path, optimizer: OptimizerLike | None, task: str | None, steps: int) -> Verification:
    with closing(Store.read(out)) as store:
        run, card = replay.read_run(store, prefix, task)
        replay.load_optimizer(run, optimizer)
        with preserved_settings():
            curves = replay.replay(store, run, card, min(steps, run.steps))
    what = f"{run.stage} of {named(run.task)}, {named(run.optimizer.name)}, {run.update}"
    return Verification(f"{what}, lr {run.lr:g}, seed {run.seed}", curves=curves)
