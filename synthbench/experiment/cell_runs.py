"""The runs of a cell, made quickly: a study has a hundred thousand, and hashing all that each id stands for takes most of
the time of planning them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from hashlib import sha256

from synthbench.cards.base import canonical
from synthbench.experiment.runs import Run, RunId

VARYING = ("lr", "parent", "seed")  # what the runs of a cell differ in, in the order of canonical JSON


class CellRuns:
    """Makes the runs of a cell, each once. What they have in common is written and hashed once.

    like: any run of the cell.
    """

    def __init__(self, like: Run) -> None:
        self._common = {field.name: getattr(like, field.name) for field in fields(like)}
        self._kind = like.kind
        self._texts = list[str]()  # of the canonical JSON of an identity: what stands before each varying value
        self._made = dict[float, dict[tuple[int, RunId | None], Run]]()  # by rate, by seed and parent
        text, identity = "{", like.identity
        for number, key in enumerate(sorted(identity)):
            text += f"{',' * bool(number)}{canonical(key)}:"
            if key in VARYING:
                self._texts.append(text)
                text = ""
            else:
                text += canonical(identity[key])
        self._end = text + "}"

    def make(self, rates: Sequence[float], parents: dict[int, RunId | None]) -> list[Run]:
        """Rate after rate, of each seed. parents: by seed the run that it starts from, None from scratch."""
        return [run for lr in rates for run in self._at_rate(lr, parents)]

    def _at_rate(self, lr: float, parents: dict[int, RunId | None]) -> list[Run]:
        made, runs = self._made.setdefault(lr, {}), []
        before_lr, before_parent, before_seed = self._texts
        head = f"{before_lr}{canonical(lr)}{before_parent}"
        for start in parents.items():
            if (run := made.get(start)) is None:
                seed, parent = start
                run = made[start] = Run(**self._common | {"lr": lr, "seed": seed, "parent": parent})
                text = f"{head}{canonical(parent)}{before_seed}{seed}{self._end}"
                vars(run).update(id=sha256(text.encode()).hexdigest(), kind=self._kind)
            runs.append(run)
        return runs
