"""Figures show the means of rows, are the same bytes for the same rows, and are left out without data."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from itertools import cycle, product
from math import log2
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from docs.calibration import BAND, KEPT
from synthbench.analysis.rows import Row
from synthbench.cards import AxisCard, RunnerCard, load
from synthbench.cards.runner import VariantCard
from synthbench.common.errors import BadInput
from synthbench.common.wording import short
from synthbench.experiment.runs import Run
from synthbench.reporting import figures
from tests.analysis.example_rows import row
from tests.calling import Caller
from tests.each import each
from tests.reporting import synthetic_results

matplotlib = pytest.importorskip("matplotlib")
sheet = import_module("synthbench.reporting.figures.sheet")  # needs matplotlib
marks = import_module("synthbench.reporting.figures.marks")
CARD = load(RunnerCard, "calibration")
LEADERBOARD = load(RunnerCard, "leaderboard")
RATES = (2.5e-4, 5e-4, 1e-3)
KINDS = ("equal-fit", "matrix", "front", "memorization", "sizes", "sensitivity")


def full_row(optimizer: str, update: str = "full", height: float = 0.3, **changes: Any) -> Row:
    """A row with every value that a figure shows. height: the level of its means."""
    of_seed = [height - 0.05, height, height + 0.08]
    values = {name: dict(enumerate(of_seed)) for name in (
        "learning", "learning@fit", "rule_accuracy", "rule_accuracy@fit", "fact_recall@fit", "fact_forgetting@fit",
        "retention@fit",
    )}  # fmt: skip
    rates = {
        rate: {"learning": {seed: value + index / 10 for seed, value in enumerate(of_seed)},
               "forgetting": {seed: value / 2 + index / 10 for seed, value in enumerate(of_seed)}}
        for index, rate in enumerate(RATES)
    }  # fmt: skip
    values_shown: dict[str, Any] = {"values": values, "rates": rates, "items": {"fact": 24, "rule": 72}, "lr": 5e-4}
    return row(optimizer, update).model_copy(update=values_shown | changes)


ROWS = [
    full_row(optimizer, update, height, task=task)
    for task in ("rote-vs-rule", "wugs")
    for optimizer, update, height in (("adamw", "full", 0.2), ("muon", "full", 0.4), ("muon", "lora-16", 0.6))
]
SIZES = [
    full_row(name, height=height * size, size=size, items={"rule": int(72 * size)})
    for name, height in (("adamw", 0.2), ("muon", 0.4))
    for size in (0.5, 1.0, 2.0)
]


def figure_module(name: str) -> Any:
    return import_module(
        "docs.regime" if name == "regime" else f"synthbench.reporting.figures.{name.replace('-', '_')}"
    )


def draw(name: str, rows: list[Row], card: RunnerCard = CARD) -> Any:
    with sheet.styled():
        figure = figure_module(name).draw(rows, card)
    assert figure is not None
    return figure


def points(figure: Any, panel: int = 0) -> set[tuple[float, float]]:
    """The rounded positions of a panel's markers."""
    with_markers = [line for line in figure.axes[panel].lines if line.get_marker() not in ("", "None", None)]
    return {(round(float(x), 4), round(float(y), 4)) for line in with_markers for x, y in line.get_xydata()}


def mean(values: dict[int, float]) -> float:
    return sum(values.values()) / len(values)


def means_of(row: Row, *scores: str) -> tuple[float, ...]:
    return tuple(round(mean(row.values[name]), 4) for name in scores)


def test_the_front_has_every_learning_rate_of_every_row_and_fills_the_chosen_one() -> None:
    figure = draw("front", ROWS)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["rote-vs-rule", "wugs"]
    expected = {
        (round(mean(scores["forgetting"]), 4), round(mean(scores["learning"]), 4))
        for row in ROWS[:3] for scores in row.rates.values()
    }  # fmt: skip
    assert points(figure) == expected
    lines = figure.axes[0].lines
    filled_markers = [line for line in lines if line.get_marker() != "None" and line.get_markersize() > 5]
    assert {round(float(line.get_ydata()[0]), 4) for line in filled_markers} == {
        round(mean(row.rates[5e-4]["learning"]), 4) for row in ROWS[:3]
    }
    assert all(line.get_markerfacecolor() == line.get_markeredgecolor() for line in filled_markers)


