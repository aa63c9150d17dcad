"""The documentation: pages are found and fresh, commands parse, examples compile, no link is broken, rooms are in order."""

from __future__ import annotations

import ast
import os
import re
import shlex
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
WRITTEN = {path: text for path, text in PAGES.items() if path.startswith("docs/") and path not in pages.PAGES}


def blocks(language: str) -> list[tuple[str, str]]:
    """(page, text) of every fenced block of a language."""
    fence = re.compile(rf"^```{language}\n(.*?)^```", re.M | re.S)
    return [(page, block) for page, text in WRITTEN.items() for block in fence.findall(text)]


def commands() -> list[str]:
    """What follows `synthbench` in blocks and in the text of every page, without comments."""
    lines = [line.partition("  #")[0] for _, block in blocks("sh") for line in block.splitlines()]
    prose = [code for text in WRITTEN.values() for code in re.findall(r"`(synthbench [^`\n]+)`", text)]
    return sorted({line.removeprefix("synthbench ").strip() for line in lines + prose})


def pages_of(nav: Any) -> Iterator[str]:
    """Every page that a navigation names."""
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages_of(value)


def test_every_page_is_in_the_navigation_once() -> None:
    named = sorted(pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert named == sorted(PAGES)


def test_every_command_has_its_subcommand_and_options() -> None:
    group = get_command(app)
    for command in commands():
        name, *words = shlex.split(command)
        assert name in group.commands, command
        group.commands[name].make_context(name, words)


def test_commands_that_need_no_file_of_the_reader_s_run(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cheap = [c for c in commands() if c.startswith(("ls ", "show ")) or "--dry-run" in c]
    cheap = [c for c in cheap if not re.search(r"\.(toml|py)\b", c)]
    assert len(cheap) >= 3
    for command in cheap:
        code, _, err = call(command)
        assert code == 0, f"{command}: {err}"


def test_blocks_of_python_compile_and_those_of_toml_parse() -> None:
    for page, block in blocks("python"):
        compile(block, page, "exec")
    for page, block in blocks("toml"):
        read = tomllib.loads(block)
        assert read, page
        for claim in read.get("claims", []):
            ClaimCard.model_validate(claim)
    opened = {name for text in WRITTEN.values() for name in re.findall(r"^```(.+)$", text, re.M)}
    assert opened == {"sh", "python", "toml"}


@pytest.mark.parametrize("is_site", [False, True], ids=["repository", "site"])
def test_every_relative_link_leads_to_a_file_and_a_heading(is_site: bool, tmp_path: Path) -> None:
    """In the repository, and in what the site is built from."""
    folder = tmp_path if is_site else ROOT
    if is_site:
        build.assemble(tmp_path)
    texts = {folder / page: (folder / page).read_text(encoding="utf-8") for page in PAGES}
    for path, text in texts.items():
        page = path.relative_to(folder).as_posix()
        for link in re.findall(r"\]\(([^)\s]+)\)", build.FENCED.sub("", text)):
            if not urlsplit(link).scheme:
                place, _, heading = link.partition("#")
                target = Path(os.path.normpath(path.parent / unquote(place))) if place else path
                assert target.is_file() or (target.is_dir() and not is_site), f"{page}: {link}"
                assert not heading or heading in headings(texts[target]), f"{page}: {link}"


def test_the_files_that_contributors_are_pointed_to_exist() -> None:
    named = re.findall(r"`((?:synthbench|tests|docs|reports)/[a-z_/]+\.(?:py|md))`", PAGES["CONTRIBUTING.md"])
    assert len(named) >= 6
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_comments_in_pages_are_markers_alone() -> None:
    """An answer in a comment would be read by nobody."""
    for page, text in PAGES.items():
        comments = re.findall(r"<!--(.*?)-->", build.FENCED.sub("", text), re.DOTALL)
        assert all(re.fullmatch(r" (BEGIN|END) [^\n]+ ", comment) for comment in comments), page
        assert not re.search(r"/(work|home|root)/", text), page


def headings(text: str) -> set[str]:
    """Of a page, as a link names them."""
    titles = re.findall(r"^#+ (.+)$", text.replace("\\", ""), re.M)
    return {re.sub(r"[^\w\s-]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_the_answers_of_the_faq_are_those_of_the_published_rows() -> None:
    text = PAGES["docs/faq.md"]
    assert len(faq.BLOCK.findall(text)) == text.count("<!-- BEGIN") == 10
    assert text == f"{faq.page()}\n", "stale: run python -m docs.pages"


def test_a_claim_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'leaderboard'.* 'Pigs fly'"):
        faq.filled("<!-- BEGIN claim leaderboard: Pigs fly -->\n<!-- END claim -->")


def test_the_claims_that_do_not_test_their_sources_are_marked_at_the_top() -> None:
    for page in ("docs/faq.md", "reports/README.md"):
        first = PAGES[page].split("\n\n")[1].replace("\n", " ")
        assert "Claims 2, 3 and 9 do not test their sources' claims and must not be cited against them." in first


def test_papers_are_linked_but_not_in_code_and_not_twice() -> None:
    text = "arXiv 2605.06654, [x](https://arxiv.org/abs/2605.06654) `2605.06654`, 0.00012"
    linked = "arXiv [2605.06654](https://arxiv.org/abs/2605.06654)"
    assert build.page(text) == text.replace("arXiv 2605.06654", linked, 1)


def test_generated_pages_have_all_there_is() -> None:
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


def test_the_path_to_the_first_step_is_short_and_each_file_is_imported_by_an_earlier_one() -> None:
    stops = [file for file, _, _ in architecture.PATH]
    assert len(stops) <= architecture.MOST_STOPS
    before = ""
    for file in stops:
        module = f"synthbench.{file.removesuffix('.py').replace('/', '.')}"
        package, _, name = module.rpartition(".")
        is_imported = rf"from {module} import|from {package} import .*\b({name}|IMPLEMENTATIONS)\b"
        assert not before or re.search(is_imported, before), file
        before += (architecture.PACKAGE / file).read_text(encoding="utf-8")


def test_pictures_hold_what_they_draw() -> None:
    """No text leaves the sheet, in the font that is asked for first."""
    drawn = {name: made for name, made in pages.DRAWN.items() if name.startswith("docs/pictures/")}
    assert len(drawn) == 4
    for name, made in drawn.items():
        root = ElementTree.fromstring(made())
        width, height = (float(side) for side in root.attrib["viewBox"].split()[2:])
        level = [text for text in root.iter("{http://www.w3.org/2000/svg}text") if "transform" not in text.attrib]
        assert level, name
        for text in level:
            size, x, y = (float(text.attrib[key]) for key in ("font-size", "x", "y"))
            long = TextPath((0, 0), str(text.text), size, FontProperties(family="DejaVu Sans")).get_extents().width
            left = x - {"middle": long / 2, "end": long}.get(text.attrib.get("text-anchor", ""), 0)
            assert 0 <= left <= left + long <= width, f"{name}: {text.text}"
            assert size <= y <= height, f"{name}: {text.text}"


class Page(HTMLParser):
    """A built page. links: to other pages. fetched: for its display. places: ids that a link can name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value or "" for key, value in attrs}
        self.places |= {values[key] for key in ("id", "name") if key in values}
        link = values.get("src") or values.get("href")
        if link:
            (self.links if tag == "a" else self.fetched).append(link)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_no_link_is_broken(tmp_path: Path) -> None:
    build.build(tmp_path)
    built = {
        path: Page(path.read_text(encoding="utf-8")) for path in tmp_path.rglob("*.html") if path.name != "404.html"
    }
    assert len(built) == len([*pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])])
    for path, page in built.items():
        for link in page.links + page.fetched:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                assert link not in page.fetched, f"{path} fetches {link} from elsewhere"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in built[target].places, f"{path}: {link}"
    for path in built:
        text = path.read_text(encoding="utf-8")
        assert "|---" not in text, f"{path}: a table was not recognized"
    tasks, runners = ((tmp_path / folder / "index.html").read_text(encoding="utf-8") for folder in ("tasks", "runners"))
    assert all(f">{name} {cards.load(TaskCard, name).version}<" in tasks for name in cards.names(TaskCard))
    assert all(f">{name} {cards.load(RunnerCard, name).version}<" in runners for name in cards.names(RunnerCard))
