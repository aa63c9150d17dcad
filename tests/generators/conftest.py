"""Hypothesis tries the same cases everywhere and does not watch the clock."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("synthbench", deadline=None, derandomize=True, database=None)
settings.load_profile("synthbench")
