"""`synthbench export-data`: repeatable bytes, complete folders or none, and readable with the `datasets` library."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
from importlib.util import find_spec
from itertools import cycle
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from synthbench import cards
from synthbench.cards import TaskCard
from synthbench.generators import SPLITS, Task
from synthbench.reporting.export_data.text import FIELDS, parts, records
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.generators import shipped
from tests.nonsense import NASTY, Case, run_case

LABELS = ["grokking", "wugs:20-4x"]
needs_pyarrow = pytest.mark.skipif(not find_spec("pyarrow"), reason="Parquet needs pyarrow (extra: data)")
needs_datasets = pytest.mark.skipif(not find_spec("datasets"), reason="loading back needs datasets (extra: test)")

LOAD = """
import json, sys, datasets
for folder in sys.argv[1:]:
    for config in datasets.get_dataset_config_names(folder):
        for split, rows in datasets.load_dataset(folder, config).items():
            types = {name: feature.dtype for name, feature in rows.features.items()}
            print(json.dumps([folder, config, split, types, rows.to_list()]))
"""


def expected(label: str, seed: int = 0) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """All records of a task, by stage and split."""
    task = Task(cards.load(TaskCard, label))
    by_stage_and_split: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for stage in task.card.stages:
        for data_part in parts(task, stage, seed):
            by_stage_and_split.setdefault((stage, data_part.split), []).extend(records(task.language, data_part))
    return by_stage_and_split


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def json_lines(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.decode().splitlines()]


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@each("label", LABELS)
def test_every_task_is_written_as_json_lines_a_file_a_stage_and_split(
    label: str, call: Caller, working_folder: Path
) -> None:
    code, out, err = call(f"export-data {label}")
    assert (code, err) == (0, "")
    folder = working_folder / "synthbench-data" / label.replace(":", "-")
    assert str(folder.relative_to(working_folder)) in out
    written = files(folder)
    page = written.pop("README.md").decode()
    assert {name: json_lines(content) for name, content in written.items()} == {
        f"{stage}-{split}.jsonl": records_of_split for (stage, split), records_of_split in expected(label).items()
    }
    card = cards.load(TaskCard, label)
    for text in (f"# {label}", card.question, Task(card).fingerprint, card.version, "seed 0"):
        assert text in page
    assert os.listdir(working_folder) == ["synthbench-data"]


def test_one_stage_and_another_seed(call: Caller, working_folder: Path) -> None:
    assert call("export-data wugs --stage finetune --seed 7 --out a").code == 0
    written = files(working_folder / "a")
    assert set(written) == {"README.md", *(f"finetune-{split}.jsonl" for split in SPLITS)}
    assert json_lines(written["finetune-train.jsonl"]) == expected("wugs", 7)["finetune", "train"]
    assert json_lines(written["finetune-train.jsonl"]) != expected("wugs", 0)["finetune", "train"]
    assert "pretrain" not in written["README.md"].decode().partition("\n# ")[0]


@pytest.mark.parametrize("form", ["jsonl", pytest.param("parquet", marks=needs_pyarrow)])
def test_the_same_command_writes_the_same_bytes_and_rerunning_changes_no_file(
    form: str, call: Caller, working_folder: Path
) -> None:
    for folder in ("a", "b"):
        assert call(f"export-data grokking --format {form} --out {folder}").code == 0
    assert files(working_folder / "a") == files(working_folder / "b")
    before = {path: path.stat().st_mtime_ns for path in (working_folder / "a").iterdir()}
    assert call(f"export-data grokking --format {form} --out a").code == 0
    assert {path: path.stat().st_mtime_ns for path in (working_folder / "a").iterdir()} == before
    if form == "parquet":
        from pyarrow import parquet

        for (stage, split), records_of_split in expected("grokking").items():
            table = parquet.read_table(working_folder / "a" / f"{stage}-{split}.parquet")
            assert table.to_pylist() == records_of_split
            types = [str(kind).replace("double", "float64") for kind in table.schema.types]
            assert types == [kind for kind, _ in FIELDS.values()]


def test_without_pyarrow_the_message_says_what_to_install(
    call: Caller, working_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # importing it fails
    code, out, err = call("export-data grokking --format parquet")
    assert (code, out) == (2, "")
    assert all(word in err for word in ("--format parquet", "pyarrow", "synthbench[data]"))
    assert len(err.splitlines()) == 1
    assert not list(working_folder.iterdir())


@pytest.mark.slow
@needs_datasets
@needs_pyarrow
def test_the_datasets_library_loads_the_same_rows(call: Caller, working_folder: Path) -> None:
    """Tests every task, both formats, and stage names that YAML reads as numbers or booleans, without a network."""
    card = tiny.TASK.replace("stages.pretrain", "stages.1e3").replace("stages.finetune", "stages.no")
    (working_folder / "odd.toml").write_text(card)
    exports = [(label, "jsonl") for label in (*shipped.NAMES, "wugs:20-4x", "./odd.toml")] + [("wugs", "parquet")]
    expected_rows: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for number, (label, form) in enumerate(exports):
        assert call(f"export-data {label} --format {form} --out {number}").code == 0
        expected_rows |= {
            (str(working_folder / str(number)), *key): records_of_split
            for key, records_of_split in expected(label).items()
        }
    offline = {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(working_folder / "cache"),
        "USE_TORCH": "0",
    }
    process = subprocess.run(
        [sys.executable, "-c", LOAD, *dict.fromkeys(folder for folder, *_ in expected_rows)], env=os.environ | offline,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    loaded = [json.loads(line) for line in process.stdout.splitlines()]
    assert {(folder, config, split): content for folder, config, split, _, content in loaded} == expected_rows
    assert all(types == {name: kind for name, (kind, _) in FIELDS.items()} for *_, types, _ in loaded)


def test_a_card_is_given_by_path_and_variant(call: Caller, working_folder: Path) -> None:
    (working_folder / "mine.toml").write_text(tiny.TASK + '\n[variants]\nfew = { "stages.finetune.fact.items" = 3 }\n')
    assert call("export-data ./mine.toml:few --stage finetune").code == 0
    written = json_lines((working_folder / "synthbench-data" / "tiny-task-few" / "finetune-train.jsonl").read_bytes())
    assert [record["slice"] for record in written] == ["fact"] * 3 + ["rule"] * 36


def test_text_of_a_card_is_escaped_on_the_page(call: Caller, working_folder: Path) -> None:
    evil = "<b>x</b> | `a` [l](http://x) \\u001b \\u202e\\n---\\n# head"
    (working_folder / "mine.toml").write_text(
        tiny.TASK.replace("Does it work?", evil).replace('"owns"', '"o\\n = \\u202e"')
    )
    code, _, err = call("export-data ./mine.toml --out a")
    assert (code, err) == (0, "")
    page = (working_folder / "a" / "README.md").read_text()
    assert "<b>" not in page
    assert page.replace("\n", "").isprintable()
    assert (working_folder / "a" / "pretrain-train.jsonl").read_bytes().isascii()


@pytest.mark.parametrize(
    "other", ["--seed 1", "--stage train --seed 1", pytest.param("--format parquet", marks=needs_pyarrow)]
)
def test_another_export_is_not_overwritten(other: str, call: Caller, working_folder: Path) -> None:
    assert call("export-data grokking --out a").code == 0
    before = files(working_folder)
    code, out, err = call(f"export-data grokking --out a {other}")
    assert (code, out) == (2, "")
    assert "--out a" in err
    assert files(working_folder) == before


def test_other_files_in_a_folder_are_not_overwritten(call: Caller, working_folder: Path) -> None:
    (working_folder / "a").mkdir()
    for name, kind in (("notes.txt", Path.touch), ("train-train.jsonl", Path.touch), ("README.md", Path.mkdir)):
        kind(working_folder / "a" / name)
        code, _, err = call("export-data grokking --out a")
        assert code == 2
        assert f"({name})" in err
        assert os.listdir(working_folder / "a") == [name]
        (working_folder / "a" / name).rmdir() if kind is Path.mkdir else (working_folder / "a" / name).unlink()


def test_a_cloned_repository_is_filled_and_an_incomplete_folder_is_completed(
    call: Caller, working_folder: Path
) -> None:
    (working_folder / "a" / ".git").mkdir(parents=True)
    (working_folder / "a" / ".gitattributes").write_text("*.parquet filter=lfs")
    before = (working_folder / "a").stat().st_ino
    assert call("export-data grokking --out a").code == 0
    assert (working_folder / "a").stat().st_ino == before  # the folder may be a mount point
    complete = files(working_folder / "a")
    assert ".gitattributes" in complete
    (working_folder / "a" / "train-test.jsonl").unlink()
    assert call("export-data grokking --out a").code == 0
    assert files(working_folder / "a") == complete


def failing(after: int, error: BaseException) -> Any:
    """Path.write_bytes that fails after so many files, with half of the next one written."""
    writes, original = iter(range(after)), Path.write_bytes

    def write_bytes(path: Path, content: bytes) -> int:
        if next(writes, None) is None:
            original(path, content[: len(content) // 2])
            raise error
        return original(path, content)

    return write_bytes


@each(
    ("folder", "after", "error", "code"),
    [
        ("absent", 0, OSError(errno.ENOSPC, "No space left on device"), 4),
        ("empty", 3, OSError(errno.ENOSPC, "No space left on device"), 4),
        ("absent", 2, KeyboardInterrupt(), 130),
        ("empty", 2, KeyboardInterrupt(), 130),
    ],
)
def test_a_full_disk_and_an_interrupt_leave_nothing_behind(
    folder: str, after: int, error: BaseException, code: int, call: Caller, working_folder: Path
) -> None:
    if folder == "empty":
        (working_folder / folder).mkdir(exist_ok=True)
    before = list(working_folder.rglob("*"))
    with patch.object(Path, "write_bytes", failing(after, error)):
        status, out, err = call(f"export-data grokking --out {folder}")
    assert (status, out) == (code, "")
    assert code != 4 or (f"--out {folder}" in err and "No space left on device" in err)
    assert list(working_folder.rglob("*")) == before


def test_out_may_be_a_link_but_not_a_file(call: Caller, working_folder: Path) -> None:
    (working_folder / "file").write_text("mine")
    code, _, err = call("export-data grokking --out file")
    assert code == 2
    assert "--out file" in err
    assert (working_folder / "file").read_text() == "mine"
    (working_folder / "link").symlink_to("elsewhere")
    assert call("export-data grokking --out link").code == 0
    assert "README.md" in os.listdir(working_folder / "elsewhere")


@each("name", ["a\x1b[31m\n|b", "\u202egnp", "a\udcff", "'quoted'"])
def test_names_of_folders_are_shown_inert(name: str, call: Caller, working_folder: Path) -> None:
    code, out, err = call(f"export-data grokking --out {shlex.quote(name)}")
    assert (code, err) == (0, "")
    assert out.replace("\n", "").isprintable()
    assert len(out.splitlines()) == 2
    assert (working_folder / name / "README.md").exists()


FORMS = [
    ["{}", "--format", "none"], ["grokking", "--stage", "{}"], ["grokking", "--format", "{}"],
    ["grokking", "--seed", "{}", "--format", "none"], ["grokking", "--seed", "-{}", "--stage", "none"],
]  # fmt: skip


@each(("word", "form"), zip(NASTY, cycle(FORMS), strict=False))
def test_nonsense_is_refused_in_plain_lines(word: str, form: list[str]) -> None:
    assert run_case(Case(["export-data", *(template.replace("{}", word) for template in form)])) == 2
