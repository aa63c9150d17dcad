"""Published pages, rows and figures are generated from real runs of the current code."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from statistics import fmean

import pytest

from docs import build, calibration, pages, paths
from docs.performance import FOUND
from synthbench.analysis import claims, ranks, reference
from synthbench.analysis.reference import Reference
from synthbench.cards import RunnerCard, TaskCard, load, names
from synthbench.experiment.grids import grid, rates_of, settings
from synthbench.experiment.runs import Cell
from synthbench.generators import Task
from synthbench.reporting import claim_answers, figures, notes, table
from synthbench.reporting.report import View
from synthbench.reporting.sentence import sentence
from synthbench.trainer.native.path import NATIVE, TORCH, of_device
from tests import publish
from tests.each import each

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = [name for name in publish.STUDIES if (ROOT / "reports" / f"{name}.json").exists()]


def published_rows(runner: str) -> tuple[RunnerCard, Reference]:
    card = load(RunnerCard, runner)
    rows = reference.shipped(card)
    assert rows is not None
    return card, rows


@pytest.mark.parametrize("page", pages.PAGES)
def test_generated_pages_are_current(page: str) -> None:
    assert (ROOT / page).read_text().rstrip() == pages.PAGES[page]().rstrip()
    assert page == "README.md" or "`python -m docs.pages`" in (ROOT / page).read_text().splitlines()[2]


@pytest.mark.parametrize("picture", pages.DRAWN)
def test_drawn_pictures_are_current(picture: str) -> None:
    assert (ROOT / picture).read_text() == pages.DRAWN[picture]()


@pytest.mark.parametrize(
    "runner",
    ["quick", "calibration", "leaderboard", "planted", "sizes", *PUBLISHED],
)
def test_published_rows_agree_with_card_tasks_and_code(runner: str) -> None:
    card, published = published_rows(runner)
    assert published.card == card.fingerprint()
    assert published.tasks == {name: Task(load(TaskCard, name)).fingerprint for name in card.tasks}
    edited = "edited since: make reports/ again, see CONTRIBUTING.md"
    assert published.package == reference.package(card, published.device), edited
    assert {row.optimizer for row in published.rows} >= {*card.optimizers}


def test_the_page_on_paths_compares_rows_of_two_paths() -> None:
    devices = [Reference.model_validate_json(file.read_text()).device for file in (paths.NATIVE, paths.TORCH)]
    assert [*map(of_device, devices)] == [NATIVE, TORCH]


@pytest.mark.parametrize("page", ["reports/quick.md", "README.md"])
def test_published_tables_and_sentences_are_those_of_the_published_rows(page: str) -> None:
    """Of the first command's own rows, with the reference rows that it stands beside."""
    card, _ = published_rows("quick")
    example = Reference.model_validate_json((ROOT / "reports" / "quick-example.json").read_text(encoding="utf-8"))
    rows, source = reference.beside(example.rows, card, example.tasks)
    assert source is not None
    text = (ROOT / page).read_text(encoding="utf-8")
    expected = table.Table(rows, card.columns)
    assert table.as_markdown(replace(expected, notes=notes.legend(expected, card))).strip() in text
    assert sentence(rows, card) in text
    assert example.device in text
    assert example.command in text


@pytest.mark.parametrize("task", load(RunnerCard, "calibration").tasks)
def test_the_calibration_has_a_regime_where_optimizers_differ(task: str) -> None:
    """SGD may forget nearly everything: it did so, too, after three times AdamW's pretraining, to AdamW's loss."""
    _, published = published_rows("calibration")
    rows_by_optimizer = {row.optimizer: row for row in published.rows if (row.task, row.update) == (task, "full")}
    assert rows_by_optimizer.keys() == {"adamw", "muon", "sgd"}
    assert all(len(row.seeds) >= 8 for row in rows_by_optimizer.values())
    reasons = {name: calibration.why_not(row) for name, row in rows_by_optimizer.items()}
    assert (reasons["adamw"], reasons["muon"]) == (None, None)
    assert "pretraining not learned" not in (reasons["sgd"] or "")


def test_no_report_has_a_seed_of_the_calibration() -> None:
    seeds = {runner: {*load(RunnerCard, runner).seed_list} for runner in names(RunnerCard)}
    calibration_seeds = set.union(*(seeds.pop(name) for name in calibration.RUNNERS))
    assert [runner for runner, others in seeds.items() if others & calibration_seeds] == []


