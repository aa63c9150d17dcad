"""What every card is built of: its base class, and the kinds of values that stand in cards."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from synthbench.common.validation import NAME, VERSION

Name = Annotated[str, Field(pattern=NAME)]
Prose = Annotated[str, Field(max_length=4000)]
Positive = Annotated[int, Field(gt=0, le=10**8, strict=True)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Version = Annotated[str, Field(pattern=VERSION)]


def _update(text: str) -> str:
    rank = re.fullmatch(r"lora-([1-9][0-9]{0,5})", text)
    if text not in ("full", "full-hidden") and not rank:
        raise ValueError("allowed are full, full-hidden and lora-R with a rank R of at least 1")
    return text


def _unique(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("has the same entry twice")
    return values


Update = Annotated[str, AfterValidator(_update)]
Grid = Annotated[list[Rate], Field(min_length=1, max_length=100), AfterValidator(_unique)]
Decays = Annotated[list[Decay], Field(min_length=1, max_length=100), AfterValidator(_unique)]
Sizes = Annotated[
    list[Annotated[float, Field(ge=0.01, le=100)]], Field(min_length=1, max_length=16), AfterValidator(_unique)
]
Updates = Annotated[list[Update], Field(min_length=1, max_length=32), AfterValidator(_unique)]
Seeds = (
    Annotated[int, Field(gt=0, le=10_000, strict=True)]
    | Annotated[
        list[Annotated[int, Field(ge=0, lt=2**63, strict=True)]],
        Field(min_length=1, max_length=10_000),
        AfterValidator(_unique),
    ]
)
Several = Annotated[
    list[Annotated[str, Field(max_length=4096)]], Field(min_length=1, max_length=32), AfterValidator(_unique)
]
Kind = Literal["full", "lora"]


class Card(BaseModel):
    """Base of every card and table in one: unknown keys are refused, and nothing changes after reading. The text below a
    field is its description, in the JSON Schema, too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


def fingerprint(content: Any) -> str:
    """sha256 over canonical JSON (sorted keys, no spaces, no NaN)."""
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()).hexdigest()
