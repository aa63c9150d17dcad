"""A model's card, and the presets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from synthbench.cards.base import Card, Positive

MOST_PARAMETERS = 2**31


class ModelCard(Card):
    """A decoder-only transformer."""

    width: Annotated[int, Field(gt=0, le=2**14, strict=True)]
    layers: Annotated[int, Field(gt=0, le=128, strict=True)]
    head_width: Positive
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    """rmsnorm has no parameters, layernorm has gain and bias."""
    positions: Literal["rope", "learned"] = "rope"
    mlp: Literal["relu2", "gelu", "swiglu"] = "relu2"
    expansion: Annotated[int, Field(gt=0, le=64, strict=True)] = 4
    """Hidden width of the MLP over the model's."""
    tied: bool = False
    """The head shares the embedding's weights."""

    @model_validator(mode="after")
    def _divisible(self) -> ModelCard:
        if self.width % self.head_width:
            raise ValueError(f"width {self.width} must be a multiple of head_width {self.head_width}")
        if self.positions == "rope" and self.head_width % 2:
            raise ValueError("head_width must be even under rope")
        if (size := self.layers * self.width**2 * (4 + 3 * self.expansion)) > MOST_PARAMETERS:
            raise ValueError(f"about {size} parameters are more than the {MOST_PARAMETERS} allowed")
        return self


MODELS = {
    "tiny": ModelCard(width=64, layers=2, head_width=16),
    "compact": ModelCard(width=128, layers=4, head_width=16),
    "gpt2-small": ModelCard(
        width=768, layers=12, head_width=64, norm="layernorm", positions="learned", mlp="gelu", tied=True
    ),
}
