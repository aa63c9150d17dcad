"""Public names of `synthbench`: every name imports, and its docstring describes arguments, results and errors."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import synthbench
from tests.calling import Caller
from tests.each import each


def documented(name: str) -> Iterator[tuple[str, Callable[..., Any]]]:
    """A public function, or the methods of a public class, with the constructor of Fleet."""
    public = getattr(synthbench, name)
    assert inspect.getdoc(public), name
    if inspect.isfunction(public):
        yield name, public
    elif not issubclass(public, Exception):
        for key, value in vars(public).items():
            if inspect.isfunction(value) and (not key.startswith("_") or (name, key) == ("Fleet", "__init__")):
                yield f"{name}.{key}", value


@each("name", synthbench.__all__)
def test_docstrings_describe_arguments_results_and_errors(name: str) -> None:
    for label, function in documented(name):
        text, signature = inspect.getdoc(function), inspect.signature(function)
        assert text, label
        described = [
            parameter.name
            for parameter in signature.parameters.values()
            if parameter.name not in ("self", "without_parentheses")
        ]
        for argument in described:
            assert f"    {argument}:" in text or f"**{argument}:" in text, f"{label}: {argument}"
        if described:
            assert "Args:" in text, label
            assert "Raises:" in text, label
            assert ("Returns:" in text) == (signature.return_annotation != "None"), label


@each("name", ["run", "baseline", "check", "verify", "Fleet"])
def test_help_shows_types(name: str) -> None:
    help_text = pydoc.plain(pydoc.render_doc(getattr(synthbench, name)))
    assert "optimizer: " in help_text
    assert "optimizer: Any" not in help_text
    assert "optimizer: 'Any" not in help_text


@each(("old", "new"), [("matrix_rule", "matrix_optimizer"), ("flat_rule", "fleet_optimizer")])
def test_an_old_name_warns_and_names_the_new_one(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"synthbench.{old} is now synthbench.{new}"):
        assert getattr(synthbench, old) is getattr(synthbench, new)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'rnu'"):
        synthbench.rnu  # noqa: B018


@each(
    ("command", "renamed", "failure"),
    [
        ("report --update page.md --out nowhere", "report --update is now --into", "--out nowhere"),
        # --overwrite takes the optimizer from the file
        ("baseline --update -o nothing.json", "baseline --update is now --overwrite", "no baseline to record again"),
    ],
)
def test_an_old_option_is_read_with_a_notice_that_names_the_new_one(
    command: str, renamed: str, failure: str, call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = call(command)
    notice, error = err.splitlines()
    assert (code, out) == (2, "")
    assert notice == f"synthbench: {renamed}; the old name is read until version 0.2."
    assert failure in error
