"""The documentation holds: pages are found, commands parse, examples compile, answers exist, no link is broken."""

from __future__ import annotations

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

from docs import build, drawings, generated
from synthbench import cards
from synthbench.cards import ClaimCard, RunnerCard, TaskCard
from synthbench.interface.cli import app
from synthbench.scores import SCORES
from synthbench.trainer.optimizers import OPTIMIZERS
from tests.calling import Caller

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in ROOT.glob("docs/*.md")}


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
    found = {path.relative_to(ROOT).as_posix() for pattern in build.PAGES for path in ROOT.glob(pattern)}
    assert named == sorted(found | {*build.MADE})


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


def test_pages_are_filled_in_and_their_links_lead_somewhere(tmp_path: Path) -> None:
    """As they are before they are built: every file, and every heading, that a page links to."""
    build.assemble(tmp_path)
    pages = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.md")}
    for path, text in pages.items():
        page = path.relative_to(tmp_path).as_posix()
        assert page not in WRITTEN or "<!--" not in text, page
        assert not re.search(r"/(work|home|root)/", text), page
        for link in re.findall(r"\]\(([^)\s]+)\)", build.FENCED.sub("", text)):
            if not urlsplit(link).scheme:
                place, _, heading = link.partition("#")
                target = Path(os.path.normpath(path.parent / unquote(place))) if place else path
                assert target.is_file(), f"{page}: {link}"
                assert not heading or heading in headings(pages[target]), f"{page}: {link}"


def headings(text: str) -> set[str]:
    """Of a page, as a link names them."""
    found = re.findall(r"^#+ (.+)$", text.replace("\\", ""), re.M)
    return {re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in found}


def test_a_claim_that_is_not_there_ends_the_build() -> None:
    with pytest.raises(ValueError, match=r"'leaderboard'.* 'Pigs fly'"):
        generated.filled("<!-- claim leaderboard: Pigs fly -->")


def test_papers_are_linked_but_not_in_code_and_not_twice() -> None:
    text = "arXiv 2605.06654, [x](https://arxiv.org/abs/2605.06654) `2605.06654`, 0.00012"
    linked = "arXiv [2605.06654](https://arxiv.org/abs/2605.06654)"
    assert build.page(text) == text.replace("arXiv 2605.06654", linked, 1)


def test_generated_pages_have_all_there_is() -> None:
    scores, optimizers, commands_page = (
        build.MADE[f"docs/{name}.md"]() for name in ("scores", "optimizers", "commands")
    )
    for score in SCORES.values():
        assert score.name in scores.replace("\\", "")
        assert score.source in scores
    assert all(f"## {name}\n" in optimizers for name in OPTIMIZERS)
    assert all(f"## {name}\n" in commands_page for name in get_command(app).commands)


def test_pictures_hold_what_they_draw() -> None:
    """No text leaves the sheet, in the font that is asked for first."""
    for name, drawn in drawings.PICTURES.items():
        root = ElementTree.fromstring(drawn())
        width, height = (float(side) for side in root.attrib["viewBox"].split()[2:])
        level = [found for found in root.iter("{http://www.w3.org/2000/svg}text") if "transform" not in found.attrib]
        assert level, name
        for found in level:
            size, x, y = (float(found.attrib[key]) for key in ("font-size", "x", "y"))
            long = TextPath((0, 0), str(found.text), size, FontProperties(family="DejaVu Sans")).get_extents().width
            left = x - {"middle": long / 2, "end": long}.get(found.attrib.get("text-anchor", ""), 0)
            assert 0 <= left <= left + long <= width, f"{name}: {found.text}"
            assert size <= y <= height, f"{name}: {found.text}"


class Seen(HTMLParser):
    """What a built page refers to, what is fetched for it, and the places that can be referred to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.places |= {found[key] for key in ("id", "name") if key in found}
        link = found.get("src") or found.get("href")
        if link:
            (self.links if tag == "a" else self.fetched).append(link)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_no_link_is_broken(tmp_path: Path) -> None:
    build.build(tmp_path)
    pages = {
        path: Seen(path.read_text(encoding="utf-8")) for path in tmp_path.rglob("*.html") if path.name != "404.html"
    }
    assert len(pages) == len([*pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])])
    for path, seen in pages.items():
        for link in seen.links + seen.fetched:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                assert link not in seen.fetched, f"{path} fetches {link} from elsewhere"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path}: {link}"
            if parts.fragment and target.suffix == ".html":
                assert unquote(parts.fragment) in pages[target].places, f"{path}: {link}"
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert "|---" not in text, f"{path}: a table was not recognized"
    tasks, runners = ((tmp_path / folder / "index.html").read_text(encoding="utf-8") for folder in ("tasks", "runners"))
    assert all(f">{name} {cards.load(TaskCard, name).version}<" in tasks for name in cards.names(TaskCard))
    assert all(f">{name} {cards.load(RunnerCard, name).version}<" in runners for name in cards.names(RunnerCard))
