"""Figures of a report: which there are, drawn from its rows, as SVG files. Importing this imports no matplotlib."""

from __future__ import annotations

from synthbench.reporting.figures.write import KINDS, Made, Picture, make, markdown, write

__all__ = ["KINDS", "Made", "Picture", "make", "markdown", "write"]
