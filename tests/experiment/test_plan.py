"""The planner: parents first, children from the chosen rate, none after a divergence, alike for every optimizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from synthbench.experiment.choice import Choice, choose
from synthbench.experiment.plan import Experiment, Plan
from synthbench.experiment.runs import Cell, Result, Run
from tests import tiny
from tests.each import each

TWO_RATES = "stages.pretrain.lr=[1e-3, 2e-3]"
BOTH = "optimizers=['adamw', 'muon']"
Outcome = Callable[[Run], Result]


def ok(run: Run, learning: float = 0.5, loss: float = 1.0) -> Result:
    return Result(run.id, "ok", {"validation_learning": learning, "validation_loss": loss})


def diverged(run: Run) -> Result:
    return Result(run.id, "diverged")


def play(experiment: Experiment, outcome: Outcome = ok) -> list[list[Run]]:
    """Runs everything that can start, wave by wave, until the planner has nothing left."""
    waves, done = list[list[Run]](), dict[str, Result]()
    while runs := Plan(experiment, done).ready():
        assert len(waves) < 10, "the planner does not end"
        assert not {run.id for run in runs} & done.keys(), "a finished run was planned again"
        done |= {run.id: outcome(run) for run in runs}
        waves.append(runs)
    return waves


def finished(experiment: Experiment, outcome: Outcome = ok) -> dict[str, Result]:
    return {run.id: outcome(run) for wave in play(experiment, outcome) for run in wave}


def cells(experiment: Experiment, stage: str) -> dict[Cell, list[Run]]:
    """The cells of a stage with their runs, once everything is done."""
    return {cell: runs for cell, runs in Plan(experiment, finished(experiment)).cells().items() if cell.stage == stage}


def of(experiment: Experiment, optimizer: str, stage: str = "finetune") -> list[Run]:
    return [run for cell, runs in cells(experiment, stage).items() if cell.optimizer == optimizer for run in runs]


def rising(run: Run) -> Result:
    """The higher the rate, the more is learned."""
    return ok(run, min(1.0, 20 * run.lr))


def test_at_first_only_runs_without_parents_can_start_and_children_once_that_of_their_seed_is_done(
    tmp_path: Path,
) -> None:
    experiment = tiny.experiment(tmp_path)
    runs = Plan(experiment, {}).ready()
    assert [(run.stage, run.seed, run.parent, run.history) for run in sorted(runs, key=lambda run: run.seed)] == [
        ("pretrain", 0, None, ()), ("pretrain", 1, None, ())
    ]  # fmt: skip
    first = runs[0]
    runs = Plan(experiment, {first.id: ok(first)}).ready()
    assert {(run.stage, run.seed, run.parent, run.history) for run in runs} == {
        ("pretrain", 1 - first.seed, None, ()), ("finetune", first.seed, first.id, ("pretrain",))
    }  # fmt: skip


def test_a_stage_with_several_rates_is_waited_for_until_every_rate_and_seed_is_done(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, TWO_RATES)
    parents = Plan(experiment, {}).ready()
    done: dict[str, Result] = {}
    for run in parents:
        assert {next_.stage for next_ in Plan(experiment, done).ready()} == {"pretrain"}
        done[run.id] = ok(run)
    assert {run.stage for run in Plan(experiment, done).ready()} == {"finetune"}


@each("best", [1e-3, 2e-3])
def test_children_start_from_the_chosen_rate_of_their_own_seed(tmp_path: Path, best: float) -> None:
    experiment = tiny.experiment(tmp_path, TWO_RATES)
    parents, children = play(experiment, lambda run: ok(run, 0.9 if run.lr == best else 0.1))
    by_id = {run.id: run for run in parents}
    assert {(by_id[run.parent or ""].lr, by_id[run.parent or ""].seed - run.seed) for run in children} == {(best, 0)}


def test_children_of_a_diverged_parent_never_start_and_those_of_other_seeds_do(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "seeds=3")
    waves = play(experiment, lambda run: diverged(run) if run.stage == "pretrain" and run.seed == 1 else ok(run))
    assert [{run.seed for run in wave} for wave in waves] == [{0, 1, 2}, {0, 2}]
    assert len(play(experiment, diverged)) == 1


def test_children_of_a_seed_that_diverged_at_the_chosen_rate_never_start(tmp_path: Path) -> None:
    def outcome(run: Run) -> Result:
        return diverged(run) if (run.stage, run.seed, run.lr) == ("pretrain", 1, 2e-3) else ok(run, 300 * run.lr)

    waves = play(tiny.experiment(tmp_path, TWO_RATES, "seeds=3"), outcome)
    assert {run.seed for run in waves[1]} == {0, 2}


@each("settings", [(), (TWO_RATES, BOTH), ("stages.finetune.update=['full', 'lora-4']",)])
def test_the_plan_ends_and_walks_every_run_that_was_done(tmp_path: Path, settings: tuple[str, ...]) -> None:
    experiment = tiny.experiment(tmp_path, *settings)
    done = finished(experiment)
    plan = Plan(experiment, done)
    assert plan.ready() == []
    assert {run.id for runs in plan.cells().values() for run in runs} == done.keys()


@each("settings", [(), (TWO_RATES,), ("stages.finetune.update=['full', 'lora-4']", TWO_RATES)])
def test_every_optimizer_gets_equally_many_rates_seeds_and_steps(tmp_path: Path, settings: tuple[str, ...]) -> None:
    experiment = tiny.experiment(tmp_path, "optimizers=['adamw', 'muon', 'sgd']", *settings)
    runs = [run for wave in play(experiment) for run in wave]
    trials = Counter((run.optimizer.name, run.stage, run.update, run.seed) for run in runs)
    for (_, stage, update, seed), count in trials.items():
        assert {trials[name, stage, update, seed] for name in ("adamw", "muon", "sgd")} == {count}
    steps = Counter[str]()
    for run in runs:
        steps[run.optimizer.name] += run.steps
    assert len(set(steps.values())) == 1


def test_what_one_optimizer_does_differently_in_a_stage_is_its_alone(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, "stages.pretrain.for.muon={steps=24, weight_decay=0.5}")
    runs = Plan(experiment, {}).ready()
    assert {(run.optimizer.name, run.steps, run.weight_decay) for run in runs} == {
        ("adamw", 12, 0.0),
        ("muon", 24, 0.5),
    }


def test_a_stage_with_optimizers_of_its_own_starts_them_from_every_base(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, "stages.finetune.optimizer=['muon', 'sgd']", "seeds=1")
    parents, children = play(experiment)
    names = {run.id: run.optimizer.name for run in parents}
    crossed = Counter((names[run.parent or ""], run.optimizer.name) for run in children)
    assert crossed == {(base, own): 2 for base in ("adamw", "muon") for own in ("muon", "sgd")}
    assert {(cell.base, cell.optimizer) for cell in cells(experiment, "finetune")} == {((b,), o) for b, o in crossed}


def test_a_seed_keeps_its_runs_whatever_other_seeds_and_optimizers_are_asked_for(tmp_path: Path) -> None:
    few = {run.id for wave in play(tiny.experiment(tmp_path, "seeds=[1]")) for run in wave}
    many = {run.id for wave in play(tiny.experiment(tmp_path, "seeds=[0, 1, 5]", BOTH)) for run in wave}
    assert few < many


@each(
    "settings",
    [
        (),
        (TWO_RATES, "seeds=3"),
        (BOTH, TWO_RATES, "stages.finetune.update=['full', 'full-hidden', 'lora-4']"),
        (BOTH, "stages.finetune.optimizer=['adamw', 'sgd']", "stages.finetune.weight_decay=[0.0, 0.1]"),
    ],
)
@each("seed", range(3))
def test_the_forecast_counts_the_runs_that_an_execution_trains(
    tmp_path: Path, settings: tuple[str, ...], seed: int
) -> None:
    experiment, random = tiny.experiment(tmp_path, *settings), Random(seed)
    trained = [run for wave in play(experiment, lambda run: ok(run, random.random())) for run in wave]
    foreseen = Plan(experiment, {}).remaining()
    assert Counter((run.stage, run.optimizer.name, run.update, run.seed, run.steps) for run in foreseen) == Counter(
        (run.stage, run.optimizer.name, run.update, run.seed, run.steps) for run in trained
    )
    assert len({run.id for run in foreseen}) == len(foreseen)


def test_the_forecast_leaves_out_what_is_done(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, TWO_RATES)
    done = finished(experiment)
    assert Plan(experiment, done).remaining() == []
    *_, last = done
    assert [run.id for run in Plan(experiment, {id_: done[id_] for id_ in done if id_ != last}).remaining()] == [last]


def at(learning: float, loss: float = 1.0) -> Outcome:
    return lambda run: ok(run, learning, loss)


def half(learning: float) -> Outcome:
    """One seed of two diverged."""
    return lambda run: diverged(run) if run.seed else ok(run, learning)


@each(
    ("outcomes", "choice"),
    [
        ([at(0.2), at(0.8), at(0.5)], Choice(2.0, False)),  # the best
        ([at(0.8), at(0.5), at(0.2)], Choice(1.0, True)),  # at the lower edge
        ([at(0.2), at(0.5), at(0.8)], Choice(3.0, True)),  # at the upper edge
        ([at(0.5)], Choice(1.0, False)),  # one rate has no edge
        ([at(0.5, 2.0), at(0.505, 3.0), at(0.495, 1.0)], Choice(3.0, True)),  # within .01: the lower loss
        ([at(0.2, 0.0), at(0.505, 3.0), at(0.5, 2.0)], Choice(3.0, True)),  # a low loss alone does not count
        ([at(0.1), at(0.5), at(0.5), at(0.5)], Choice(2.0, False)),  # equal in both: the lower rate
        ([at(0.3), half(0.5), at(0.2)], Choice(1.0, True)),  # a diverged seed counts as 0: .25
        ([at(0.2), half(0.5), at(0.2)], Choice(2.0, False)),
        ([at(0.3, 9.0), half(0.6), at(0.2)], Choice(1.0, True)),  # .3 each; a diverged seed's loss is infinite
        ([diverged, at(0.0), diverged], Choice(2.0, False)),  # nothing learned is better than diverged
        ([diverged, at(0.0)], Choice(2.0, True)),
        ([diverged, diverged], None),
        # ties end at a hundredth: .49 is tied with .5 and has the lower loss; .489 is not
        ([at(0.0), at(0.5, 2.0), at(0.4901, 1.0), at(0.0)], Choice(3.0, False)),
        ([at(0.0), at(0.5, 2.0), at(0.489, 1.0), at(0.0)], Choice(2.0, False)),
    ],
)
def test_the_chosen_rate_learned_most_then_lost_least_then_is_the_lowest(
    tmp_path: Path, outcomes: list[Outcome], choice: Choice | None
) -> None:
    """Of two seeds at rates 1, 2, 3, ... whose results the outcomes say."""
    rates = [float(rate) for rate in range(1, len(outcomes) + 1)]
    runs = Plan(tiny.experiment(tmp_path, f"stages.pretrain.lr={rates}"), {}).ready()
    done = {run.id: outcomes[int(run.lr) - 1](run) for run in runs}
    assert choose(runs, done) == choose(runs[::-1], done) == choice
    assert choose(runs, {}) is None
