"""Builds the documentation site: `python -m docs.build FOLDER` (default `site`), then open FOLDER/index.html.

Pages keep the places that they have in the repository, so that a link works here as it does there; what can be generated is
generated on the way. A broken link ends the build.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from docs import drawings, generated
from docs.pages import runners_page, tasks_page

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "reports/*.md", "examples/*/README.md"]
STYLE = Path("docs/style.css")
MADE = {
    "tasks/README.md": tasks_page,
    "runners/README.md": runners_page,
    "docs/scores.md": generated.scores_page,
    "docs/optimizers.md": generated.optimizers_page,
    "docs/commands.md": generated.commands_page,
}
FENCED = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.M | re.S)
PAPER = re.compile(r"(?<![/\d.])(\d{4}\.\d{5})(?![\d])")
LINK = re.compile(r"\]\(([^)#:]+)\)")
FOLDER_LINK = re.compile(r"\[([^]]+)\]\((?!https?:)[^)#.]+/?\)")  # a page of files on a forge, and nothing here


def page(text: str) -> str:
    """Markdown as a forge shows it, as the site's builder needs it; papers by their arXiv numbers are linked."""
    text = text.replace("<details>", "<details markdown>")
    parts = FENCED.split(generated.filled(text))
    parts[::2] = [PAPER.sub(r"[\1](https://arxiv.org/abs/\1)", FOLDER_LINK.sub(r"\1", part)) for part in parts[::2]]
    return "".join(parts)


def linked(place: Path, text: str) -> Iterator[Path]:
    """The project's files that a page links to, and that are no pages."""
    for link in LINK.findall(text):
        file = (ROOT / place.parent / link).resolve()
        if file.suffix != ".md" and file.is_file() and file.is_relative_to(ROOT):
            yield file.relative_to(ROOT)


def assemble(folder: Path) -> None:
    """Writes what the site is built from: pages, the files that they link to, generated pages and pictures."""
    written = {path.relative_to(ROOT): path.read_text(encoding="utf-8") for one in PAGES for path in ROOT.glob(one)}
    pages = {
        place: page(text) for place, text in (written | {Path(name): made() for name, made in MADE.items()}).items()
    }
    pictures = {Path(f"docs/pictures/{name}.svg"): drawn() for name, drawn in drawings.PICTURES.items()}
    files = {STYLE}.union(*(linked(place, text) for place, text in pages.items()))
    for place in [*pages, *pictures, *files]:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
    for place, content in (pages | pictures).items():
        (folder / place).write_text(content, encoding="utf-8")
    for place in files:
        shutil.copyfile(ROOT / place, folder / place)


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
