"""The walk that follows what is done run by run has the cells that one from the start has; ids are those of the runs."""

from __future__ import annotations

import random
from pathlib import Path

from synthbench.cards import fingerprint
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Result, Run
from synthbench.experiment.walk import Walk
from tests import tiny
from tests.each import each

SHARE = "variants.half={of='adamw', of_tuned=0.5}"
CARDS = {
    "one rate": (),
    "rates to choose": ("stages.pretrain.lr=[1e-3, 2e-3, 4e-3]",),
    "grids that grow": ("stages.pretrain.lr=[1e-3, 2e-3]", "stages.pretrain.extend=2", "stages.finetune.extend=2"),
    "updates": ("stages.finetune.update=['full', 'lora-4']",),
    "a share of a chosen rate": ("optimizers=['adamw', 'half']", SHARE),
    "an axis": (tiny.axis("stages.pretrain.weight_decay", [0.0, 0.1]),),
}


def outcome(run: Run, rng: random.Random) -> Result:
    scores = {"validation_learning": rng.choice([0.2, 0.5, 0.9]), "validation_loss": rng.random()}
    path = {0: {"fit": 0.0}, 4: {"fit": rng.random()}, 10: {"fit": 1.0}}
    return Result(run.id, "diverged" if rng.random() < 0.1 else "ok", scores, path)


def state(walk: Walk) -> tuple[object, set[str]]:
    return {cell: [run.id for run in runs] for cell, runs in walk.cells.items()}, {run.id for run in walk.ready}


@each(("name", "seed"), [(name, seed) for name in CARDS for seed in range(3)])
def test_a_walk_that_follows_equals_one_from_the_start(name: str, seed: int, tmp_path: Path) -> None:
    experiment, rng = tiny.experiment(tmp_path, *CARDS[name]), random.Random(seed)
    done: dict[str, Result] = {}
    walk = Plan(experiment, done).walk()
    for _ in range(200):
        if done and rng.random() < 0.1:  # weights are lost
            lost = [rng.choice(sorted(done))]
            del done[lost[0]]
            walk.forgotten(lost)
        elif ready := [*walk.ready]:
            runs = rng.sample(ready, rng.randint(1, min(3, len(ready))))
            done |= {run.id: outcome(run, rng) for run in runs}
            walk.finished([run.id for run in runs])
        else:
            break
        assert state(walk) == state(Plan(experiment, done).walk())
        assert {run.id for run in walk.ready} == {run.id for run in Plan(experiment, done).ready()}
        assert len(walk.ready) == len([*walk.ready])
    else:
        assert len(done) > 10


def every_run(experiment: Experiment) -> list[Run]:
    return [run for runs in Plan(experiment, {}).whole().values() for run in runs]


@each("name", CARDS)
def test_ids_and_kinds_are_the_hashes_of_the_runs(name: str, tmp_path: Path) -> None:
    runs = every_run(tiny.experiment(tmp_path, *CARDS[name]))
    assert runs
    for run in runs:
        assert run.id == fingerprint(run.identity)
        fresh = Run(**{name: getattr(run, name) for name in Run.__dataclass_fields__})
        assert (fresh.id, fresh.kind) == (run.id, run.kind)


def test_a_run_that_was_taken_and_put_back_is_ready_again(tmp_path: Path) -> None:
    walk = Plan(tiny.experiment(tmp_path), {}).walk()
    first, *others = walk.ready
    walk.ready.discard(first)
    assert [*walk.ready] == others
    walk.put_back(first)
    assert {run.id for run in walk.ready} == {run.id for run in (first, *others)}


def test_a_finished_fleet_is_looked_at_without_looking_at_other_cells(tmp_path: Path) -> None:
    """What a fleet costs does not grow with the study."""
    tasks = "stages.finetune.update=['full', 'lora-2', 'lora-4', 'lora-8']"
    experiment = tiny.experiment(tmp_path, tasks)
    done: dict[str, Result] = {}
    walk = Plan(experiment, done).walk()
    looked_at: list[object] = []
    original = walk._runs
    walk._runs = lambda node: looked_at.append(node) or original(node)  # type: ignore[method-assign, func-returns-value]
    bases = [run.id for run in walk.ready]
    done |= dict.fromkeys(bases, Result("", "ok", {"validation_learning": 0.5, "validation_loss": 1.0}))
    walk.finished(bases)
    assert len(looked_at) == 5  # the base's and those behind it
    looked_at.clear()
    one = next(iter(walk.ready))
    done[one.id] = done[bases[0]]
    walk.finished([one.id])
    assert not looked_at
