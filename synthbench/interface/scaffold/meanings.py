"""What the fields of cards and options mean, as their source says it: a string below a field, or a comment on it."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
from functools import cache

from pydantic import BaseModel


@cache
def meanings(card: type[BaseModel]) -> dict[str, str]:
    """By key, of a class's own fields and those that it inherits; keys that nothing is said of are left out, and all where
    the class has no source (it was typed into a prompt)."""
    inherited = [one for one in reversed(card.__bases__) if issubclass(one, BaseModel) and one is not BaseModel]
    found = {key: said for one in inherited for key, said in meanings(one).items()}
    try:
        source = textwrap.dedent(inspect.getsource(card))
    except (OSError, TypeError):
        return found
    (table,) = ast.parse(source).body
    assert isinstance(table, ast.ClassDef)
    comments = _comments(source)
    for field, below in zip(table.body, [*table.body[1:], None], strict=True):
        if not isinstance(field, ast.AnnAssign):
            continue
        name = ast.unparse(field.target)
        lines = range(field.lineno, (field.end_lineno or field.lineno) + 1)
        said = " ".join(comments[line] for line in lines if line in comments)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            said = " ".join(str(below.value.value).split())
        if said and name in card.model_fields:
            found[card.model_fields[name].alias or name] = said
    return found


def _comments(source: str) -> dict[int, str]:
    """By line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {one.start[0]: one.string.lstrip("# ") for one in tokens if one.type == tokenize.COMMENT}