@pytest.mark.parametrize("study", PUBLISHED)
def test_a_study_s_page_and_figures_are_those_of_its_rows(study: str) -> None:
    card, published = published_rows(study)
    lines = claim_answers.lines(claims.answers(card, published.rows), Path(f"{study}-results"))
    assert "\n".join(lines) in (ROOT / "reports" / "studies" / f"{study}.md").read_text()
    expected = {picture.file: picture.svg for picture in figures.make(published.rows, card).pictures}
    assert {path.name: path.read_bytes() for path in (ROOT / "reports" / "studies" / study).iterdir()} == expected


@pytest.mark.parametrize("runner", ["calibration", "leaderboard", "sizes"])
def test_published_figures_are_those_of_the_published_rows(runner: str) -> None:
    card, published = published_rows(runner)
    pictures = [
        *figures.make(published.rows, card).pictures,
        *([pages.regime_picture()] if runner == "calibration" else []),
    ]
    expected = {picture.file: picture.svg for picture in pictures}
    assert {path.name: path.read_bytes() for path in (ROOT / "reports" / runner).iterdir()} == expected


def test_the_leaderboard_s_page_is_that_of_its_rows() -> None:
    card, published = published_rows("leaderboard")
    page = (ROOT / "reports" / "leaderboard.md").read_text()
    rows = View(sort=card.rank).ordered(published.rows)
    placed = ranks.ranks(rows, str(card.rank), card)
    expected = table.Table(rows, card.columns, ranks=placed, ranked_by=str(card.rank))
    assert table.as_markdown(replace(expected, notes=notes.legend(expected, card))).strip() in page
    lines = claim_answers.lines(claims.answers(card, published.rows), Path("leaderboard-results"))
    assert len(lines) == len(card.claims) == 7
    assert "\n".join(lines) in page
    for text in (published.device, published.command, *published.versions.values()):
        assert text in page


def test_every_published_file_has_a_command_that_makes_it() -> None:
    outputs = {"reports/README.md", "reports/reliability.md", "reports/gpu.json"}  # tests.reliability, tests.gpu
    outputs |= {"reports/performance.json"} if FOUND.exists() else set()  # tests.benchmarks
    outputs |= {"reports/scale.json"}  # tests.benchmarks.scale
    unmeasured = {*publish.STUDIES} - {*PUBLISHED}
    for name in publish.PRODUCTS.keys() - unmeasured:  # of which the page of the papers says so
        for command in publish.commands(name):
            words, _, target = command.partition(" > ")
            outputs |= {target} if target else set()
            outputs |= {*pages.PAGES, *pages.DRAWN} if command == "docs.pages" else set()
            if "--figures" in words:
                folder = ROOT / words.split("--figures ")[1].split()[0]
                outputs |= {path.relative_to(ROOT).as_posix() for path in folder.iterdir()}
    published = [path for path in ROOT.glob("reports/**/*") if path.is_file()] + [*ROOT.glob("*s/README.md")]
    published += [ROOT / path for path in (*pages.PAGES, *pages.DRAWN)]
    assert {path.relative_to(ROOT).as_posix() for path in published} == outputs


def test_the_leaderboard_is_complete() -> None:
    card, published = published_rows("leaderboard")
    assert {row.task for row in published.rows} == {*card.tasks}
    assert all(row.seeds == card.seed_list and len(row.seeds) >= 16 for row in published.rows)
    for name in ("adamw", "muon", "sgd"):
        updates = {row.update for row in published.rows if row.optimizer == name}
        assert updates == {"full", "full-hidden", "lora-16"}
    assert {row.optimizer for row in published.rows} >= {"adamw-again", "muon-again"}  # A/A
    assert published.spent.seconds / 2 <= 90 * 60  # two processes on a shared machine


@pytest.mark.parametrize("task", load(RunnerCard, "sizes").tasks)
def test_finetuning_sizes_cover_low_and_high_rule_accuracy(task: str) -> None:
    _, published = published_rows("sizes")
    accuracies = [fmean(row.values["rule_accuracy"].values()) for row in published.rows if row.task == task]
    assert min(accuracies) < 0.25
    assert max(accuracies) > 0.7


