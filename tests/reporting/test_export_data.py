"""`synthbench export-data`: the same bytes again, whole or not at all, and the `datasets` library loads them back."""

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
from tests.nonsense import NASTY, Case, judge

LABELS = ["modular", "wugs:20-4x"]
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


def expected(given: str, seed: int = 0) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """All records by stage and split."""
    task = Task(cards.load(TaskCard, given))
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for stage in task.card.stages:
        for part in parts(task, stage, seed):
            found.setdefault((stage, part.split), []).extend(records(task.language, part))
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {place.relative_to(folder).as_posix(): place.read_bytes() for place in folder.rglob("*") if place.is_file()}


def rows(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.decode().splitlines()]


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@each("label", LABELS)
def test_every_task_is_written_as_json_lines_a_file_a_stage_and_split(label: str, call: Caller, own: Path) -> None:
    code, out, err = call(f"export-data {label}")
    assert (code, err) == (0, "")
    folder = own / "synthbench-data" / label.replace(":", "-")
    assert str(folder.relative_to(own)) in out
    found = files(folder)
    page = found.pop("README.md").decode()
    assert {name: rows(content) for name, content in found.items()} == {
        f"{stage}-{split}.jsonl": wanted for (stage, split), wanted in expected(label).items()
    }
    card = cards.load(TaskCard, label)
    for told in (f"# {label}", card.question, Task(card).fingerprint, card.version, "seed 0"):
        assert told in page
    assert os.listdir(own) == ["synthbench-data"]


def test_one_stage_and_another_seed(call: Caller, own: Path) -> None:
    assert call("export-data wugs --stage finetune --seed 7 --out a").code == 0
    found = files(own / "a")
    assert set(found) == {"README.md", *(f"finetune-{split}.jsonl" for split in SPLITS)}
    assert rows(found["finetune-train.jsonl"]) == expected("wugs", 7)["finetune", "train"]
    assert rows(found["finetune-train.jsonl"]) != expected("wugs", 0)["finetune", "train"]
    assert "pretrain" not in found["README.md"].decode().partition("\n# ")[0]


@pytest.mark.parametrize("form", ["jsonl", pytest.param("parquet", marks=needs_pyarrow)])
def test_the_same_command_makes_the_same_bytes_and_again_in_one_folder_changes_nothing(
    form: str, call: Caller, own: Path
) -> None:
    for folder in ("a", "b"):
        assert call(f"export-data modular --format {form} --out {folder}").code == 0
    assert files(own / "a") == files(own / "b")
    before = {place: place.stat().st_mtime_ns for place in (own / "a").iterdir()}
    assert call(f"export-data modular --format {form} --out a").code == 0
    assert {place: place.stat().st_mtime_ns for place in (own / "a").iterdir()} == before
    if form == "parquet":
        from pyarrow import parquet

        for (stage, split), wanted in expected("modular").items():
            table = parquet.read_table(own / "a" / f"{stage}-{split}.parquet")
            assert table.to_pylist() == wanted
            types = [str(kind).replace("double", "float64") for kind in table.schema.types]
            assert types == [kind for kind, _ in FIELDS.values()]


def test_without_pyarrow_one_line_says_what_to_install(
    call: Caller, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # importing it fails
    code, out, err = call("export-data modular --format parquet")
    assert (code, out) == (2, "")
    assert all(word in err for word in ("--format parquet", "pyarrow", "synthbench[data]"))
    assert len(err.splitlines()) == 1
    assert not list(own.iterdir())


@pytest.mark.slow
@needs_datasets
@needs_pyarrow
def test_datasets_loads_the_same_rows_back(call: Caller, own: Path) -> None:
    """Every task, both formats, and stages whose names YAML would take for something else; without a network."""
    card = tiny.TASK.replace("stages.pretrain", "stages.1e3").replace("stages.finetune", "stages.no")
    (own / "odd.toml").write_text(card)
    asked = [(label, "jsonl") for label in (*shipped.NAMES, "wugs:20-4x", "./odd.toml")] + [("wugs", "parquet")]
    wanted: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for number, (label, form) in enumerate(asked):
        assert call(f"export-data {label} --format {form} --out {number}").code == 0
        wanted |= {(str(own / str(number)), *key): found for key, found in expected(label).items()}
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(own / "cache"), "USE_TORCH": "0"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *dict.fromkeys(folder for folder, *_ in wanted)], env=os.environ | offline,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = [json.loads(line) for line in done.stdout.splitlines()]
    assert {(folder, config, split): content for folder, config, split, _, content in loaded} == wanted
    assert all(types == {name: kind for name, (kind, _) in FIELDS.items()} for *_, types, _ in loaded)


def test_a_card_of_ones_own_by_path_and_variant(call: Caller, own: Path) -> None:
    (own / "mine.toml").write_text(tiny.TASK + '\n[variants]\nfew = { "stages.finetune.fact.items" = 3 }\n')
    assert call("export-data ./mine.toml:few --stage finetune").code == 0
    found = rows((own / "synthbench-data" / "tiny-task-few" / "finetune-train.jsonl").read_bytes())
    assert [one["slice"] for one in found] == ["fact"] * 3 + ["rule"] * 36


