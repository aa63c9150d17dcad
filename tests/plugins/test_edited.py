"""An optimizer's file that is edited while an experiment runs is not trained under the ids of what it was."""

from __future__ import annotations

from pathlib import Path

from synthbench import plugins
from synthbench.common.errors import BadInput
from synthbench.execution import worker

CODE = """
import torch
class Edited(torch.optim.SGD):
    def __init__(self, params, lr=1e-2, weight_decay=0.0):
        super().__init__(params, lr=lr, weight_decay=weight_decay, momentum=MOMENTUM)
"""


def test_a_worker_refuses_code_that_was_edited_meanwhile(tmp_path: Path) -> None:
    file = tmp_path / "edited.py"
    file.write_text(CODE.replace("MOMENTUM", "0.5"))
    origins = plugins.origins([plugins.take(f"{file}:Edited")], [])
    assert worker.load(origins) is None
    file.write_text(CODE.replace("MOMENTUM", "0.9"))
    error = worker.load(origins)
    assert isinstance(error, BadInput)
    assert f"{file}:Edited was edited meanwhile; give the same command again." in str(error)
