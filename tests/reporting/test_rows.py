"""Rows of experiments with sizes, variants and grown grids, and what is said of them, from folders in which nothing was
trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.calibration import pooled
from synthbench.analysis import rate_advice, verdict
from synthbench.analysis.pairing import Pair
from synthbench.analysis.rows import Row
from synthbench.experiment.runs import Cell, Run
from synthbench.reporting import notes, table
from tests.calling import Caller
from tests.each import each
from tests.reporting import filled, made

FULL = "stages.finetune.update=['full']"  # its paths reach fit .9 after 6 steps at 1e-3 and after 4 at 2e-3


def alike(run: Run) -> dict[str, float]:
    return {"learning": 0.5}


def rows(out: Path) -> list[Row]:
    return filled.latest(out).rows


def by_items(run: Run) -> dict[str, float]:
    """Scores of a run whose rule accuracy is that of its trained rule items, in hundredths, and more with its rate."""
    items = run.examples["rule"]
    return {"learning": run.lr, "validation_learning": run.lr * 100, "rule_accuracy": items / 100, "forgetting": 0.2}


def test_a_row_a_size_each_with_the_number_of_examples_that_the_rule_takes(tmp_path: Path) -> None:
    out = filled.folder(tmp_path / "out", by_items, FULL, "stages.finetune.sizes=[1, 0.5, 2]", optimizers=["adamw"])
    found = rows(out)
    assert [(row.size, row.items["rule"]) for row in found] == [(0.5, 18), (1.0, 36), (2.0, 72)]
    # 18, 36 and 72 items: .18, .36, .72; .5 lies at 36 * 2 ** ((.5 - .36) / .36)
    for row in found:
        assert row.values["examples_to_rule@t"][0] == pytest.approx(36 * 2 ** (0.14 / 0.36))
        assert row.censored["examples_to_rule@t"] == {}
        assert set(row.rates) == {1e-3, 2e-3}
        assert row.rates[2e-3]["learning"] == dict.fromkeys(range(3), 2e-3)
    assert [cells[2] for cells in table.make(found, ["learning"]).cells()] == ["0.5x", "1x", "2x"]


def test_a_rule_that_no_size_or_step_finds_is_censored_and_the_bound_is_shown(tmp_path: Path) -> None:
    out = filled.folder(tmp_path / "out", by_items, FULL, "stages.finetune.sizes=[1, 0.5]", optimizers=["adamw"])
    (_, row) = rows(out)
    assert row.values["examples_to_rule@t"] == dict.fromkeys(range(3), 36.0)
    assert row.censored["examples_to_rule@t"] == dict.fromkeys(range(3), ">")
    assert row.censored["steps_to_rule@t"] == dict.fromkeys(range(3), ">")
    (cells,) = table.make([row], ["examples_to_rule@t", "steps_to_rule@t"]).cells()
    assert cells[-2:] == [">36 (0/3)", ">10 (0/3)"]


def test_a_larger_set_is_read_at_a_speed_in_proportion(tmp_path: Path) -> None:
    """Its paths take no longer here, so what brackets the target step at size 1 does not at size 2."""
    out = filled.folder(tmp_path / "out", by_items, FULL, "stages.finetune.sizes=[1, 2]", optimizers=["adamw"])
    one, two = rows(out)
    assert one.values["rule_accuracy@fit"]
    assert not two.values["rule_accuracy@fit"]
    assert one.values["forgetting_over_fit"] == dict.fromkeys(range(3), pytest.approx(0.2))


def test_an_arm_on_its_optimizers_base_has_its_own_name_alone_and_its_own_rate(tmp_path: Path) -> None:
    variant = "variants.slow={of='adamw', lr=[1e-3]}"  # a rate that adamw has, too: the run is of two rows
    found = {
        row.label: row
        for row in rows(filled.folder(tmp_path / "out", by_items, FULL, variant, optimizers=["adamw", "slow"]))
    }
    assert found.keys() == {"adamw", "slow"}
    assert (found["slow"].variant_of, found["slow"].base, set(found["slow"].rates)) == ("adamw", ["adamw"], {1e-3})
    assert set(found["adamw"].rates) == {1e-3, 2e-3}
    assert (found["adamw"].lr, found["slow"].lr) == (2e-3, 1e-3)


def test_a_grown_grid_is_one_row_whose_chosen_rate_may_lie_inside(tmp_path: Path) -> None:
    def best(run: Run) -> dict[str, float]:
        return {"validation_learning": {1e-3: 0.1, 2e-3: 0.5, 4e-3: 0.9, 8e-3: 0.2}[run.lr], "rule_accuracy": 0.1}

    (row,) = rows(filled.folder(tmp_path / "out", best, FULL, "stages.finetune.extend=3", optimizers=["adamw"]))
    assert (sorted(row.rates), row.lr, row.edge) == ([1e-3, 2e-3, 4e-3, 8e-3], 4e-3, False)


def test_ranks_are_shown_over_the_width(tmp_path: Path) -> None:
    found = rows(filled.folder(tmp_path / "out", by_items, optimizers=["adamw"]))
    assert [cells[1] for cells in table.make(found, ["learning"]).cells()] == ["full", "lora-4/16"]


def test_a_bound_has_no_difference_to_anything() -> None:
    steps = "steps_to_rule@t"
    own = made.row("adamw").model_copy(
        update={"values": {steps: {0: 10.0, 1: 180.0, 2: 30.0}}, "censored": {steps: {1: ">"}}}
    )
    rival = made.row("muon").model_copy(update={"values": {steps: {0: 15.0, 1: 20.0, 2: 25.0}}})
    assert own.exact(steps) == {0: 10.0, 2: 30.0}
    found = verdict.of(Pair(own, rival), steps, made.CARD)
    assert (found.difference.n, found.difference.mean) == (2, 0.0)  # -5 and +5; seed 1 is only known to lie beyond 180
    assert pooled([own], steps)[0] == pytest.approx(200**0.5)  # of 10 and 30


def test_arguments_and_routing_of_measured_rows_are_shown_on_the_terminal_alone(tmp_path: Path, call: Caller) -> None:
    (tmp_path / "own.py").write_text("import torch\nclass Mine(torch.optim.SGD): pass\n")
    out = filled.folder(
        tmp_path / "out", alike, FULL, "arguments.adamw.betas=[0.9, 0.95]", "arguments.sgd.momentum=0.5", "routing=hidden",
        'arguments."own.py:Mine".momentum=0.9', "variants.late={of='adamw', arguments={eps=1e-6}}",
        optimizers=["adamw", "muon", f"{tmp_path}/own.py:Mine", "late"],
    )  # fmt: skip
    adamw, mine = "betas=[0.9, 0.95]", "momentum=0.9, routing=hidden"
    given = f"adamw: {adamw}; late: {adamw}, eps=1e-06; own.py:Mine: {mine}"
    assert given in filled.latest(out).remarks[0]
    shown = " ".join(call(f"report --out {out}").out.split())
    assert given in shown
    assert given not in call(f"report --format markdown --out {out}").out


def test_a_rate_of_pretraining_that_was_chosen_is_shown_and_marked_at_the_edge(tmp_path: Path) -> None:
    several = "stages.pretrain.lr={adamw=[1e-3, 2e-3], muon=[1e-3]}"  # scored alike: the lower one is chosen
    out = filled.folder(tmp_path / "out", alike, FULL, several)
    (remark,) = filled.latest(out).remarks
    assert "adamw 0.001!" in remark
    assert "muon" not in remark
    inside = "stages.pretrain.lr={adamw=[1e-3], muon=[1e-3]}"
    assert not filled.latest(filled.folder(tmp_path / "other", alike, FULL, inside)).remarks


@each(
    ("target_step", "said"),
    [(5, None), (9, "before 9 0.9 slowest 0.001 6 smaller --lr"), (2, "after 2 0.9 fastest 0.002 4 larger --lr")],
)
def test_a_row_read_at_no_speed_says_which_rates_to_add(tmp_path: Path, target_step: int, said: str | None) -> None:
    reading = f"reading.target_steps=[{target_step}]", f"reading.target_step={target_step}"
    out = filled.folder(tmp_path / str(target_step), alike, FULL, *reading, optimizers=["adamw"])
    found = filled.latest(out).advice
    assert len(found) == (1 if said else 0)
    assert all(part in found[0] for part in ["adamw (full) on tiny-task", *said.split()]) if said else not found


@each(
    ("seeds", "size", "said"),
    [
        ([{1e-3: 120, 3e-3: 80}] * 8 + [{1e-3: 99, 3e-3: 80}], 1.0, None),
        ([{1e-3: None, 3e-3: None}], 1.0, ["wugs", "0.9"]),
        ([{1e-3: None, 3e-3: 80}], 1.0, ["slowest", "0.003", "80", "between 0.001"]),
        ([{1e-3: 130, 3e-3: 120, 9e-3: 125}], 1.0, ["fastest", "0.003", "120", "sooner"]),
        ([{1e-3: 80, 3e-3: 60}] * 2 + [{1e-3: 140, 3e-3: 70}] * 3, 1.0,
         ["100", "0.9", "3 of 5 seeds", "140 at 0.001", "70 at 0.003"]),
        ([{1e-3: 140, 3e-3: 90}], 2.0, ["wugs", "2x", "before", "200"]),
    ],
)  # fmt: skip
def test_the_rates_to_add(seeds: list[rate_advice.Steps], size: float, said: list[str] | None) -> None:
    cell = Cell("wugs", "finetune", ("adamw",), "adamw", "full", 0.0, size)
    found = rate_advice.of_cell(cell, seeds, made.CARD)
    sentence = notes.rates_to_add(found, made.CARD.reading.fit) if found else ""
    assert found is None if said is None else all(part in sentence for part in said)
