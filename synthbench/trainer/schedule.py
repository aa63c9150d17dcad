"""Learning-rate schedules, as factors of the rate. Imports no torch."""

from __future__ import annotations

from math import cos, pi
from typing import NamedTuple

FINAL = 0.1  # what cosine ends at


class Schedule(NamedTuple):
    """steps: in all. kind: `cosine` (to 10 %) or `constant`, after a warm-up over the share `warmup` of the steps."""

    steps: int
    kind: str
    warmup: float

    def factor(self, step: int) -> float:
        """The factor at step 0, 1, ..., steps - 1: linear in the warm-up (its first step is not 0), then as `kind`."""
        warm = round(self.warmup * self.steps)
        if step < warm:
            return (step + 1) / warm
        if self.kind == "constant":
            return 1.0
        progress = (step - warm + 1) / (self.steps - warm)
        return FINAL + (1 - FINAL) * (1 + cos(pi * progress)) / 2