def test_equal_fit_has_a_point_with_intervals_for_every_row() -> None:
    figure = draw("equal-fit", ROWS)
    assert points(figure) == {means_of(row, "fact_forgetting@fit", "learning@fit") for row in ROWS[:3]}
    assert all(len(container[2]) == 2 for container in figure.axes[0].containers)  # bars along both axes


def test_the_matrix_has_a_shade_and_a_number_for_every_pair_and_outlines_the_same_optimizer() -> None:
    crossed = [
        full_row(name, height=height, base=[base])
        for height, (base, name) in zip((0.2, 0.4, 0.6, 0.8), product(("adamw", "muon"), repeat=2), strict=True)
    ]
    figure = draw("matrix", crossed)
    forgotten, learned = figure.axes[:2]
    for axes, score in ((forgotten, "fact_forgetting@fit"), (learned, "learning@fit")):
        shown = {(text.get_position(), text.get_text()) for text in axes.texts}
        means = [f"{mean(row.values[score]):.2f}" for row in crossed]
        assert shown == {*zip([(0, 0), (1, 0), (0, 1), (1, 1)], means, strict=True)}
        assert [patch.get_xy() for patch in axes.patches] == [(-0.47, -0.47), (0.53, 0.53)]
    assert figure_module("matrix").draw(crossed[::3], CARD) is None  # nothing is crossed
    on_axis = [row.model_copy(update={"axes": {"decay": value}}) for row in crossed for value in (0, 1)]
    assert figure_module("matrix").draw(on_axis, CARD) is None  # a cell would have two values


def test_the_matrix_says_where_the_fit_is_not_reached_and_has_no_twins() -> None:
    card = CARD.model_copy(update={"variants": {"adamw-again": VariantCard(of="adamw", salt="again")}})
    crossed = [full_row(name, base=[base]) for base in ("adamw", "muon") for name in ("adamw", "muon")]
    crossed[0] = crossed[0].model_copy(update={"values": {}})
    twin = full_row("adamw-again", base=["adamw"]).model_copy(update={"variant_of": "adamw"})
    with sheet.styled():
        figure = figure_module("matrix").draw([*crossed, twin], card)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert (len(texts), texts.count("not\nreached")) == (4, 1)
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["adamw", "muon"]


def test_an_axis_has_a_point_for_every_value_and_the_loss_before_where_it_changes_that() -> None:
    card = CARD.model_copy(update={"axes": [AxisCard(path="stages.pretrain.weight_decay", values=[0, 1], label="d")]})
    rows = [
        full_row(name, axes={"d": value}, height=0.2 + value / 10, start={"validation_loss": {0: value + 0.5}})
        for name in ("adamw", "muon") for value in (0, 1)
    ]  # fmt: skip
    over = figure_module("axis").OverAxis(card.axes[0])
    with sheet.styled():
        figure = over.draw(rows, card)
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert points(figure, titles.index("rote-vs-rule: base loss")) == {(0, 0.5), (1, 1.5)}
    accuracy = next(index for index, title in enumerate(titles) if title.endswith("rule_accuracy@fit"))
    assert points(figure, accuracy) == {(value, means_of(rows[value], "rule_accuracy@fit")[0]) for value in (0, 1)}
    assert over.draw(rows[::2], card) is None


def test_no_line_leads_over_a_value_that_was_not_read() -> None:
    card = CARD.model_copy(
        update={"axes": [AxisCard(path="stages.pretrain.weight_decay", values=[0, 1, 2], label="d")]}
    )
    rows = [full_row("adamw", axes={"d": value}) for value in (0, 1, 2)]
    rows[1] = rows[1].model_copy(update={"values": {}})
    with sheet.styled():
        figure = figure_module("axis").OverAxis(card.axes[0]).draw(rows, card)
    (line,) = [line for line in figure.axes[0].lines if len(line.get_xdata()) == 3]
    assert [value == value for value in line.get_ydata()] == [True, False, True]


