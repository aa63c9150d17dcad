"""Builds the documentation site: `python -m docs.build FOLDER` (default `site`), then open FOLDER/index.html.

Pages are those of the repository, in the same folders, so a link works in both. `python -m docs.pages` writes the generated
ones. A broken link ends the build.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "reports/*.md", "reports/studies/*.md",
    "tasks/README.md", "runners/README.md", "examples/*/README.md",
)  # fmt: skip
STYLE = Path("docs/style.css")
FENCED = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.M | re.S)
PAPER = re.compile(r"(?<![/\d.])(\d{4}\.\d{5})(?![\d])")
LINK = re.compile(r"\]\(([^)#:]+)\)")
FOLDER_LINK = re.compile(r"\[([^]]+)\]\((?!https?:)[^)#.]+/?\)")  # a page of files on a forge, and nothing here


def page(text: str) -> str:
    """Markdown as a forge shows it, as the site's builder needs it; papers by their arXiv numbers are linked."""
    text = text.replace("<details>", "<details markdown>")
    parts = FENCED.split(text)
    parts[::2] = [PAPER.sub(r"[\1](https://arxiv.org/abs/\1)", FOLDER_LINK.sub(r"\1", part)) for part in parts[::2]]
    return "".join(parts)


def linked(path: Path, text: str) -> Iterator[Path]:
    """The project's files that a page links to, and that are no pages."""
    for link in LINK.findall(text):
        file = (ROOT / path.parent / link).resolve()
        if file.suffix != ".md" and file.is_file() and file.is_relative_to(ROOT):
            yield file.relative_to(ROOT)


def assemble(folder: Path) -> None:
    """Writes what the site is built from: pages, and the files and pictures that they link to."""
    sources = [path.relative_to(ROOT) for pattern in PAGES for path in ROOT.glob(pattern)]
    pages = {path: page((ROOT / path).read_text(encoding="utf-8")) for path in sources}
    files = {STYLE}.union(*(linked(path, text) for path, text in pages.items()))
    for path in [*pages, *files]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
    for path, content in pages.items():
        (folder / path).write_text(content, encoding="utf-8")
    for path in files:
        shutil.copyfile(ROOT / path, folder / path)


def build(site: Path) -> None:
    """Builds the site into a folder; raises CalledProcessError at a warning."""
    with TemporaryDirectory() as name:
        work = Path(name)
        shutil.copyfile(ROOT / "mkdocs.yml", work / "mkdocs.yml")
        assemble(work / "pages")
        subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], cwd=work, check=True)
        shutil.copytree(work / "site", site, dirs_exist_ok=True)


if __name__ == "__main__":
    try:
        build(Path(sys.argv[1] if len(sys.argv) > 1 else "site"))
    except subprocess.CalledProcessError:
        sys.exit("The site was not built: see the warnings above.")
