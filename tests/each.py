"""Many cheap cases in one test."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

Test = Callable[..., None]


def each(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """`pytest.mark.parametrize` as a loop in one test: cases share its fixtures, and a failure names its case."""

    parameters, rows = [names] if isinstance(names, str) else list(names), list(cases)
    assert rows, "there are no cases"

    def decorate(test: Test) -> Test:
        signature = inspect.signature(test)

        @wraps(test)
        def run_all(**fixtures: Any) -> None:
            for case in rows:
                arguments = dict(zip(parameters, [case] if isinstance(names, str) else case, strict=True))
                try:
                    test(**fixtures, **arguments)
                except BaseException as error:
                    error.add_note(f"case: {arguments!r}")
                    raise

        fixture_parameters = [parameter for name, parameter in signature.parameters.items() if name not in parameters]
        run_all.__signature__ = signature.replace(parameters=fixture_parameters)  # type: ignore[attr-defined]
        return run_all

    return decorate
