"""synthbench: what an optimizer makes a language model learn, and what it makes the model forget."""

# Nothing is imported here, not even `typing`: `python -m synthbench` comes by before `__main__` takes the working directory
# off the path, and a file of that name lying there would be run.
TYPE_CHECKING = False  # type checkers know the name

if TYPE_CHECKING:
    from typing import Any

    from synthbench.api import Compared, Results, run
    from synthbench.errors import BadInput, Failed, NotMeasured
    from synthbench.fleets import Fleet
    from synthbench.gate.api import check
    from synthbench.plugins import flat_rule, matrix_rule

__version__ = "0.1.0"
__all__ = [
    "BadInput",
    "Compared",
    "Failed",
    "Fleet",
    "NotMeasured",
    "Results",
    "check",
    "flat_rule",
    "matrix_rule",
    "run",
]

_HOMES = {
    "BadInput": "errors", "Compared": "api", "Failed": "errors", "Fleet": "fleets", "NotMeasured": "errors",
    "Results": "api", "check": "gate.api", "flat_rule": "plugins", "matrix_rule": "plugins", "run": "api",
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
