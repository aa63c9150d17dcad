"""synthbench: what an optimizer makes a language model learn, and what it makes the model forget."""

# Nothing is imported here, not even `typing`: `python -m synthbench` comes by before `__main__` takes the working directory
# off the path, and a file of that name lying there would be run.
TYPE_CHECKING = False  # type checkers know the name

if TYPE_CHECKING:
    from typing import Any

    from synthbench.common.errors import BadInput, Failed, NotMeasured, Refuted, SynthbenchError
    from synthbench.gate.api import baseline, check
    from synthbench.interface.api import Comparison, Results, open_results, run
    from synthbench.interface.fleet import Fleet
    from synthbench.plugins import fleet_optimizer, matrix_optimizer
    from synthbench.verification.api import verify

__version__ = "0.1.0"
__all__ = [
    "BadInput", "Comparison", "Failed", "Fleet", "NotMeasured", "Refuted", "Results", "SynthbenchError", "baseline",
    "check", "fleet_optimizer", "matrix_optimizer", "open_results", "run", "verify",
]  # fmt: skip

_MODULES = {
    "common.errors": ("BadInput", "Failed", "NotMeasured", "Refuted", "SynthbenchError"),
    "gate.api": ("baseline", "check"),
    "interface.api": ("Comparison", "Results", "open_results", "run"),
    "interface.fleet": ("Fleet",),
    "plugins": ("fleet_optimizer", "matrix_optimizer"),
    "verification.api": ("verify",),
}
_RENAMED = {  # read until version 0.2
    "Compared": "Comparison", "flat_rule": "fleet_optimizer", "matrix_rule": "matrix_optimizer",
}  # fmt: skip


def __getattr__(name: str) -> "Any":
    """A public name is imported where it is first used, so that the command line answers at once."""
    if name in _RENAMED:
        import warnings

        warnings.warn(f"synthbench.{name} is now synthbench.{_RENAMED[name]}", DeprecationWarning, stacklevel=2)
        name = _RENAMED[name]
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{module}"), name)


def __dir__() -> list[str]:
    """Names for completion."""
    return sorted([*globals(), *__all__])
