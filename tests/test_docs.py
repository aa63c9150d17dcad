"""Documentation: pages are in the navigation and current, commands parse, examples compile, links have targets."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
import yaml
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from typer.main import get_command

import synthbench
from docs import architecture, build, faq, pages
from synthbench import cards
from synthbench.cards import ClaimCard, RunnerCard, TaskCard
from synthbench.interface.cli import app
from synthbench.scores import SCORES
from synthbench.trainer.optimizers import OPTIMIZERS
from tests.calling import Caller

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for pattern in build.PAGES
    for path in sorted(ROOT.glob(pattern))
}
HAND_WRITTEN = {path: text for path, text in PAGES.items() if path.startswith("docs/") and path not in pages.PAGES}


def blocks(language: str) -> list[tuple[str, str]]:
    """The (page, text) of every fenced block of a language."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.M | re.S)
    return [(page, block) for page, text in HAND_WRITTEN.items() for block in fence.findall(text)]


def commands() -> list[str]:
    """The arguments of every `synthbench` command in the pages, without comments."""
    lines = [line.partition("  #")[0] for _, block in blocks("sh") for line in block.splitlines()]
    prose = [code for text in HAND_WRITTEN.values() for code in re.findall(r"`(synthbench [^`\n]+)`", text)]
    return sorted({line.removeprefix("synthbench ").strip() for line in lines + prose})


def pages_of(nav: Any) -> Iterator[str]:
    """All pages of a navigation."""
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages_of(value)


