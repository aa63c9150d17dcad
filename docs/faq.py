"""docs/faq.md with its quoted answers, from published rows: what stands between a BEGIN and an END line."""

from __future__ import annotations

import re
from pathlib import Path

from docs.generated import MADE

FAQ = Path(__file__).resolve().parent / "faq.md"
BLOCK = re.compile(
    r"^(<!-- BEGIN (claim|rates) ([a-z]+): ([^\n]+) -->\n).*?^(<!-- END \2 -->)$", re.MULTILINE | re.DOTALL
)


def filled(text: str) -> str:
    """A page with every block as the published rows have it; raises ValueError for a claim that is not there."""
    return BLOCK.sub(lambda match: f"{match[1]}{MADE[match[2]](match[3], match[4])}\n{match[5]}", text)


def page() -> str:
    """docs/faq.md with its quoted answers anew."""
    return filled(FAQ.read_text(encoding="utf-8")).rstrip()
