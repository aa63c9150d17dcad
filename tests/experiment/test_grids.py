"""A dry run prints exactly the rates of the plan."""

from __future__ import annotations

from synthbench.experiment.grids import described
from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, resolve
from tests.each import each


@each("runner", ["quick", "planted", "sizes", "leaderboard", "tail"])
def test_every_planned_rate_is_printed_and_no_other(runner: str) -> None:
    experiment = resolve(RunRequest(runner, seeds=1, device="cpu"))
    lines = described(experiment.card, Plan(experiment, {}).whole())
    for stage in experiment.card.stages:
        planned = {(run.update, f"{run.lr:.6g}") for run in Plan(experiment, {}).remaining() if run.stage == stage.name}
        printed = set()
        for line in lines[stage.name]:
            variant_and_update, _, rates = line.partition(": lr ")
            if "times the rate" not in rates:
                words = rates.replace(",", " ").replace(";", " ").split()
                printed |= {(variant_and_update.split(", ")[1], word) for word in words if word[0].isdigit()}
        tuned = {variant.of_tuned for variant in experiment.card.variants.values()} - {None}
        assert printed == planned or (tuned and printed < planned), stage.name


def test_rates_that_differ_by_task_are_printed_by_task() -> None:
    settings = [
        "variants.slow={of='adamw', of_tuned=0.25}", "optimizers=['adamw', 'slow']",
        "stages.finetune.lr.adamw=[1e-3, 2e-3]",
        "stages.finetune.for.wugs.lr_factor=0.5", "stages.finetune.extend=2",
    ]  # fmt: skip
    request = RunRequest("quick", ["adamw"], ["rote-vs-rule", "wugs"], ["full"], settings=settings, device="cpu")
    experiment = resolve(request)
    assert described(experiment.card, Plan(experiment, {}).whole())["finetune"] == [
        "adamw, full: lr 0.001, 0.002 (rote-vs-rule); 0.0005, 0.001 (wugs)",
        "slow, full: lr 0.25 times the rate chosen for adamw",
        "and up to 2 more where the fit is not reached both before and after a target step",
    ]


def test_rows_on_other_bases_are_named_with_them_as_in_tables() -> None:
    """A variant that has a base of its own, and is crossed with the optimizer's, too."""
    experiment = resolve(RunRequest("consistency", seeds=1, device="cpu"))
    lines = described(experiment.card, Plan(experiment, {}).whole())["finetune"]
    names = {line.partition(",")[0] for line in lines}
    assert {"adamw-again", "adamw-again on adamw", "adamw on adamw-again"} <= names
