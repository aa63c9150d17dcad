"""Cases that are many and cheap, asked by one test."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

Test = Callable[..., None]


def each(names: str | tuple[str, ...], cases: Iterable[Any]) -> Callable[[Test], Test]:
    """`pytest.mark.parametrize` as a loop in one test: cases share its fixtures, and a failure names its case."""

    asked, found = [names] if isinstance(names, str) else list(names), list(cases)
    assert found, "there are no cases"

    def decorated(test: Test) -> Test:
        signature = inspect.signature(test)

        @wraps(test)
        def every(**fixtures: Any) -> None:
            for case in found:
                given = dict(zip(asked, [case] if isinstance(names, str) else case, strict=True))
                try:
                    test(**fixtures, **given)
                except BaseException as error:
                    error.add_note(f"case: {given!r}")
                    raise

        others = [parameter for name, parameter in signature.parameters.items() if name not in asked]
        every.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        return every

    return decorated
