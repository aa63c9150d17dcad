"""What every card is built of: its base class, and the kinds of values that stand in cards of both kinds."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from synthbench.common.validation import NAME, VERSION

Name = Annotated[str, Field(pattern=NAME)]
Prose = Annotated[str, Field(max_length=4000)]
Positive = Annotated[int, Field(gt=0, le=10**8, strict=True)]
Version = Annotated[str, Field(pattern=VERSION)]


class Card(BaseModel):
    """Base of every card and table in one: unknown keys are refused, and nothing changes after reading. The text below a
    field is its description, in the JSON Schema, too."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


def canonical(content: Any) -> str:
    """As canonical JSON: sorted keys, no spaces, no NaN."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(content: Any) -> str:
    """sha256 over canonical JSON."""
    return sha256(canonical(content).encode()).hexdigest()
