"""A few steps of a plug-in before anything is trained, on parameters of the shapes that it will move."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Any

from synthbench.common.errors import BadInput
from synthbench.plugins.errors import describe
from synthbench.plugins.loading import preserved_settings
from synthbench.trainer.layout import Layout
from synthbench.trainer.optimizers.registry import IMPLEMENTATIONS, OPTIMIZERS, Block, Hyper, route, spans

LEAST, MOST = 2, 12  # steps: some optimizers only gather gradients in their first ones
RATE, DECAY = 1e-4, 0.1  # of an optimizer without a default grid


def check(name: str, *, routing: tuple[tuple[str, str], ...], layout: Layout, arguments: Any, where: str) -> list[str]:
    """Raises BadInput that begins with `where` if an optimizer cannot move the parameters of this layout.

    Returns settings of torch that its steps changed, and that were put back.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    value_KP = 0.1 * torch.randn(1, layout.row, generator=generator)
    grad_KP, before = torch.empty_like(value_KP), value_KP.clone()
    reaches = [(run, slice(run[0].offset, run[-1].offset + run[-1].size))
               for run in spans(route(routing, layout), layout).get(name, [])]  # fmt: skip
    blocks = [Block(value_KP[:, reach], grad_KP[:, reach], run) for run, reach in reaches]
    optimizer, grid = IMPLEMENTATIONS[name], OPTIMIZERS[name].grid or (RATE,)
    rate = grid[len(grid) // 2]
    with preserved_settings() as changed, torch.no_grad(), redirect_stdout(sys.stderr):
        try:
            state = optimizer.start(blocks, arguments)
            for step in range(1, MOST + 1):
                grad_KP.copy_(0.1 * torch.randn(1, layout.row, generator=generator))
                optimizer.step(blocks, state, Hyper(step, torch.tensor([rate]), torch.tensor([DECAY])), arguments)
                optimizer.set_evaluating(state, True)
                if step >= LEAST and not torch.equal(value_KP, before):
                    break
                optimizer.set_evaluating(state, False)
        except BadInput as error:
            raise BadInput(f"{where} cannot be used: {error}") from error
        except (Exception, SystemExit) as error:
            raise BadInput(f"{where} cannot move the model's parameters: {describe(error)}.") from error
    if torch.equal(value_KP, before):
        raise BadInput(f"{where} moved nothing in {MOST} steps with gradients.")
    if not torch.isfinite(value_KP).all():
        raise BadInput(f"{where} produced NaN or Inf parameters in its first steps at lr {rate:g}.")
    return changed
