"""synthbench: what an optimizer makes a language model learn, and what it makes the model forget."""

# Nothing is imported here, not even `typing`: `python -m synthbench` comes by before `__main__` takes the working directory
# off the path, and a file of that name lying there would be run.
TYPE_CHECKING = False  # type checkers know the name

if TYPE_CHECKING:
    from typing import Any

    from synthbench.common.errors import BadInput, Failed, NotMeasured
    from synthbench.gate.api import check
    from synthbench.interface.api import Compared, Results, run
    from synthbench.interface.fleet import Fleet
    from synthbench.plugins import fleet_optimizer, matrix_optimizer

__version__ = "0.1.0"
__all__ = [
    "BadInput",
    "Compared",
    "Failed",
    "Fleet",
    "NotMeasured",
    "Results",
    "check",
    "fleet_optimizer",
    "matrix_optimizer",
    "run",
]

_HOMES = {
    "BadInput": "common.errors", "Compared": "interface.api", "Failed": "common.errors", "Fleet": "interface.fleet",
    "NotMeasured": "common.errors", "Results": "interface.api", "check": "gate.api", "fleet_optimizer": "plugins",
    "matrix_optimizer": "plugins", "run": "interface.api",
}  # fmt: skip


def __getattr__(name: str) -> "Any":
    """What is public is imported where it is first used, so that the command line answers at once."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Names for completion."""
    return sorted([*globals(), *__all__])
