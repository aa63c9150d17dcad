"""What the server that forks workers imports before the first one: torch, and what a fleet is trained with.

What cannot be imported here shows in the worker that needs it, which says so.
"""

from contextlib import suppress
from importlib import import_module

for module in ("torch", "synthbench.execution.fleet_job", "synthbench.execution.observe", "synthbench.trainer.loop"):
    with suppress(Exception):
        import_module(module)