def test_a_figure_of_one_size_names_it() -> None:
    assert figures.draw("front", figure_module("front"), SIZES, CARD).caption.endswith(" At size 1.")
    assert "size" not in figures.draw("front", figure_module("front"), ROWS, CARD).caption


def test_memorization_shows_held_out_accuracy_and_fact_recall_with_intervals() -> None:
    diverged = full_row("sgd", values={"learning": {0: 0.1}})
    figure = draw("memorization", [*ROWS[:3], diverged])
    assert {x for x, _ in points(figure)} == {
        x for row in ROWS[:3] for x in means_of(row, "rule_accuracy@fit", "fact_recall@fit")
    }
    assert "not reached" in [text.get_text() for text in figure.axes[0].texts]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["full", "lora-16"]
    intervals = [collection.get_segments()[0] for collection in figure.axes[0].collections]
    half_width = 4.302653 * 0.065574 / 3**0.5  # Student's t of two degrees of freedom times the standard error
    assert all(segment[1][0] - segment[0][0] == pytest.approx(2 * half_width, abs=1e-4) for segment in intervals)


def test_sizes_shows_rule_accuracy_over_trained_items_and_the_threshold() -> None:
    figure = draw("sizes", SIZES)
    assert points(figure) == {(row.items["rule"], *means_of(row, "rule_accuracy")) for row in SIZES}
    assert figure.axes[0].get_xscale() == "log"
    assert [list(line.get_ydata()) for line in figure.axes[0].lines if line.get_linestyle() == ":"] == [[0.5, 0.5]]


def test_sensitivity_shows_learning_over_the_learning_rate_relative_to_the_chosen_one() -> None:
    learned = full_row("adamw").values["learning"]
    variant = full_row("adamw-default", lr=1e-3, rates={1e-3: {"learning": learned}}, variant_of="adamw")
    card = CARD.model_copy(update={"variants": {"adamw-default": VariantCard(of="adamw", lr=[1e-3])}})
    figure = draw("sensitivity", [*ROWS[:2], variant], card)
    expected = {
        (log2(rate / 5e-4), round(mean(scores["learning"]), 4))
        for row in ROWS[:2] for rate, scores in row.rates.items()
    }  # fmt: skip
    assert points(figure) == expected | {(1.0, *means_of(variant, "learning"))}
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["1/2×", "1×", "2×"]


def test_the_regime_has_the_limits_of_the_calibration_and_names_rows_that_were_not_reached() -> None:
    not_reached = full_row("sgd", values={"rule_accuracy@fit": {}}, task="wugs")
    figure = draw("regime", [*ROWS, not_reached])
    assert points(figure, 1) == {means_of(row, "rule_accuracy@fit", "retention@fit") for row in ROWS[3:]}
    (box,) = figure.axes[1].patches
    assert (box.get_x(), box.get_y()) == (BAND[0], KEPT[0])
    assert (box.get_x() + box.get_width(), box.get_y() + box.get_height()) == pytest.approx((BAND[1], KEPT[1]))
    assert figure.axes[1].texts[0].get_text() == "not reached:\nsgd full"


def test_a_task_without_a_rule_is_placed_by_recall_of_rare_facts() -> None:
    fact_scores = {"tail_recall@fits": {0: 0.8}, "retention@fit": {0: 0.5}, "fact_recall@fit": {0: 0.9}}
    figure = draw("regime", [full_row("adamw", values=fact_scores)])
    assert points(figure) == {(0.8, 0.5)}
    assert "rare facts" in figure.axes[0].get_xlabel()
    assert figure.axes[0].patches[0].get_width() > 1
    assert points(draw("memorization", [full_row("adamw", values=fact_scores)])).pop()[0] == 0.8


