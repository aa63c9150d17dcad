"""`--set path=value`: a value is TOML if it parses, else text. It is set at its path, or the path is refused."""

from __future__ import annotations

import shlex
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthbench.common import overrides
from synthbench.common.errors import BadInput
from synthbench.common.overrides import MOST_GUESSED, as_list, parse, put, typed, value

SETTINGS = [
    ("a=1", ["a"], 1),
    ("a.b-c.d=1e-3", ["a", "b-c", "d"], 1e-3),
    ("a=true", ["a"], True),
    ("a={b = 1}", ["a"], {"b": 1}),
    ("a='x'", ["a"], "x"),
    ("a=lora-8", ["a"], "lora-8"),
    ("a=b=c", ["a"], "b=c"),
    (" a = 1 ", ["a"], 1),
    ('a."b.c:D".e=1', ["a", "b.c:D", "e"], 1),
    ('a."b=c"=1', ["a", "b=c"], 1),
    ("a=", ["a"], ""),
    ("a=[1, 2", ["a"], "[1, 2"),
    ("a=1\nb=2", ["a"], "1\nb=2"),  # a second line is text and no second key
]


def test_a_setting_is_a_path_and_a_toml_value_or_text() -> None:
    for setting, path, expected in SETTINGS:
        assert parse(setting) == (path, expected), setting
        assert type(parse(setting)[1]) is type(expected), setting


def test_a_setting_without_a_path_or_a_value_is_refused() -> None:
    for setting in ("", "a", "=1", ".=1", "a.=1", ".a=1", "a..b=1", " =1", '""=1', 'a."b=1', '"a"b=1'):
        with pytest.raises(BadInput, match="path=value"):
            parse(setting)


@given(st.text("ab.=[]{}'\"#0123456789e-+_ \n\r\t\x00\\é", max_size=12))
def test_any_text_parses_to_a_value(text: str) -> None:
    assert value(text) is not None


def content() -> dict[str, Any]:
    stages = [{"name": "one", "lr": [1.0]}, {"name": "two"}]
    return {"seeds": 3, "reading": {"fit": 0.9}, "tasks": ["t"], "stages": stages}


def test_put_sets_the_value_at_its_path_and_changes_nothing_else() -> None:
    card = content()
    put(card, ["stages", "one", "lr"], [2.0], "card.toml")
    assert card == content() | {"stages": [{"name": "one", "lr": [2.0]}, {"name": "two"}]}
    for path, steps in (
        ("seeds", ["seeds"]),
        ("reading.fit", ["reading", "fit"]),
        ("reading.new", ["reading", "new"]),
        ("new.table.key", ["new", "table", "key"]),
        ("stages.two.lr", ["stages", 1, "lr"]),
        ("stages.one.for.muon.steps", ["stages", 0, "for", "muon", "steps"]),
        ("stages", ["stages"]),
    ):
        card, new = content(), object()
        put(card, path.split("."), new, "card.toml")
        assert reduce(lambda node, step: node[step], steps, card) is new, path


def test_an_unknown_path_is_refused_and_named() -> None:
    for path, expected in (
        ("seeds.x.y", ["'seeds'"]),
        ("seeds.x", ["'seeds'"]),
        ("stages.tow.lr", ["'stages.tow'", "'two'", "one, two"]),
        ("stages.two", ["'stages.two'", "'stages'"]),
        ("tasks.t.x", ["'tasks.t'"]),
        ("stages.one.lr.x", ["'stages.one.lr'"]),
    ):
        with pytest.raises(BadInput) as caught:
            put(content(), path.split("."), 1, "card.toml")
        assert str(caught.value).startswith("card.toml: ")
        assert all(text in str(caught.value) for text in expected), caught.value


def test_a_written_python_value_is_read_back() -> None:
    for new in (3, 0.5, True, "full", [1, 2.5], (1, 2), {"width": 16, "a b": {"c": ["x", "y"]}}):
        assert parse(typed({"a.b": new})[0])[1] == (list(new) if isinstance(new, tuple) else new), new


def test_what_was_meant_as_a_list_is_guessed() -> None:
    for text, written in (("1,2", "[1, 2]"), ("a, 2", '["a", 2]'), ("['a' b]", '["a", "b"]'), ("nan,x", '[nan, "x"]')):
        assert as_list(text) == written
    assert (as_list(7), as_list(True)) == ("[7]", "[true]")
    for hopeless in ({"a": 1}, [1], None, 10**5000, "a," * MOST_GUESSED):
        assert as_list(hopeless) is None


def test_a_setting_is_quoted_for_a_shell_and_its_path_is_read_back() -> None:
    path = ["lr", "my.py:A", "full"]
    option, quoted = shlex.split(overrides.setting(path, "[1, 2]"))
    assert (option, parse(quoted)) == ("--set", (path, [1, 2]))
