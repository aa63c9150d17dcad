"""A class gets its parameters as it wants them; its groups keep their own rates and decays: equal to driving it by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from synthbench import plugins
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.plugins import groups
from synthbench.plugins.testbed import Quadratic, Run
from synthbench.trainer.optimizers import OPTIMIZERS
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.plugins.by_hand import DECAY, MODEL, RATES, moved_by_hand, moved_by_us

FILE = Path(__file__).with_name("grouping.py")
Parts = dict[str, list[torch.nn.Parameter]]


@pytest.fixture(autouse=True)
def _no_process_group() -> Any:
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


def labelled(name: str) -> str:
    return plugins.take(f"{FILE}:{name}")


def written(label: str) -> Any:
    plugin = plugins.plugin_of(label)
    assert plugin is not None
    return plugin.value.written


def all_of(parts: Parts) -> list[torch.nn.Parameter]:
    return [p for group in ("hidden", "embedding", "vector") for p in parts[group]]


def scaled(optimizer: torch.optim.Optimizer, *scales: float) -> Callable[[float], None]:
    """What sets the rates of an optimizer's groups: so many times the run's."""

    def set_rate(lr: float) -> None:
        for group, scale in zip(optimizer.param_groups, scales, strict=True):
            group["lr"] = scale * lr

    return set_rate


@each("rates", RATES)
@each(
    ("name", "arguments", "scales"),
    [
        ("Layered", {"weight_decay": DECAY}, (1, 0.25, 0.15)), ("ByWd", {"wd": DECAY}, (1,)),
        ("ByDecay", {"decay": DECAY}, (1, 3)), ("Open", {"weight_decay": DECAY}, (1,)), ("Hard", {}, (1, 0.5)),
        ("Bare", {}, (1,)),
    ],
)  # fmt: skip
def test_groups_keep_the_ratios_of_their_rates_and_their_own_decays(
    name: str, arguments: Any, scales: tuple[float, ...], rates: list[float]
) -> None:
    label = labelled(name)

    def make(parts: Parts) -> Any:
        optimizer = written(label)(all_of(parts), **arguments)
        return [optimizer], scaled(optimizer, *scales)

    torch.testing.assert_close(moved_by_us(label, rates), moved_by_hand(make, rates), rtol=1e-6, atol=1e-7)


IN_FORCE = {
    "Layered": "0.5, own 0.02", "ByWd": "0.5", "ByDecay": "0.5, own 0", "Open": "0.5", "Hard": "own 0.03, 0.1",
    "Bare": "none", "adamw": "0.5",
}  # fmt: skip


def test_the_column_decay_says_which_weight_decay_was_in_force(call: Caller, tmp_path: Path) -> None:
    names = ",".join(name if name in OPTIMIZERS else f"{FILE}:{name}" for name in IN_FORCE)
    card, out = tiny.write(tmp_path), f"--out {tmp_path}/out"
    code, _, err = call(f"run {card} --optimizer {names} --weight-decay 0.5 --seeds 1 --quiet {out}")
    assert code == 0, err
    assert "grouping.py:Hard: 2 groups: rate x 1, weight decay 0.1; rate x 0.5, weight decay 0.03; " in err
    assert "its own weight decay, 0.03, 0.1, is in force, not the card's.\n" in err
    rows = json.loads(call(f"report --format json {out}").out)["rows"]
    assert {row["optimizer"].removeprefix("grouping.py:"): row["decay"] for row in rows} == IN_FORCE
    assert {row["weight_decay"] for row in rows} == {0.5}
    lines = [
        [cell.strip() for cell in line.split("|")] for line in call(f"report --format markdown {out}").out.splitlines()
    ]
    name, decay = next((line.index("optimizer"), line.index("decay")) for line in lines if "optimizer" in line)
    column = {line[name].removeprefix("grouping.py:"): line[decay] for line in lines if len(line) > decay}
    assert column | IN_FORCE == column


def strict(aux_lr_ratio: float = 0.015, betas: tuple[float, float] = (0.9, 0.95), momentum: float = 0.95) -> Any:
    """Two optimizers of torch on the split that a flag makes."""

    def make(parts: Parts) -> Any:
        hidden = torch.optim.SGD(parts["hidden"], momentum=momentum, weight_decay=DECAY)
        rest = [*parts["embedding"], *parts["vector"]]
        if not rest:
            return [hidden], scaled(hidden, 1)
        others = torch.optim.AdamW(rest, betas=betas, eps=1e-10, weight_decay=DECAY)

        def set_rate(lr: float) -> None:
            scaled(hidden, 1)(lr)
            scaled(others, aux_lr_ratio)(lr)

        return [hidden, others], set_rate

    return make


@each("rates", RATES[1:])
@each(
    ("name", "update", "arguments", "by_hand"),
    [
        ("Strict", "full", {}, strict()), ("Strict", "lora-4", {}, strict()), ("Strict", "full-hidden", {}, strict()),
        ("Strict", "full", {"aux_lr_ratio": 0.5}, strict(0.5)),
        ("Algorithmic", "full", {}, strict(1.0, (0.0, 0.0), 0.0)),  # such an Adam moves by the sign
        ("Strict", "full", {"aux_group": {"betas": [0.5, 0.75]}}, strict(betas=(0.5, 0.75))),
    ],
)  # fmt: skip
def test_a_class_that_tells_its_groups_by_a_flag_equals_two_optimizers_by_hand(
    name: str, update: str, arguments: Any, by_hand: Any, rates: list[float]
) -> None:
    label = labelled(name)
    assert groups.wanted(written(label)) == {"groups": "muon"}
    ours, hand = moved_by_us(label, rates, update, **arguments), moved_by_hand(by_hand, rates, update)
    torch.testing.assert_close(ours, hand, rtol=1e-5, atol=1e-6)


def test_what_was_recognized_is_one_line_and_the_option_reaches_plug_ins_alone(call: Caller, tmp_path: Path) -> None:
    card, setting = tiny.write(tmp_path), "--set optimizer.groups=muon"
    code, _, err = call(f"run {card} --optimizer adamw,{FILE}:Strict {setting} --dry-run")
    assert code == 0, err
    flags = "hidden matrices in a group with use_muon=True, the rest in one with use_muon=False"
    each_group = "2 groups: rate x 1, the card's weight decay; rate x 0.015, the card's weight decay"
    assert err == f"synthbench: grouping.py:Strict: {flags}, {each_group}.\n"
    code, _, err = call(f"run {card} --optimizer adamw {setting} --dry-run")
    assert code == 2
    assert "adamw has no argument 'groups'" in err


def test_groups_hidden_is_routing_hidden() -> None:
    request = {
        setting: RunRequest(optimizers=[f"{FILE}:Bare"], settings=[setting], device="cpu")
        for setting in ("optimizer.groups=hidden", "routing=hidden", "optimizer.groups=all")
    }
    by_groups, by_routing, neither = (resolve(of).optimizers["grouping.py:Bare"] for of in request.values())
    assert by_groups == by_routing
    assert by_groups.routing != neither.routing
    assert neither == resolve(RunRequest(optimizers=[f"{FILE}:Bare"], device="cpu")).optimizers["grouping.py:Bare"]


def test_hidden_matrices_alone_are_for_classes_whose_code_names_2d_parameters_not_their_docstrings() -> None:
    class Refuses(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            if any(p.ndim != 2 for p in self.param_groups[0]["params"]):
                raise ValueError("takes 2D parameters only")

    class Tells(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            """Factors the moments of 2D parameters."""
            super().step()

    assert groups.wanted(Refuses) == {"groups": "hidden"}
    assert groups.wanted(Tells) == {}


NAMES = {
    "full": [
        *(f"layers.0.{name}_proj.weight" for name in "qkvo"), "layers.0.up_proj.weight", "layers.0.down_proj.weight",
        "embed_tokens.weight", "lm_head.weight", *(f"layers.0.norm_{part}.{end}" for part in ("attention", "mlp")
        for end in ("weight", "bias")), "norm_head.weight", "norm_head.bias",
    ],
    "lora-4": [f"layers.0.{name}_proj.lora_{end}.weight" for name in [*"qkvo", "up", "down"] for end in "AB"],
}  # fmt: skip


@each("update", NAMES)
@each(("name", "arguments"), [("Named", {}), ("OfModel", {}), ("Bare", {"named": True})])
def test_names_are_the_usual_ones_the_same_in_every_fleet(name: str, arguments: Any, update: str) -> None:
    quadratic = Quadratic(labelled(name), MODEL, update, [Run(1, 1e-3), Run(2, 1e-3)], arguments).go(1)
    made = [made.optimizer for made in quadratic.optimizer._states[quadratic.optimizer.main]["instances"]]
    for optimizer in made:
        seen = optimizer.param_groups[0]["param_names"] if arguments else optimizer.names
        assert len(seen) == len(set(seen))
        assert set(seen) == set(NAMES[update])
        assert seen == (made[0].param_groups[0]["param_names"] if arguments else made[0].names)


def test_names_are_those_of_the_matrices_that_have_them() -> None:
    """A class that leaves the query matrices moves every other one."""
    quadratic = Quadratic(labelled("Named"), MODEL, "full", [Run(1, 1e-3)])
    before = {name: value.clone() for name, value in views(quadratic).items()}
    after = views(quadratic.go(1))
    for name, value in after.items():
        same = [torch.equal(new, old) for new, old in zip(value, before[name], strict=True)]
        assert same == ([True, False, False] if "qkv" in name else [False] * len(same)), name


def views(quadratic: Quadratic) -> dict[str, Any]:
    """The matrices of every parameter, of one run."""
    return {
        name: quadratic.weights_KP[0, p.offset : p.offset + p.size].view(-1, *p.shape[-2:])
        for name, p in quadratic.fleet.trainable.parameters.items()
    }


def test_a_class_of_several_devices_runs_on_one(call: Caller, tmp_path: Path) -> None:
    command = f"run {tiny.write(tmp_path)} --optimizer {FILE}:Spread --seeds 1 --quiet --out {tmp_path}/out"
    code, out, err = call(command)
    assert (code, err) == (0, "")
    assert "grouping.py:Spread" in out
    for rates in RATES[1:]:
        assert torch.equal(moved_by_us(labelled("Spread"), rates), moved_by_us(labelled("Bare"), rates))
