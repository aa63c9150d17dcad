"""A few steps of somebody's rule on parameters of the shapes to come, before anything is trained: what it refuses, or does
to its parameters, is one sentence here and a broken run later."""

from __future__ import annotations

import inspect
from typing import Any

from synthbench.errors import BadInput
from synthbench.trainer.layout import Layout
from synthbench.trainer.rules.registry import RULES, Block, Hyper, route, spans
from synthbench.wording import named, short

STEPS = 2
RATE = 1e-4


def check(name: str, routing: tuple[tuple[str, str], ...], layout: Layout, arguments: Any, said: str) -> None:
    """Raises BadInput that begins with `said` where a rule cannot move parameters of this layout."""
    import torch

    from synthbench.plugins.loading import put_back

    generator = torch.Generator().manual_seed(0)
    value_KP, grad_KP = (0.1 * torch.randn(2, 1, layout.row, generator=generator)).unbind()
    blocks = []
    for run in spans(route(routing, layout), layout).get(name, []):
        reach = slice(run[0].offset, run[-1].offset + run[-1].size)
        blocks.append(Block(value_KP[:, reach], grad_KP[:, reach], run))
    rule, before = RULES[name], value_KP.clone()
    with put_back(), torch.no_grad():
        try:
            state = rule.start(blocks, arguments)
            _without_closure(state, said)
            for step in range(STEPS):
                rule.step(blocks, state, Hyper(step + 1, torch.tensor([RATE]), torch.tensor([0.0])), arguments)
            rule.look(state, True)
            rule.look(state, False)
        except BadInput:
            raise
        except Exception as error:
            why = short(f"{type(error).__name__}: {error}", 200)
            raise BadInput(f"{said} cannot move the model's parameters: {named(why)}.") from error
    moved = [p.data_ptr() for own in state.get("parameters", []) for p in own]
    if moved and moved != [p.data_ptr() for p in _views(blocks)]:
        raise BadInput(f"{said} gives its parameters other memory; it must change them in place.")
    if torch.equal(value_KP, before):
        raise BadInput(f"{said} moved nothing in {STEPS} steps with gradients.")


def _without_closure(state: dict[str, Any], said: str) -> None:
    for optimizer in state.get("optimizers", []):
        closure = inspect.signature(optimizer.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise BadInput(f"{said} needs a closure; losses of many runs are computed together, so none can be given.")


def _views(blocks: list[Block]) -> list[Any]:
    from synthbench.plugins.instances import views_of_run

    return list(views_of_run(blocks, "value_Kn", 0))