def test_every_page_is_in_the_navigation_once() -> None:
    in_navigation = sorted(pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert in_navigation == sorted(PAGES)


def test_every_command_has_its_subcommand_and_options() -> None:
    group = get_command(app)
    for command in commands():
        name, *words = shlex.split(command)
        assert name in group.commands, command
        group.commands[name].make_context(name, words)


def test_commands_that_need_no_file_or_training_run(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    quick_commands = [
        command for command in commands() if command.startswith(("ls ", "show ")) or "--dry-run" in command
    ]
    quick_commands = [command for command in quick_commands if not re.search(r"\.(toml|py)\b", command)]
    assert len(quick_commands) >= 3
    for command in quick_commands:
        code, _, err = call(command)
        assert code == 0, f"{command}: {err}"


def test_python_blocks_compile_and_toml_blocks_parse() -> None:
    for page, block in blocks("python"):
        compile(block, page, "exec")
    for page, block in blocks("toml"):
        content = tomllib.loads(block)
        assert content, page
        for claim in content.get("claims", []):
            ClaimCard.model_validate(claim)
    languages = {name for text in HAND_WRITTEN.values() for name in re.findall(r"^```(.+)$", text, re.M)}
    assert languages == {"sh", "python", "toml", "text"}


@pytest.mark.parametrize("is_site", [False, True], ids=["repository", "site"])
def test_every_relative_link_has_a_file_and_a_heading(is_site: bool, tmp_path: Path) -> None:
    """Tests the repository and the sources of the site."""
    folder = tmp_path if is_site else ROOT
    if is_site:
        build.assemble(tmp_path)
    texts = {folder / page: (folder / page).read_text(encoding="utf-8") for page in PAGES}
    for path, text in texts.items():
        page = path.relative_to(folder).as_posix()
        for link in relative_links(text):
            file, _, heading = link.partition("#")
            target = Path(os.path.normpath(path.parent / unquote(file))) if file else path
            assert target.is_file() or (target.is_dir() and not is_site), f"{page}: {link}"
            assert not heading or heading in headings(texts[target]), f"{page}: {link}"


def test_every_relative_link_leads_to_what_is_committed() -> None:
    """And not to a file that only the site has, or a build."""
    if not (ROOT / ".git").exists():
        pytest.skip("no repository")
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    committed = {path for name in listed for path in (Path(name), *Path(name).parents)}
    for page, text in PAGES.items():
        for link in relative_links(text):
            target = os.path.normpath(Path(page).parent / unquote(link.partition("#")[0])) if link[0] != "#" else page
            assert Path(target) in committed, f"{page}: {link}"


def relative_links(text: str) -> list[str]:
    """The links of a page to others and to itself: in brackets, with or without a title, in HTML, in definitions."""
    prose = build.FENCED.sub("", text)
    forms = (r"\]\(\s*<?([^)\s>]+)", r"""\b(?:href|src)=["']([^"']+)""", r"^ {0,3}\[[^]\n]+\]:\s*<?([^\s>]+)")
    links = [link for form in forms for link in re.findall(form, prose, re.M)]
    return [link for link in links if not urlsplit(link).scheme]


def test_links_and_headings_of_every_form_are_found() -> None:
    page = """
# A `b`, c
[x](one.md#a "title") ![y](<two.svg>) <a href="three.md">z</a> [there][it] `[no](code.md)` [out](https://example.com)

[it]: four.md

```sh
# no heading
[no](fenced.md)
```

## Again
## Again
"""
    assert relative_links(page) == ["one.md#a", "two.svg", "three.md", "four.md"]
    assert headings(page) == {"a-b-c", "again", "again-1"}


def test_files_named_for_contributors_exist() -> None:
    files = re.findall(r"`((?:synthbench|tests|docs|reports)/[a-z_/]+\.(?:py|md))`", PAGES["CONTRIBUTING.md"])
    assert len(files) >= 6
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_comments_in_pages_are_markers_only() -> None:
    """Readers do not see comments."""
    for page, text in PAGES.items():
        prose = build.FENCED.sub("", text)
        comments = re.findall(r"<!--(.*?)-->", prose, re.DOTALL)
        assert all(re.fullmatch(r" (BEGIN|END) [^\n]+ ", comment) for comment in comments), page
        assert prose.count("<!--") == len(comments), f"{page}: a comment without an end hides what follows"


def headings(text: str) -> set[str]:
    """The anchors of a page's headings."""
    prose = re.sub(r"^```.*?^```", "", text.replace("\\", ""), flags=re.M | re.S)
    titles = [re.sub(r"[^\w\s-]", "", title).strip() for title in re.findall(r"^#+ (.+)$", prose, re.M)]
    anchors = [title.lower().replace(" ", "-") for title in titles]
    before = [anchors[:index].count(anchor) for index, anchor in enumerate(anchors)]
    return {f"{anchor}-{count}" if count else anchor for anchor, count in zip(anchors, before, strict=True)}


def test_the_answers_of_the_faq_are_those_of_the_published_rows() -> None:
    text = PAGES["docs/faq.md"]
    assert len(faq.BLOCK.findall(text)) == text.count("<!-- BEGIN") == 10
    assert text == f"{faq.page()}\n", "stale: run python -m docs.pages"


def test_an_unknown_claim_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'leaderboard'.* 'Pigs fly'"):
        faq.filled("<!-- BEGIN claim leaderboard: Pigs fly -->\n<!-- END claim -->")


def test_papers_are_linked_once_and_not_in_code() -> None:
    text = "arXiv 2605.06654, [x](https://arxiv.org/abs/2605.06654) `2605.06654`, 0.00012"
    linked = "arXiv [2605.06654](https://arxiv.org/abs/2605.06654)"
    assert build.page(text) == text.replace("arXiv 2605.06654", linked, 1)


def test_generated_pages_are_complete() -> None:
    scores, optimizers, commands_page, api = (
        PAGES[f"docs/{name}.md"] for name in ("scores", "optimizers", "commands", "api")
    )
    for score in SCORES.values():
        assert score.name in scores.replace("\\", "")
        assert score.source in scores
    assert all(f"## {name}\n" in optimizers for name in OPTIMIZERS)
    assert all(f"## {name}\n" in commands_page for name in get_command(app).commands)
    assert all(f"### `{name}`\n" in api for name in synthbench.__all__)


def test_every_room_has_a_sentence() -> None:
    assert all(re.match(r"[A-Z].*\.$", architecture.about(room)) for room in architecture.ROOMS)


def test_imports_in_functions_count_and_those_for_type_checkers_do_not() -> None:
    source = """
from synthbench.common import files
from synthbench import cards

def late():
    import synthbench.gate.check

if TYPE_CHECKING:
    from synthbench.reporting import table
"""
    assert [*architecture.imported(ast.parse(source))] == ["common", "cards", "gate"]


def test_each_file_on_the_path_to_the_first_step_is_imported_by_an_earlier_one() -> None:
    stops = [file for file, _, _ in architecture.PATH]
    assert len(stops) <= architecture.MOST_STOPS
    earlier_sources = ""
    for file in stops:
        module = f"synthbench.{file.removesuffix('.py').replace('/', '.')}"
        package, _, name = module.rpartition(".")
        is_imported = rf"from {module} import|from {package} import .*\b({name}|IMPLEMENTATIONS)\b"
        assert not earlier_sources or re.search(is_imported, earlier_sources), file
        earlier_sources += (architecture.PACKAGE / file).read_text(encoding="utf-8")


def test_text_of_pictures_stays_inside() -> None:
    """Measures text in the first font of the pictures."""
    pictures = {name: draw for name, draw in pages.DRAWN.items() if name.startswith("docs/pictures/")}
    assert len(pictures) == 4
    for name, draw in pictures.items():
        root = ElementTree.fromstring(draw())
        width, height = (float(side) for side in root.attrib["viewBox"].split()[2:])
        level = [text for text in root.iter("{http://www.w3.org/2000/svg}text") if "transform" not in text.attrib]
        assert level, name
        for text in level:
            size, x, y = (float(text.attrib[key]) for key in ("font-size", "x", "y"))
            length = TextPath((0, 0), str(text.text), size, FontProperties(family="DejaVu Sans")).get_extents().width
            left = x - {"middle": length / 2, "end": length}.get(text.attrib.get("text-anchor", ""), 0)
            assert 0 <= left <= left + length <= width, f"{name}: {text.text}"
            assert size <= y <= height, f"{name}: {text.text}"


class Page(HTMLParser):
    """A built page. links: to other pages. resources: loaded for display. anchors: ids for links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.resources: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.anchors |= {values[key] for key in ("id", "name") if key in values}
        link = values.get("src") or values.get("href")
        if link:
            (self.links if tag == "a" else self.resources).append(link)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_no_link_is_broken(tmp_path: Path) -> None:
    build.build(tmp_path)
    built_pages = {
        path: Page(path.read_text(encoding="utf-8")) for path in tmp_path.rglob("*.html") if path.name != "404.html"
    }
    assert len(built_pages) == len([*pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])])
    for path, page in built_pages.items():
        for link in page.links + page.resources:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                assert link not in page.resources, f"{path} loads {link} from another host"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in built_pages[target].anchors, f"{path}: {link}"
    for path in built_pages:
        text = path.read_text(encoding="utf-8")
        assert "|---" not in text, f"{path}: a table was not recognized"
    tasks, runners = ((tmp_path / folder / "index.html").read_text(encoding="utf-8") for folder in ("tasks", "runners"))
    assert all(f">{name} {cards.load(TaskCard, name).version}<" in tasks for name in cards.names(TaskCard))
    assert all(f">{name} {cards.load(RunnerCard, name).version}<" in runners for name in cards.names(RunnerCard))