def test_planted_optimizers_have_lower_ranks_and_a_twin_does_not() -> None:
    """Embeddings that never move cost what is forgotten, not what is learned."""
    card, published = published_rows("planted")

    def is_lower(name: str, score: str) -> list[bool]:
        """Whether an optimizer is below all of AdamW's places, by task."""
        placed = zip(published.rows, ranks.ranks(published.rows, score, card), strict=True)
        rank_of = {(row.optimizer, row.task): rank for row, rank in placed if rank}
        both = [(rank_of.get((name, task)), rank_of.get(("adamw", task))) for task in card.tasks]
        return [bool(its and adamw and its.first > adamw.last) for its, adamw in both]

    assert any(is_lower("adamw-quarter", "learning"))
    forgetting = [name for name in card.columns if "forgetting" in name]
    assert any(any(is_lower("adamw-frozen", score)) for score in forgetting)
    assert not any(is_lower("adamw-twin", "learning"))
    assert sum(sum(is_lower("adamw-twin", score)) for score in forgetting) <= 1  # a false alarm


@each("runner", ["quick", "leaderboard", "planted", "sizes"])
def test_runners_pretrain_as_the_calibration_at_its_chosen_rates(runner: str) -> None:
    card, (calibration_card, calibration) = load(RunnerCard, runner), published_rows("calibration")
    stage = card.stage("pretrain")
    assert isinstance(stage.lr, dict)
    chosen_rates = {(row.task, row.optimizer): row.start_lr for row in calibration.rows if row.optimizer in stage.lr}
    for (task, name), rate in chosen_rates.items():
        if task in card.tasks:
            assert rates_of(card, stage, task, Cell(task, "pretrain", (), name, "full", 0.0)) == [rate], (task, name)
    for task, name in product(card.tasks, card.optimizers):
        if name in calibration_card.optimizers:
            settings_of_runner, settings_of_calibration = (
                settings(runner_card, runner_card.stage("pretrain"), task, name)
                for runner_card in (card, calibration_card)
            )
            assert (settings_of_runner.steps, settings_of_runner.weight_decay) == (
                settings_of_calibration.steps,
                settings_of_calibration.weight_decay,
            ), (task, name)


def test_quick_and_calibration_train_with_the_same_settings() -> None:
    """But quick has a shorter path with points as far apart, one target step and the two middle rates."""
    quick, calibration = load(RunnerCard, "quick"), load(RunnerCard, "calibration")
    assert quick.shape == calibration.shape
    one_target_step = calibration.reading.model_copy(update={"target_steps": [calibration.reading.target_step]})
    assert quick.reading == one_target_step
    assert quick.arguments == calibration.arguments
    assert quick.stage("pretrain").steps == calibration.stage("pretrain").steps
    apart = {card.stage("finetune").steps / card.stage("finetune").points for card in (quick, calibration)}
    assert len(apart) == 1
    differing = {"lr", "extend", "relearn", "overrides", "steps", "points"}
    for stage in ("pretrain", "finetune"):
        assert quick.stage(stage).model_dump(exclude=differing) == calibration.stage(stage).model_dump(
            exclude=differing
        )
    assert quick.stage("pretrain").overrides["sgd"] == calibration.stage("pretrain").overrides["sgd"]
    for name, update in product(quick.stage("finetune").lr, quick.stage("finetune").update):
        quick_grid, calibration_grid = (
            grid(card, card.stage("finetune"), name, update) for card in (quick, calibration)
        )
        assert quick_grid == calibration_grid[1:3]


def test_every_optimizer_has_the_same_number_of_rates_a_factor_of_two_apart() -> None:
    for runner in names(RunnerCard):
        card = load(RunnerCard, runner)
        for stage in card.stages:
            optimizers = [name for name in card.optimizers if name not in card.variants]
            grids = [grid(card, stage, name, update) for name in optimizers for update in stage.update]
            assert len({len(rates) for rates in grids}) == 1
            assert all(abs(high / low - 2) < 1e-9 for rates in grids for low, high in pairwise(rates))


def test_no_page_names_a_path_of_a_machine() -> None:
    pages_and_reports = {path for pattern in (*build.PAGES, "reports/**/*") for path in ROOT.glob(pattern)}
    for path in filter(Path.is_file, pages_and_reports):
        assert not re.search(r"/(work|home|root)/", path.read_text()), path


def test_the_reliability_report_has_all_campaigns_and_no_broken_promise() -> None:
    from tests.reliability.__main__ import CAMPAIGNS, EVERY

    text = (ROOT / "reports" / "reliability.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")][1:]
    names = [row[0] for row in rows]
    assert names == [name for name in EVERY if name in names]
    assert set(CAMPAIGNS) <= set(names)
    assert all(int(row[1]) >= EVERY[row[0]][1] for row in rows)
    assert all(row[3] == "0" for row in rows)