def test_figures_without_data_are_left_out_with_a_message() -> None:
    figures_made = figures.make(ROWS, CARD)
    assert [item.name for item in figures_made.pictures] == ["equal-fit", "front", "memorization", "sensitivity"]
    assert [item.split(":")[0] for item in figures_made.skipped] == ["No matrix.svg", "No sizes.svg"]
    without_data = figures.make([row("sgd", lr=None)], CARD)
    assert (list(without_data.pictures), len(without_data.skipped)) == ([], len(KINDS))


def test_the_same_rows_make_the_same_bytes_under_any_matplotlib_settings() -> None:
    rows = [
        *ROWS,
        *SIZES,
        *(full_row(name, base=["muon"]) for name in ("adamw", "muon")),
        full_row("muon", base=["adamw"]),
    ]
    before = figures.make(rows, CARD)
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "axes.facecolor": "black"}):
        after = figures.make(rows, CARD)
    assert before == after
    assert len(before.pictures) == len(KINDS)
    for picture in before.pictures:
        assert re.search(rb"\d{4}-\d\d-\d\dT", picture.svg) is None  # no date
        texts = {
            "".join(element.itertext())
            for element in ElementTree.fromstring(picture.svg).iter("{http://www.w3.org/2000/svg}text")
        }
        panel = {"rote-vs-rule: learned"} if picture.name == "matrix" else {"rote-vs-rule", "optimizer"}
        assert {picture.title, "adamw", *panel} <= texts


def test_names_are_shown_unchanged() -> None:
    names = ["_x.py:$A_1$", "./opt.py:<b>&", "日本.py:Opt", "a-folder/of-some-length/file.py:Class"]
    for picture in figures.make([full_row(name) for name in names], CARD).pictures:
        text = "".join(ElementTree.fromstring(picture.svg).itertext())
        assert all(short(name, marks.WIDEST) in text for name in names), picture.name


def test_no_name_of_a_shipped_card_is_shortened() -> None:
    names = [*LEADERBOARD.optimizers, *LEADERBOARD.variants, *LEADERBOARD.tasks]
    assert [short(name, marks.WIDEST) for name in names] == names


def test_rows_that_differ_in_weight_decay_have_different_names_and_colours() -> None:
    decays = [full_row("adamw", axes={"decay": 0.0}), full_row("adamw", axes={"decay": 0.1}, height=0.5)]
    row_marks = marks.Marks(decays)
    assert [name for name, _ in row_marks.colours(decays)] == ["adamw, decay 0", "adamw, decay 0.1"]
    assert len({row_marks.colour(row) for row in decays}) == 2
    assert len(points(draw("memorization", decays))) == 2


ALL_CASES = list(product((*KINDS, "regime"), (1, 2, 3, 5)))
FAST_CASES = list(zip((*KINDS, "regime"), cycle([5, 3, 2, 1]), strict=False))


