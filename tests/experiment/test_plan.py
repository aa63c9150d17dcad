"""The plan: parents first, children from the chosen rate, none after a divergence, the same for every optimizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random

from synthbench.experiment.choice import Choice, choose
from synthbench.experiment.plan import Experiment, Plan, growth
from synthbench.experiment.runs import Cell, Result, Run
from tests import tiny
from tests.each import each

TWO_RATES = "stages.pretrain.lr=[1e-3, 2e-3]"
BOTH = "optimizers=['adamw', 'muon']"
Outcome = Callable[[Run], Result]


def ok(run: Run, learning: float = 0.5, loss: float = 1.0, **forgetting: float) -> Result:
    return Result(run.id, "ok", {"validation_learning": learning, "validation_loss": loss, **forgetting})


def diverged(run: Run) -> Result:
    return Result(run.id, "diverged")


def simulate(experiment: Experiment, outcome: Outcome = ok) -> list[list[Run]]:
    """The runs of a plan, wave by wave: a wave is ready once `outcome` has given a result to every earlier run."""
    waves, done = list[list[Run]](), dict[str, Result]()
    while runs := Plan(experiment, done).ready():
        assert len(waves) < 10, "the plan does not end"
        assert not {run.id for run in runs} & done.keys(), "a finished run was planned again"
        done |= {run.id: outcome(run) for run in runs}
        waves.append(runs)
    return waves


def finished(experiment: Experiment, outcome: Outcome = ok) -> dict[str, Result]:
    return {run.id: outcome(run) for wave in simulate(experiment, outcome) for run in wave}


def cells(experiment: Experiment, stage: str) -> dict[Cell, list[Run]]:
    """The cells of a stage with their runs, once every run is done."""
    return {cell: runs for cell, runs in Plan(experiment, finished(experiment)).cells().items() if cell.stage == stage}


def runs_of(experiment: Experiment, optimizer: str, stage: str = "finetune") -> list[Run]:
    return [run for cell, runs in cells(experiment, stage).items() if cell.optimizer == optimizer for run in runs]


def rising(run: Run) -> Result:
    """Learning increases with the rate."""
    return ok(run, min(1.0, 20 * run.lr))


def test_a_child_is_ready_once_the_parent_of_its_seed_is_done(tmp_path: Path) -> None:
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


def test_children_wait_until_every_rate_and_seed_of_their_parents_is_done(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, TWO_RATES)
    parents = Plan(experiment, {}).ready()
    done: dict[str, Result] = {}
    for run in parents:
        assert {ready.stage for ready in Plan(experiment, done).ready()} == {"pretrain"}
        done[run.id] = ok(run)
    assert {run.stage for run in Plan(experiment, done).ready()} == {"finetune"}


@each("best", [1e-3, 2e-3])
def test_children_start_from_the_chosen_rate_at_their_seed(tmp_path: Path, best: float) -> None:
    experiment = tiny.experiment(tmp_path, TWO_RATES)
    parents, children = simulate(experiment, lambda run: ok(run, 0.9 if run.lr == best else 0.1))
    by_id = {run.id: run for run in parents}
    assert {(by_id[run.parent or ""].lr, by_id[run.parent or ""].seed - run.seed) for run in children} == {(best, 0)}


def test_children_of_a_diverged_parent_never_start_and_other_seeds_do(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, "seeds=3")
    waves = simulate(experiment, lambda run: diverged(run) if run.stage == "pretrain" and run.seed == 1 else ok(run))
    assert [{run.seed for run in wave} for wave in waves] == [{0, 1, 2}, {0, 2}]
    assert len(simulate(experiment, diverged)) == 1


def test_children_of_a_seed_that_diverged_at_the_chosen_rate_never_start(tmp_path: Path) -> None:
    def outcome(run: Run) -> Result:
        return diverged(run) if (run.stage, run.seed, run.lr) == ("pretrain", 1, 2e-3) else ok(run, 300 * run.lr)

    waves = simulate(tiny.experiment(tmp_path, TWO_RATES, "seeds=3"), outcome)
    assert {run.seed for run in waves[1]} == {0, 2}


@each("settings", [(), (TWO_RATES, BOTH), ("stages.finetune.update=['full', 'lora-4']",)])
def test_the_plan_ends_and_its_cells_hold_every_run(tmp_path: Path, settings: tuple[str, ...]) -> None:
    experiment = tiny.experiment(tmp_path, *settings)
    done = finished(experiment)
    plan = Plan(experiment, done)
    assert plan.ready() == []
    assert {run.id for runs in plan.cells().values() for run in runs} == done.keys()


@each("settings", [(), (TWO_RATES,), ("stages.finetune.update=['full', 'lora-4']", TWO_RATES)])
def test_every_optimizer_gets_equally_many_rates_seeds_and_steps(tmp_path: Path, settings: tuple[str, ...]) -> None:
    experiment = tiny.experiment(tmp_path, "optimizers=['adamw', 'muon', 'sgd']", *settings)
    runs = [run for wave in simulate(experiment) for run in wave]
    trials = Counter((run.optimizer.name, run.stage, run.update, run.seed) for run in runs)
    for (_, stage, update, seed), count in trials.items():
        assert {trials[name, stage, update, seed] for name in ("adamw", "muon", "sgd")} == {count}
    steps = Counter[str]()
    for run in runs:
        steps[run.optimizer.name] += run.steps
    assert len(set(steps.values())) == 1


def test_a_stage_override_applies_to_its_optimizer_only(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, "stages.pretrain.for.muon={steps=24, weight_decay=0.5}")
    runs = Plan(experiment, {}).ready()
    assert {(run.optimizer.name, run.steps, run.weight_decay) for run in runs} == {
        ("adamw", 12, 0.0),
        ("muon", 24, 0.5),
    }


def test_a_stage_with_its_own_optimizers_starts_each_from_every_base(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, "stages.finetune.optimizer=['muon', 'sgd']", "seeds=1")
    parents, children = simulate(experiment)
    names = {run.id: run.optimizer.name for run in parents}
    crossed = Counter((names[run.parent or ""], run.optimizer.name) for run in children)
    assert crossed == {(base, name): 2 for base in ("adamw", "muon") for name in ("muon", "sgd")}
    assert {(cell.base, cell.optimizer) for cell in cells(experiment, "finetune")} == {((b,), o) for b, o in crossed}


def test_a_seed_has_the_same_runs_beside_other_seeds_and_optimizers(tmp_path: Path) -> None:
    one_seed = {run.id for wave in simulate(tiny.experiment(tmp_path, "seeds=[1]")) for run in wave}
    more = {run.id for wave in simulate(tiny.experiment(tmp_path, "seeds=[0, 1, 5]", BOTH)) for run in wave}
    assert one_seed < more


@each(
    "settings",
    [
        (),
        (TWO_RATES, "seeds=3"),
        (BOTH, TWO_RATES, "stages.finetune.update=['full', 'full-hidden', 'lora-4']"),
        (BOTH, "stages.finetune.optimizer=['adamw', 'sgd']", tiny.axis("stages.finetune.weight_decay", [0.0, 0.1])),
    ],
)
@each("seed", range(3))
def test_the_forecast_counts_the_runs_that_are_trained(tmp_path: Path, settings: tuple[str, ...], seed: int) -> None:
    experiment, random = tiny.experiment(tmp_path, *settings), Random(seed)
    trained = [run for wave in simulate(experiment, lambda run: ok(run, random.random())) for run in wave]
    forecast = Plan(experiment, {}).remaining()
    assert Counter((run.stage, run.optimizer.name, run.update, run.seed, run.steps) for run in forecast) == Counter(
        (run.stage, run.optimizer.name, run.update, run.seed, run.steps) for run in trained
    )
    assert len({run.id for run in forecast}) == len(forecast)


def test_the_forecast_omits_finished_runs(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, TWO_RATES)
    done = finished(experiment)
    assert Plan(experiment, done).remaining() == []
    *_, last = done
    assert [run.id for run in Plan(experiment, {id_: done[id_] for id_ in done if id_ != last}).remaining()] == [last]


def learned(learning: float, loss: float = 1.0) -> Outcome:
    return lambda run: ok(run, learning, loss)


def forgot(learning: float, loss: float = 1.0, **forgetting: float) -> Outcome:
    return lambda run: ok(run, learning, loss, **forgetting)


def half_diverged(learning: float) -> Outcome:
    """One of two seeds diverges."""
    return lambda run: diverged(run) if run.seed else ok(run, learning)


@each(
    ("outcomes", "choice"),
    [
        ([learned(0.2), learned(0.8), learned(0.5)], Choice(2.0, False)),  # the best
        ([learned(0.8), learned(0.5), learned(0.2)], Choice(1.0, True)),  # at the lower edge
        ([learned(0.2), learned(0.5), learned(0.8)], Choice(3.0, True)),  # at the upper edge
        ([learned(0.5)], Choice(1.0, False)),  # one rate has no edge
        # learning within 0.01: the lower loss
        ([learned(0.5, 2.0), learned(0.505, 3.0), learned(0.495, 1.0)], Choice(3.0, True)),
        # a low loss alone does not count
        ([learned(0.2, 0.0), learned(0.505, 3.0), learned(0.5, 2.0)], Choice(3.0, True)),
        # equal in both: the lower rate
        ([learned(0.1), learned(0.5), learned(0.5), learned(0.5)], Choice(2.0, False)),
        # a diverged seed counts as 0, here 0.25 on average
        ([learned(0.3), half_diverged(0.5), learned(0.2)], Choice(1.0, True)),
        ([learned(0.2), half_diverged(0.5), learned(0.2)], Choice(2.0, False)),
        # 0.3 each, and the loss of a diverged seed is infinite
        ([learned(0.3, 9.0), half_diverged(0.6), learned(0.2)], Choice(1.0, True)),
        # learning 0 is better than divergence
        ([diverged, learned(0.0), diverged], Choice(2.0, False)),
        ([diverged, learned(0.0)], Choice(2.0, True)),
        ([diverged, diverged], None),
        # 0.4901 is tied with 0.5 and has the lower loss; 0.489 is not tied
        ([learned(0.0), learned(0.5, 2.0), learned(0.4901, 1.0), learned(0.0)], Choice(3.0, False)),
        ([learned(0.0), learned(0.5, 2.0), learned(0.489, 1.0), learned(0.0)], Choice(2.0, False)),
        # three learn everything: the one that forgets least, 0.25 on average, whatever its loss
        (
            [
                forgot(1.0, 1.0, fact_forgetting=0.4, skill_forgetting=0.2),
                forgot(0.999, 3.0, fact_forgetting=0.1, skill_forgetting=0.4),
                forgot(1.0, 1.0, fact_forgetting=0.5, skill_forgetting=0.1),
                forgot(0.98, 0.0, fact_forgetting=0.0, skill_forgetting=0.0),
            ],
            Choice(2.0, False),
        ),
        # only facts are there to be forgotten; equal forgetting: the lower loss
        (
            [
                forgot(1.0, fact_forgetting=0.3),
                forgot(1.0, 0.6, fact_forgetting=0.2),
                forgot(1.0, 0.5, fact_forgetting=0.2),
            ],
            Choice(3.0, True),
        ),
    ],
)
def test_the_chosen_rate_learns_most_then_forgets_least_then_has_the_lowest_loss(
    tmp_path: Path, outcomes: list[Outcome], choice: Choice | None
) -> None:
    """Two seeds at rates 1, 2, 3, ... with one outcome for every rate."""
    rates = [float(rate) for rate in range(1, len(outcomes) + 1)]
    runs = Plan(tiny.experiment(tmp_path, f"stages.pretrain.lr={rates}"), {}).ready()
    done = {run.id: outcomes[int(run.lr) - 1](run) for run in runs}
    assert choose(runs, done) == choose(runs[::-1], done) == choice
    assert choose(runs, {}) is None


def test_work_grows_with_every_rate_beyond_the_edges_of_grids(tmp_path: Path) -> None:
    """Of two seeds, bases of 12 steps, and finetuned models of 10 at two rates; then at up to three more."""
    for extend, expected in ((0, 1.0), (3, (2 * 12 + 2 * 5 * 10) / (2 * 12 + 2 * 2 * 10))):
        experiment = tiny.experiment(tmp_path, f"stages.finetune.extend={extend}")
        assert growth(experiment, Plan(experiment, {}).whole()) == expected
