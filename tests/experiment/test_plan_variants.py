"""Variants: named configurations of an optimizer with other arguments, rates, randomness or another base."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthbench.common.errors import BadInput
from synthbench.execution import fleet_setup
from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.experiment.runs import Result, Run
from tests import tiny
from tests.each import each
from tests.experiment.test_plan import cells, diverged, ok, rising, runs_of, simulate

BOTH = "optimizers=['adamw', 'variant']"


def test_a_variant_overrides_arguments_of_its_optimizer(tmp_path: Path) -> None:
    experiment = tiny.experiment(
        tmp_path, BOTH, "variants.variant={of='adamw', arguments={eps=1e-4}}", "arguments.adamw={betas=[0.5, 0.6]}"
    )
    variant, optimizer = (runs_of(experiment, name)[0].optimizer.arguments for name in ("variant", "adamw"))
    assert (variant["eps"], optimizer["eps"]) == (1e-4, 1e-8)
    assert variant["betas"] == optimizer["betas"] == [0.5, 0.6]
    assert {run.optimizer.name for run in runs_of(experiment, "variant")} == {"adamw"}


@each(("base", "factor"), [("adamw", 1.0), ("variant", 1.0), ("adamw", 2.0)])
def test_a_variants_rates_apply_to_the_last_stage_only_and_no_task_scales_them(
    tmp_path: Path, base: str, factor: float
) -> None:
    experiment = tiny.experiment(
        tmp_path, BOTH, f"variants.variant={{of='adamw', lr=[0.25], base='{base}'}}",
        f"stages.finetune.for={{tiny-task={{lr_factor={factor}}}}}",
    )  # fmt: skip
    assert {run.lr for run in runs_of(experiment, "variant")} == {0.25}
    assert {run.lr for run in runs_of(experiment, "adamw")} == {factor * 1e-3, factor * 2e-3}
    assert {run.lr for runs in cells(experiment, "pretrain").values() for run in runs} == {1e-3}


def test_variants_start_from_their_optimizers_pretraining_which_is_planned_once(tmp_path: Path) -> None:
    experiment = tiny.experiment(
        tmp_path, "optimizers=['variant', 'adamw', 'other']", "variants.variant={of='adamw', arguments={eps=1e-4}}",
        "variants.other={of='adamw', arguments={eps=1e-3}, salt='again'}",
    )  # fmt: skip
    pretrained, finetuned = simulate(experiment)
    assert {(run.optimizer.arguments["eps"], run.salt) for run in pretrained} == {(1e-8, "")}
    assert [run.seed for run in pretrained] == [0, 1]
    assert {run.parent for run in finetuned} == {run.id for run in pretrained}
    assert len(finetuned) == 3 * 2 * 2  # names, rates, seeds
    assert {cell.base for cell in cells(experiment, "finetune")} == {("adamw",)}


@each(
    ("base", "name", "eps"),
    [(None, "adamw", 1e-8), ("muon", "muon", 1e-8), ("adamw", "adamw", 1e-8), ("variant", "adamw", 1e-4)],
)
def test_a_variant_starts_from_its_base_a_variant_or_an_optimizer(
    tmp_path: Path, base: str | None, name: str, eps: float
) -> None:
    option = f", base='{base}'" if base else ""
    experiment = tiny.experiment(
        tmp_path, "optimizers=['variant']", f"variants.variant={{of='adamw', arguments={{eps=1e-4}}{option}}}"
    )
    (start,) = cells(experiment, "pretrain")
    parents = {run.id: run for run in cells(experiment, "pretrain")[start]}
    assert start.optimizer == base or base is None
    default_ids = {run.id for run in Plan(tiny.experiment(tmp_path), {}).ready()}
    assert (parents.keys() == default_ids) == (base in (None, "adamw"))
    assert {(run.optimizer.name, run.optimizer.arguments["eps"]) for run in parents.values()} == {(name, eps)}
    (cell,) = cells(experiment, "finetune")
    assert (cell.base, cell.optimizer) == ((base or "adamw",), "variant")
    assert {parents[run.parent or ""].seed - run.seed for run in cells(experiment, "finetune")[cell]} == {0}


def test_a_salt_changes_order_and_adapters_and_neither_data_nor_parents(tmp_path: Path) -> None:
    experiment = tiny.experiment(
        tmp_path, BOTH, "variants.variant={of='adamw', salt='again'}", "stages.finetune.update=['lora-4']", "seeds=1"
    )
    plain, salted = runs_of(experiment, "adamw")[0], runs_of(experiment, "variant")[0]
    assert (plain.salt, salted.salt, plain.lr) == ("", "again", salted.lr)
    assert plain.parent == salted.parent
    assert plain.id != salted.id
    plain_data, salted_data = (fleet_setup.data(experiment.tasks["tiny-task"], [run]) for run in (plain, salted))
    assert np.array_equal(plain_data.tokens_KNL, salted_data.tokens_KNL)
    assert not np.array_equal(plain_data.order_KTB, salted_data.order_KTB)
    assert fleet_setup.seed_of(plain, "adapters") != fleet_setup.seed_of(salted, "adapters")
    assert plain.kind == salted.kind  # they may share a fleet


def test_a_variant_without_differences_shares_every_run(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, "variants.variant={of='adamw'}")
    runs = [run for wave in simulate(experiment) for run in wave]
    assert len({run.id for run in runs}) == len(runs) == 2 + 4
    variant_runs, optimizer_runs = (cells(experiment, "finetune")[cell] for cell in cells(experiment, "finetune"))
    assert [run.id for run in variant_runs] == [run.id for run in optimizer_runs]
    assert len(Plan(experiment, {}).remaining()) == 6


def test_a_variant_has_the_overrides_of_its_optimizer(tmp_path: Path) -> None:
    experiment = tiny.experiment(
        tmp_path, BOTH, "variants.variant={of='muon'}", "stages.finetune.for.muon={steps=20, weight_decay=0.5}"
    )
    assert {(run.steps, run.weight_decay) for run in runs_of(experiment, "variant")} == {(20, 0.5)}
    assert {(run.steps, run.weight_decay) for run in runs_of(experiment, "adamw")} == {(10, 0.0)}


def test_a_stage_s_table_of_a_variant_comes_after_that_of_its_optimizer(tmp_path: Path) -> None:
    overrides = "adamw={steps=20, weight_decay=0.5, lr_factor=2.0}, variant={steps=30, lr_factor=3.0}"
    both = f"{overrides}, 'tiny-task/adamw'={{steps=40}}, 'tiny-task/variant'={{weight_decay=0.25}}"
    for table, of_variant, of_optimizer in ((overrides, (30, 0.5), (20, 0.5)), (both, (40, 0.25), (40, 0.5))):
        experiment = tiny.experiment(
            tmp_path, BOTH, "variants.variant={of='adamw', salt='again'}", f"stages.finetune.for={{{table}}}"
        )
        variant, optimizer = runs_of(experiment, "variant"), runs_of(experiment, "adamw")
        assert {(run.steps, run.weight_decay) for run in variant} == {of_variant}
        assert {(run.steps, run.weight_decay) for run in optimizer} == {of_optimizer}
        assert ({run.lr for run in variant}, {run.lr for run in optimizer}) == ({6e-3, 1.2e-2}, {2e-3, 4e-3})


def test_a_table_of_a_variant_holds_in_pretraining_where_the_variant_is_its_own_base(tmp_path: Path) -> None:
    for base, steps in (("variant", {8}), ("adamw", {12})):
        experiment = tiny.experiment(
            tmp_path, BOTH, f"variants.variant={{of='adamw', base='{base}'}}", "stages.pretrain.for.variant.steps=8"
        )
        pretrained = {run.id: run.steps for runs in cells(experiment, "pretrain").values() for run in runs}
        assert {pretrained[run.parent or ""] for run in runs_of(experiment, "variant")} == steps
        assert {pretrained[run.parent or ""] for run in runs_of(experiment, "adamw")} == {12}


def test_a_variant_s_own_size_is_the_one_it_has(tmp_path: Path) -> None:
    experiment = tiny.experiment(
        tmp_path, BOTH, "variants.variant={of='adamw'}", "stages.finetune.for.variant.size=0.5"
    )
    sizes = {(cell.optimizer, cell.size) for cell in cells(experiment, "finetune")}
    assert sizes == {("adamw", 1.0), ("variant", 0.5)}


@each("name", ["varian", "tiny-task/varian", "another/variant"])
def test_a_table_of_an_unknown_variant_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=rf"finetune\.for: unknown task or optimizer '{name}'.*\.$") as caught:
        tiny.experiment(tmp_path, "variants.variant={of='adamw'}", f"stages.finetune.for={{'{name}'={{steps=8}}}}")
    assert name != "varian" or "did you mean 'variant'" in str(caught.value)


QUARTER = "variants.variant={of='adamw', arguments={eps=1e-4}, of_tuned=0.25}"


@each("names", ["['adamw', 'variant']", "['variant', 'adamw']"])
def test_a_variant_with_of_tuned_waits_for_the_chosen_rate(tmp_path: Path, names: str) -> None:
    experiment = tiny.experiment(tmp_path, f"optimizers={names}", QUARTER)
    waves = simulate(experiment, lambda run: ok(run, 0.9 if run.lr == 2e-3 else 0.1))
    assert [len(wave) for wave in waves] == [2, 4, 2]
    assert {(run.lr, run.optimizer.arguments["eps"]) for run in waves[2]} == {(5e-4, 1e-4)}
    assert {run.seed for run in waves[2]} == {0, 1}
    assert len(Plan(experiment, {}).remaining()) == 2 + 4 + 2


@each("names", ["['adamw', 'variant']", "['variant', 'adamw']"])
def test_it_waits_in_whichever_order_a_stage_lists_them(tmp_path: Path, names: str) -> None:
    for listed in (f"stages.finetune.optimizer={names}", f"stages.finetune.for={{adamw={{optimizer={names}}}}}"):
        experiment = tiny.experiment(tmp_path, "optimizers=['adamw']", QUARTER, listed)
        assert [len(wave) for wave in simulate(experiment, rising)] == [2, 4, 2]


def test_of_tuned_applies_to_a_rate_of_the_extension(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, QUARTER, "stages.finetune.extend=1")
    waves = simulate(experiment, rising)
    assert [sorted({run.lr for run in wave}) for wave in waves[1:]] == [[1e-3, 2e-3], [4e-3], [1e-3]]


def test_of_tuned_applies_to_the_chosen_rate_of_each_update_and_weight_decay(tmp_path: Path) -> None:
    experiment = tiny.experiment(
        tmp_path,
        BOTH,
        QUARTER,
        "stages.finetune.update=['full', 'lora-4']",
        tiny.axis("stages.finetune.weight_decay", [0.0, 0.5]),
    )
    best_rates = {("full", 0.0): 1e-3, ("full", 0.5): 2e-3, ("lora-4", 0.0): 2e-3, ("lora-4", 0.5): 1e-3}

    def outcome(run: Run) -> Result:
        return ok(run, 0.9 if run.lr == best_rates[run.update, run.weight_decay] else 0.1) if run.parent else ok(run)

    *_, last = simulate(experiment, outcome)
    assert {((run.update, run.weight_decay), 4 * run.lr) for run in last} == set(best_rates.items())


def test_a_variant_with_of_tuned_never_starts_without_a_chosen_rate(tmp_path: Path) -> None:
    experiment = tiny.experiment(tmp_path, BOTH, QUARTER)
    waves = simulate(experiment, lambda run: diverged(run) if run.parent else ok(run))
    assert len(waves) == 2


def test_overrides_of_a_task_an_optimizer_or_both_apply_to_them_only(tmp_path: Path) -> None:
    overrides = "tiny-task={steps=20, lr_factor=2.0}, muon={steps=30, lr_factor=3.0}, 'tiny-task/muon'={steps=40}"
    experiment = tiny.experiment(tmp_path, "optimizers=['adamw', 'muon']", f"stages.finetune.for={{{overrides}}}")
    assert {(run.steps, run.lr) for run in runs_of(experiment, "adamw")} == {(20, 2e-3), (20, 4e-3)}
    assert {(run.steps, run.lr) for run in runs_of(experiment, "muon")} == {(40, 6e-3), (40, 1.2e-2)}
    assert {run.steps for run in runs_of(experiment, "muon", "pretrain")} == {12}


def test_rates_given_as_an_option_are_not_scaled(tmp_path: Path) -> None:
    """An lr_factor scales only the rates of the card."""
    override = "points = 2\nfor.tiny-task = { lr_factor = 2.0 }"
    card = tiny.write(tmp_path, tiny.RUNNER.replace("points = 2", override))
    requested = resolve(RunRequest(str(card), lr=[5e-3], device="cpu"))
    assert {run.lr for run in runs_of(requested, "adamw")} == {5e-3}


@each(
    ("setting", "expected"),
    [
        (QUARTER, ["variants.variant", "adamw"]),
        ("variants.variant={of='adamw', of_tuned=0.25, base='sgd'}", ["adamw"]),
        ("variants.variant={of='adamw', of_tuned=0.25, update=['lora-4']}", ["adamw"]),
        ("variants.variant={of='adamv'}", ["variants.variant.of", "'adamv'", "'adamw'"]),
        ("variants.muon={of='adamw'}", ["variants.muon"]),
        ("variants.variant={of='adamw', base='varian'}", ["variants.variant.base", "'varian'", "'variant'"]),
        ("variants.variant={of='adamw', arguments={epz=1}}", ["'epz'", "'eps'"]),
        ("variants.variant={of='adamw', arguments={eps=-1}}", ["variants.variant.arguments.eps = -1", "0"]),
        ("variants.variant={of='adamw', lr=[]}", ["variants.variant.lr", "1"]),
        ("variants.variant={of='adamw', bases='muon'}", ["'variants.variant.bases'", "'base'"]),
        ("variants.variant={}", ["variants.variant.of"]),
        ("optimizers=['arn']", ["'arn'"]),
    ],
)
def test_an_invalid_variant_is_refused_and_named(tmp_path: Path, setting: str, expected: list[str]) -> None:
    names = "optimizers=['variant']" if setting == QUARTER else BOTH
    settings = [setting] if setting.startswith("opt") else [setting, names]
    with pytest.raises(BadInput) as caught:
        tiny.experiment(tmp_path, *settings)
    assert all(text in str(caught.value) for text in expected), str(caught.value)


@each("setting", ["weight_decay=0.3", "size=0.5"])
def test_a_variant_with_of_tuned_has_only_decays_and_sizes_at_which_a_rate_is_chosen(
    tmp_path: Path, setting: str
) -> None:
    with pytest.raises(BadInput, match="variant has a share of the rate that is chosen for adamw"):
        tiny.experiment(tmp_path, BOTH, QUARTER, f"stages.finetune.for.variant={{{setting}}}")