@pytest.mark.parametrize("cases", [FAST_CASES, pytest.param(ALL_CASES, marks=pytest.mark.slow)], ids=["fast", "all"])
def test_no_text_overlaps_or_leaves_the_page(cases: list[tuple[str, int]]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    updates = (("full", 1.0), ("full", 2.0), ("full-hidden", 1.0), ("lora-64", 1.0), ("lora-4", 1.0))
    for name, tasks in cases:
        names = ["adamw", "muon", "sgd", *(f"a-folder/of-some-length/file.py:Class{index}" for index in range(tasks))]
        rows = [
            full_row(optimizer, update, task=f"a-task-{task}", size=size, items={"rule": int(72 * size)})
            for task in range(tasks) for optimizer in names for update, size in updates
        ]  # fmt: skip
        if name == "matrix":
            rows = [one.model_copy(update={"base": [base]}) for one in rows for base in names]
        with sheet.styled():
            figure = figure_module(name).draw(rows, CARD)
            legends = [legend for legend in figure.get_children() if isinstance(legend, matplotlib.legend.Legend)]
            texts = [*figure.texts, *(text for legend in legends for text in [legend.get_title(), *legend.get_texts()])]
            for axes in figure.axes:
                texts += [axes.title, axes._left_title, axes._right_title, axes.xaxis.label, axes.yaxis.label]
                texts += [*axes.get_xticklabels(), *(axes.get_yticklabels() if axes.yaxis.label.get_text() else [])]
            figure.draw_without_rendering()
            page, renderer = figure.bbox, FigureCanvasAgg(figure).get_renderer()
            boxes = [text.get_window_extent(renderer) for text in texts if text.get_text()]
            for index, box in enumerate(boxes):
                margins = (box.x0 - page.x0, page.x1 - box.x1, box.y0 - page.y0, page.y1 - box.y1)
                assert min(margins) >= -1, (name, tasks, box)
                assert not any(box.overlaps(other) for other in boxes[:index]), (name, tasks, box)


PICTURE = figures.Picture("front", "a title", "a caption", b"<svg/>")


def test_files_are_replaced(tmp_path: Path) -> None:
    pictures = [PICTURE, PICTURE._replace(name="sizes", svg=b"<svg></svg>")]
    (tmp_path / "front.svg").write_text("an older one")
    written = figures.write(pictures, tmp_path)
    assert [path.read_bytes() for path in written] == [picture.svg for picture in pictures]
    assert sorted(tmp_path.iterdir()) == sorted(written)


def test_a_folder_that_cannot_be_created_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"--figures .*file"):
        figures.write([PICTURE], tmp_path / "file")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def scores_of(run: Run) -> dict[str, float]:
        return {"learning": 0.3 + 0.1 * run.seed, "forgetting": 0.2, "rule_accuracy": 0.4, "fact_recall": 0.5}

    return synthetic_results.write(tmp_path_factory.mktemp("results"), scores_of)


def test_the_command_writes_figures_and_names_the_files(call: Caller, out: Path, tmp_path: Path) -> None:
    code, text, err = call(f"report --out {out} --figures {tmp_path / 'made'}")
    assert (code, err) == (0, "")
    named = re.findall(r"^Figure: (.*)$", text, re.MULTILINE)
    assert {Path(path) for path in named} == set((tmp_path / "made").iterdir())
    assert {Path(path).stem for path in named} == {"front", "memorization", "sensitivity"}
    assert "No sizes.svg: " in text


def test_a_page_shows_the_figures_beside_it(
    call: Caller, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_figures = figures.Made([PICTURE._replace(name=name) for name in ("front", "memorization", "sensitivity")])
    monkeypatch.setattr(figures, "make", lambda rows, card: three_figures)
    (tmp_path / "deep").mkdir()
    code, text, err = call(f"report --out {out} --format markdown --figures '{tmp_path / 'the figures'}'")
    assert code == 0
    links = re.findall(r"^!\[[^\]]+\]\((.*)\)\n\n\*.+\*$", text, re.MULTILINE)
    assert links == [f"the%20figures/{name}.svg" for name in ("front", "memorization", "sensitivity")]
    assert "Figure: " in err
    assert "Figure: " not in text
    page = tmp_path / "deep" / "page.md"
    page.write_text("<!-- BEGIN synthbench tiny-runner -->\n<!-- END synthbench tiny-runner -->\n")
    assert call(f"report --out {out} --into {page} --figures {tmp_path / 'made'}").code == 0
    links = re.findall(r"\((\S+\.svg)\)", page.read_text())
    assert len(links) == 3
    assert all((page.parent / link).is_file() for link in links)


@each("form", ["csv", "json", "latex", "reference"])
def test_machine_readable_formats_do_not_change_with_figures(
    form: str, call: Caller, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "make", lambda rows, card: figures.Made([PICTURE]))
    options = f"--out {out} --format {form}"
    assert call(f"report {options} --figures {tmp_path}").out == call(f"report {options}").out


def test_without_matplotlib_the_message_says_what_to_install(
    call: Caller, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib" or ".figures." in name]:
        monkeypatch.delitem(sys.modules, name)
    for name in (*KINDS, "sheet"):
        monkeypatch.delattr(figures, name.replace("-", "_"), raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # importing it fails
    code, text, err = call(f"report --out {out} --figures {tmp_path / 'made'}")
    assert (code, text) == (2, "")
    assert all(word in err for word in ("--figures", "matplotlib", "synthbench[plots]"))
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "made").exists()
