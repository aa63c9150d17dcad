"""docs/columns.md documents exactly the columns of all exports."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from synthbench.analysis.ranks import Rank
from synthbench.experiment.runs import Run
from synthbench.reporting import table
from synthbench.scores import SCORES
from tests.analysis.example_rows import CARD, row
from tests.calling import Caller
from tests.reporting import synthetic_results

PAGE = (Path(__file__).parents[1] / "docs" / "columns.md").read_text(encoding="utf-8")
CLAIM = (
    'claims=[{says="More.",source="us",score="learning",rows={optimizer="muon"},than={optimizer="adamw"},'
    'expected="higher"}]'
)


def documented(section: str) -> set[str]:
    """The names in the first column of a section's tables."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    return set(re.findall(r"^\| `([^`]+)` ", text, re.M))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def scored(run: Run) -> dict[str, float]:
        return {"learning": 0.3 + 0.1 * run.seed * (run.optimizer.name == "muon"), "forgetting": 0.2, "fit": 0.9}

    return synthetic_results.write(tmp_path_factory.mktemp("results"), scored, CLAIM)


def without_scores(columns: Iterable[str]) -> set[str]:
    """Columns with NAME in place of the names of scores."""
    names = sorted(SCORES, key=len, reverse=True)
    pattern = re.compile(rf"^({'|'.join(map(re.escape, names))})(?=$|_low$|_high$|_n$|_bound$)")
    return {pattern.sub("NAME", column) for column in columns}


def test_every_column_of_rows_is_documented() -> None:
    on_axis = row("adamw").model_copy(update={"axes": {"LABEL": 1}})
    plain = table.Table([row("muon"), on_axis], CARD.columns, ranks=[Rank(1, 1, None), None], ranked_by="learning")
    versus = table.Table([row("muon")], ["steps_to_rule@t"], versus="adamw", rivals=[row("adamw")])
    columns = {column for shown_table in (plain, versus) for record in table.records(shown_table) for column in record}
    assert without_scores(columns) == documented("Rows")


def test_every_head_of_a_table_is_documented_or_named_as_in_rows() -> None:
    of_axis = {"task": "wugs", "axes": {"LABEL": 1}, "weight_decay": 0.1}
    other_base = of_axis | {"axes": {"LABEL": 2}, "start": {"fact_recall": {0: 1.0}}, "start_exposure": 1.0}
    rows = [row("muon"), *(row("adamw").model_copy(update=changes) for changes in (of_axis, other_base))]
    heads = set(table.Table(rows, [], ranks=[None, None], has_trials=True).fixed())
    assert heads <= documented("Tables") | documented("Rows")
    assert documented("Tables") - {"score"} <= heads


@pytest.mark.parametrize("command", ["compare muon adamw", "compare full lora-4"])
def test_every_column_of_comparisons_is_documented(command: str, call: Caller, out: Path) -> None:
    header = next(csv.reader(io.StringIO(call(f"{command} --out {out} --format csv").out)))
    assert set(header) == documented("Comparisons") - {"LABEL", "optimizer" if "muon" in command else "trainable"}


def test_every_column_of_runs_is_documented(call: Caller, out: Path) -> None:
    runs = json.loads(call(f"export --out {out} --format json").out)
    assert {column for run in runs for column in run} == documented("Runs")
    assert all(f"`{name}`" in PAGE for run in runs for name in run["scores"])
    header = next(csv.reader(io.StringIO(call(f"export --out {out} --format csv").out)))
    assert set(header) - set(SCORES) == documented("Runs") - {"scores", "path"}


def test_every_column_of_paths_is_documented(call: Caller, out: Path) -> None:
    header = next(csv.reader(io.StringIO(call(f"export --out {out} --format paths").out)))
    assert set(header) == documented("Paths")


def test_no_column_is_called_like_an_attribute_of_a_frame_or_its_rows() -> None:
    pandas = pytest.importorskip("pandas")
    taken = {*dir(pandas.DataFrame), *dir(pandas.Series)}
    assert {"size", "update"} <= taken
    for section in ("Rows", "Comparisons", "Runs", "Paths"):
        assert not taken & documented(section), section
    assert not taken & set(SCORES)


def test_every_column_of_claims_is_documented(call: Caller, out: Path) -> None:
    (claim,) = json.loads(call(f"report --out {out} --format json").out)["claims"]
    assert set(claim) == documented("Claims")
