"""Generators that a card names, from a file or a module: part of every fingerprint; errors are one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthbench.common.errors import BadInput
from synthbench.generators import GENERATORS
from synthbench.plugins import generators
from synthbench.plugins.generators import task, tasks
from synthbench.verification.tasks import ELSEWHERE, outcomes
from tests import tiny
from tests.calling import Caller, Completed
from tests.each import each

CODE = """
from dataclasses import replace
from synthbench.generators import Framed, Generator
from synthbench.generators.examples import examples


class Options(Framed):
    pass


def draw(language, options, item_N, place, split):
    name_NS = language.spell(item_N)
    found = examples(language, options.word, name_NS, name_NS[:, ::-1], item_N, "rule")
    return replace(found, rule_answer_NL=found.tokens_NL)


backwards = Generator("anything", "names backwards", Options, draw)
number = 3
"""
EDITED = CODE.replace("number = 3", "number = 4")  # other code, the same data
MINE = "mine.py:backwards"


def card_with(generator: str, folder: Path) -> Path:
    """A card whose rule slices this generator draws."""
    content = tiny.TASK.replace('"inflection"', f'"{generator}"')
    (folder / "card.toml").write_text(content.replace("shifts = [3, 5], ", "").replace("shifts = [7], ", ""))
    return folder / "card.toml"


def write(folder: Path, code: str = CODE, name: str = MINE, file: str = "mine.py") -> Path:
    """A card with the file of its generator beside it."""
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(code)
    return card_with(name, folder)


def run(call: Caller, card: Path, options: str = "") -> Completed:
    """Runs the card with a small model."""
    command = f"--task {card} --set seeds=1 --update full --jobs 1 --quiet --out {card.parent}/out {options}"
    return call(f"run {tiny.write(card.parent)} {command}")


def test_the_code_is_part_of_every_fingerprint_and_the_folder_of_none(tmp_path: Path) -> None:
    original, moved, edited = (
        task(str(write(tmp_path / name, code))) for name, code in (("first", CODE), ("moved", CODE), ("edited", EDITED))
    )
    for stage in original.card.stages:
        assert original.fingerprint_to(stage) == moved.fingerprint_to(stage) != edited.fingerprint_to(stage)
        assert original.digests(stage) == edited.digests(stage)


def test_a_neighbour_that_a_generator_imports_is_part_of_its_code(tmp_path: Path) -> None:
    fingerprints = []
    for index, content in enumerate(("ONE = 1\n", "ONE = 2 - 1\n")):
        card = write(tmp_path / str(index), f"from beside_{index} import ONE\n" + CODE)
        (card.parent / f"beside_{index}.py").write_text(content)
        fingerprints.append(task(str(card)).fingerprint)
    assert fingerprints[0] != fingerprints[1]


def test_a_generator_is_loaded_by_file_by_absolute_path_and_by_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_file = task(str(write(tmp_path)))
    assert by_file.card.stages["finetune"]["rule"].generator == MINE
    train = by_file.draw("finetune", 0)["rule"].train
    assert (train.tokens_NL[:, 4:6] == train.tokens_NL[:, 2:0:-1]).all()
    absolute = task(str(write(tmp_path, name=f"{tmp_path}/{MINE}")))
    assert absolute.card.stages["finetune"]["rule"].generator == MINE
    assert absolute.fingerprint == by_file.fingerprint
    monkeypatch.syspath_prepend(tmp_path)
    by_module = task(str(write(tmp_path, name="turned_module:backwards", file="turned_module.py")))
    assert by_module.digests("finetune") == by_file.digests("finetune")


def test_a_run_names_the_file_that_it_executes_and_an_edit_makes_new_runs(call: Caller, tmp_path: Path) -> None:
    card = write(tmp_path)
    code, _, err = run(call, card)
    assert code == 0, err
    assert [line for line in err.splitlines() if str(card) in line and f"{tmp_path}/mine.py" in line]
    assert err.count(str(card)) == 1
    first = [json.loads(line) for line in call(f"export --out {tmp_path}/out").out.splitlines()]
    assert run(call, write(tmp_path, EDITED)).code == 0
    second = [json.loads(line) for line in call(f"export --out {tmp_path}/out").out.splitlines()]
    assert len(first) == len(second) == 3
    assert not {record["run"] for record in first} & {record["run"] for record in second}
    finetuned = next(record["run"] for record in second if record["stage"] == "finetune")
    verify = f"verify {finetuned} --out {tmp_path}/out --steps 2"
    code, _, err = call(verify)
    assert code == 2
    assert "tiny-task" in err
    assert "--task" in err
    code, out, err = call(f"{verify} --task {card}")
    assert code == 0, err
    assert "does not diverge" in out


def test_commands_that_show_a_task_accept_its_generator(call: Caller, tmp_path: Path) -> None:
    card = write(tmp_path)
    assert MINE in call(f"show task {card}").out.replace("\n", "")
    assert call(f"export-data {card} --out {tmp_path}/data").code == 0
    text = "".join(path.read_text() for path in (tmp_path / "data").rglob("*train*"))
    rules = [record for record in map(json.loads, text.splitlines()) if record["slice"] == "rule"]
    assert rules
    for record in rules:
        assert record["answer"].strip(" .").split() == record["prompt"].split()[1:-1][::-1]


CONSTRUCTED = "Options, draw)"
CLOCK = CODE.replace("    name_NS =", "    import time\n    name_NS =").replace(
    "[:, ::-1]", "* 0 + time.time_ns() % 16"
)
INVALID = {
    "no file": (CODE, "other.py:backwards", "other.py"),
    "no such name": (CODE, "mine.py:backward", "Options, draw, backwards, number"),
    "another object": (CODE, "mine.py:number", "mine.py:number"),
    "no module": (CODE, "no_such_package.there:it", "no_such_package"),
    "no form": (CODE, "mine.py", "path/file.py:name"),
    "does not parse": ("def", MINE, "SyntaxError"),
    "exits": ("raise SystemExit(3)", MINE, "SystemExit: 3"),
    "no options": (CODE.replace(CONSTRUCTED, "int, draw)"), MINE, "options"),
    "no function": (CODE.replace(CONSTRUCTED, "Options, 3)"), MINE, "draw"),
    "raises": (CODE.replace("[:, ::-1]", "/ []"), MINE, "mine.py: draw"),
    "wrong form": (CODE.replace("rule_answer_NL=", "bits_N="), MINE, "bits_N"),
    "same prompt": (CODE.replace("spell(item_N)", "spell(item_N * 0)"), MINE, "pretrain/rule/train"),
    "clock": (CLOCK, MINE, "drawn again"),
    "bad order": (
        CODE.replace(CONSTRUCTED, "Options, draw, arrange=lambda language, options, item_N: item_N * 0)"),
        MINE, "mine.py: arrange",
    ),
    "bad check": (CODE.replace(CONSTRUCTED, "Options, draw, check=lambda *_: 3)"), MINE, "check returns 3"),
    "bad options": (
        CODE.replace("    pass", "    def model_post_init(self, context):\n        raise KeyError('x')"), MINE,
        "KeyError: 'x'",
    ),
    "the answer of the item before": (
        "import numpy as np\n" + CODE.replace("name_NS[:, ::-1]", "np.roll(name_NS, 1, axis=0)"), MINE, "another order",
    ),
    "the answer of the first item": (
        CODE.replace("name_NS[:, ::-1]", "name_NS[:1].repeat(len(item_N), axis=0)"), MINE, "another order",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_generator_is_one_sentence_before_training(case: str, call: Caller, tmp_path: Path) -> None:
    code, name, message = INVALID[case]
    completed = run(call, write(tmp_path, code, name))
    *warnings, last = completed.err.splitlines()
    assert completed.code == 2, completed.err
    assert message in last
    assert len(warnings) == (case not in ("no file", "no form"))  # only an existing file is announced
    assert not (tmp_path / "out").exists()


@each(("added", "message"), [('code = "abc"', "stages.pretrain.rule: .*'code'"), ("unsen = 1", "unseen")])
def test_an_unknown_key_of_a_slice_is_named_with_its_file(added: str, message: str, tmp_path: Path) -> None:
    """The hash of the code is not a key of a card."""
    card = write(tmp_path)
    card.write_text(card.read_text().replace(f'"{MINE}",', f'"{MINE}", {added},'))
    with pytest.raises(BadInput, match=rf"card.toml: .*{message}"):
        task(str(card))


def test_one_name_for_two_generators_in_one_experiment_is_rejected(tmp_path: Path) -> None:
    first, second = write(tmp_path / "first"), write(tmp_path / "second", EDITED)
    second.write_text(second.read_text().replace("tiny-task", "other-task"))
    with pytest.raises(BadInput, match=rf"tiny-task .*other-task .*{MINE}"):
        tasks([str(first), str(second)])


@pytest.mark.processes
def test_data_that_differs_between_processes_is_rejected_by_workers_and_by_verify(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    code = CODE.replace("[:, ::-1]", "[:, ::-1] * 0 + (hash(options.word) >> (item_N[:, None] % 60)) % 16")
    card = write(tmp_path, code)
    completed = run(call, card)
    assert completed.code == 2
    assert "Task tiny-task is not reproducible across processes" in completed.err
    assert dict(outcomes(str(card)))[ELSEWHERE]


def test_a_worker_rejects_a_generator_that_was_edited_meanwhile(tmp_path: Path) -> None:
    origin = generators.origin_of(task(str(write(tmp_path))))
    generators.restore(origin)
    write(tmp_path, EDITED)
    with pytest.raises(BadInput, match=r"mine\.py"):
        generators.restore(origin)


def test_a_generator_that_fails_at_a_later_seed_is_one_sentence(call: Caller, tmp_path: Path) -> None:
    code = CODE.replace("    name_NS =", "    assert place.seed < 3, 'no more'\n    name_NS =")
    completed = run(call, write(tmp_path, code), "--seeds 7,8")
    assert completed.code == 2
    assert "mine.py: draw raised AssertionError: no more" in completed.err.splitlines()[-1]


def test_a_generator_that_registers_itself_stays_unregistered(tmp_path: Path) -> None:
    added = "\nfrom synthbench.generators import register\nregister(backwards)\n"
    for folder, code in (("one", CODE), ("two", EDITED)):
        task(str(write(tmp_path / folder, code + added)))
    assert "anything" not in GENERATORS


def test_verify_reports_the_checks_of_a_task(call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check in another process, which other tests cover."""
    monkeypatch.setattr("synthbench.verification.tasks.elsewhere", lambda task: None)
    card = write(tmp_path)
    failing = call(f"verify --task {card}")
    assert failing.code == 1  # 72 names of 256 do not show all syllables
    assert (failing.out.count("  passed"), failing.out.count("  failed")) == (13, 1)
    assert str(card) in failing.err
    passing = call("verify --task grokking")
    assert (passing.code, passing.out.count("  passed"), passing.out.count("  failed")) == (0, 14, 0)