def test_what_a_card_says_stays_text_on_the_page(call: Caller, own: Path) -> None:
    evil = "<b>x</b> | `a` [l](http://x) \\u001b \\u202e\\n---\\n# head"
    (own / "mine.toml").write_text(tiny.TASK.replace("Does it work?", evil).replace('"owns"', '"o\\n = \\u202e"'))
    code, _, err = call("export-data ./mine.toml --out a")
    assert (code, err) == (0, "")
    page = (own / "a" / "README.md").read_text()
    assert "<b>" not in page
    assert page.replace("\n", "").isprintable()
    assert (own / "a" / "pretrain-train.jsonl").read_bytes().isascii()


@pytest.mark.parametrize(
    "other", ["--seed 1", "--stage finetune --seed 1", pytest.param("--format parquet", marks=needs_pyarrow)]
)
def test_another_export_is_not_overwritten(other: str, call: Caller, own: Path) -> None:
    assert call("export-data modular --out a").code == 0
    before = files(own)
    code, out, err = call(f"export-data modular --out a {other}")
    assert (code, out) == (2, "")
    assert "--out a" in err
    assert files(own) == before


def test_what_others_put_into_a_folder_is_not_overwritten(call: Caller, own: Path) -> None:
    (own / "a").mkdir()
    for name, kind in (("notes.txt", Path.touch), ("finetune-train.jsonl", Path.touch), ("README.md", Path.mkdir)):
        kind(own / "a" / name)
        code, _, err = call("export-data modular --out a")
        assert code == 2
        assert f"({name})" in err
        assert os.listdir(own / "a") == [name]
        (own / "a" / name).rmdir() if kind is Path.mkdir else (own / "a" / name).unlink()


def test_a_cloned_repository_is_filled_and_half_a_folder_is_completed(call: Caller, own: Path) -> None:
    (own / "a" / ".git").mkdir(parents=True)
    (own / "a" / ".gitattributes").write_text("*.parquet filter=lfs")
    before = (own / "a").stat().st_ino
    assert call("export-data modular --out a").code == 0
    assert (own / "a").stat().st_ino == before  # the folder may be where a shell stands, or where a disk is mounted
    whole = files(own / "a")
    assert ".gitattributes" in whole
    (own / "a" / "finetune-test.jsonl").unlink()
    assert call("export-data modular --out a").code == 0
    assert files(own / "a") == whole


def failing(after: int, error: BaseException) -> Any:
    """Path.write_bytes that writes half of a file and fails, from the given file on."""
    left, write = iter(range(after)), Path.write_bytes

    def write_bytes(path: Path, content: bytes) -> int:
        if next(left, None) is None:
            write(path, content[: len(content) // 2])
            raise error
        return write(path, content)

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
    folder: str, after: int, error: BaseException, code: int, call: Caller, own: Path
) -> None:
    if folder == "empty":
        (own / folder).mkdir(exist_ok=True)
    before = list(own.rglob("*"))
    with patch.object(Path, "write_bytes", failing(after, error)):
        found, out, err = call(f"export-data modular --out {folder}")
    assert (found, out) == (code, "")
    assert code != 4 or (f"--out {folder}" in err and "No space left on device" in err)
    assert list(own.rglob("*")) == before


def test_a_file_is_no_folder_and_a_link_leads_to_one(call: Caller, own: Path) -> None:
    (own / "file").write_text("mine")
    code, _, err = call("export-data modular --out file")
    assert code == 2
    assert "--out file" in err
    assert (own / "file").read_text() == "mine"
    (own / "link").symlink_to("elsewhere")
    assert call("export-data modular --out link").code == 0
    assert "README.md" in os.listdir(own / "elsewhere")


@each("name", ["a\x1b[31m\n|b", "\u202egnp", "a\udcff", "'quoted'"])
def test_a_folder_of_any_name_is_named_inert(name: str, call: Caller, own: Path) -> None:
    code, out, err = call(f"export-data modular --out {shlex.quote(name)}")
    assert (code, err) == (0, "")
    assert out.replace("\n", "").isprintable()
    assert len(out.splitlines()) == 2
    assert (own / name / "README.md").exists()


FORMS = [
    ["{}", "--format", "none"], ["modular", "--stage", "{}"], ["modular", "--format", "{}"],
    ["modular", "--seed", "{}", "--format", "none"], ["modular", "--seed", "-{}", "--stage", "none"],
]  # fmt: skip


@each(("word", "form"), zip(NASTY, cycle(FORMS), strict=False))
def test_nonsense_is_refused_in_plain_lines(word: str, form: list[str]) -> None:
    assert judge(Case(["export-data", *(part.replace("{}", word) for part in form)])) == 2
