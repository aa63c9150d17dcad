"""Generators that a card names: from a file beside it or a module, part of every fingerprint, refused in one sentence."""

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
from tests.calling import Called, Caller
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
    """The same with the generator's file beside it."""
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(code)
    return card_with(name, folder)


def run(call: Caller, card: Path, more: str = "") -> Called:
    """A run of the card by a small model."""
    words = f"--task {card} --set seeds=1 --update full --jobs 1 --quiet --out {card.parent}/out {more}"
    return call(f"run {tiny.write(card.parent)} {words}")


def test_the_code_is_part_of_every_fingerprint_and_the_folder_of_none(tmp_path: Path) -> None:
    one, moved, edited = (
        task(str(write(tmp_path / name, code))) for name, code in (("one", CODE), ("moved", CODE), ("edited", EDITED))
    )
    for stage in one.card.stages:
        assert one.fingerprint_to(stage) == moved.fingerprint_to(stage) != edited.fingerprint_to(stage)
        assert one.digests(stage) == edited.digests(stage)


def test_a_neighbour_that_a_generator_imports_is_part_of_its_code(tmp_path: Path) -> None:
    prints = []
    for place, content in enumerate(("ONE = 1\n", "ONE = 2 - 1\n")):
        card = write(tmp_path / str(place), f"from beside_{place} import ONE\n" + CODE)
        (card.parent / f"beside_{place}.py").write_text(content)
        prints.append(task(str(card)).fingerprint)
    assert prints[0] != prints[1]


def test_a_card_s_own_generator_draws_its_data_from_a_file_an_absolute_path_and_a_module(
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


def test_a_run_says_whose_code_runs_and_an_edit_makes_new_runs(call: Caller, tmp_path: Path) -> None:
    card = write(tmp_path)
    code, _, err = run(call, card)
    assert code == 0, err
    assert [line for line in err.splitlines() if str(card) in line and f"{tmp_path}/mine.py" in line]
    assert err.count(str(card)) == 1
    first = [json.loads(line) for line in call(f"export --out {tmp_path}/out").out.splitlines()]
    assert run(call, write(tmp_path, EDITED)).code == 0
    second = [json.loads(line) for line in call(f"export --out {tmp_path}/out").out.splitlines()]
    assert len(first) == len(second) == 3
    assert not {one["run"] for one in first} & {one["run"] for one in second}
    finetuned = next(one["run"] for one in second if one["stage"] == "finetune")
    verify = f"verify {finetuned} --out {tmp_path}/out --steps 2"
    code, _, err = call(verify)
    assert code == 2
    assert "tiny-task" in err
    assert "--task" in err
    code, out, err = call(f"{verify} --task {card}")
    assert code == 0, err
    assert "does not diverge" in out


def test_every_command_that_shows_a_task_takes_it(call: Caller, tmp_path: Path) -> None:
    card = write(tmp_path)
    assert MINE in call(f"show task {card}").out.replace("\n", "")
    assert call(f"export-data {card} --out {tmp_path}/data").code == 0
    text = "".join(path.read_text() for path in (tmp_path / "data").rglob("*train*"))
    rules = [one for one in map(json.loads, text.splitlines()) if one["slice"] == "rule"]
    assert rules
    for record in rules:
        assert record["answer"].strip(" .").split() == record["prompt"].split()[1:-1][::-1]


MADE = "Options, draw)"
CLOCK = CODE.replace("    name_NS =", "    import time\n    name_NS =").replace(
    "[:, ::-1]", "* 0 + time.time_ns() % 16"
)
REFUSED = {
    "no file": (CODE, "other.py:backwards", "other.py"),
    "no such name": (CODE, "mine.py:backward", "Options, draw, backwards, number"),  # its own, not what it imports
    "another thing": (CODE, "mine.py:number", "mine.py:number"),
    "no module": (CODE, "no_such_package.there:it", "no_such_package"),
    "no form": (CODE, "mine.py", "path/file.py:name"),
    "does not parse": ("def", MINE, "SyntaxError"),
    "exits": ("raise SystemExit(3)", MINE, "SystemExit: 3"),
    "no options": (CODE.replace(MADE, "int, draw)"), MINE, "options"),
    "no function": (CODE.replace(MADE, "Options, 3)"), MINE, "draw"),
    "raises": (CODE.replace("[:, ::-1]", "/ []"), MINE, "mine.py: draw"),
    "wrong form": (CODE.replace("rule_answer_NL=", "bits_N="), MINE, "bits_N"),
    "same prompt": (CODE.replace("spell(item_N)", "spell(item_N * 0)"), MINE, "pretrain/rule/train"),
    "clock": (CLOCK, MINE, "drawn again"),
    "bad order": (
        CODE.replace(MADE, "Options, draw, arrange=lambda language, item_N: item_N * 0)"), MINE, "mine.py: arrange",
    ),
    "bad check": (CODE.replace(MADE, "Options, draw, check=lambda *_: 3)"), MINE, "check returns 3"),
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


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_one_sentence_before_anything_is_trained(
    case: str, call: Caller, tmp_path: Path
) -> None:
    code, name, named = REFUSED[case]
    found = run(call, write(tmp_path, code, name))
    *announced, last = found.err.splitlines()
    assert found.code == 2, found.err
    assert named in last
    assert len(announced) == (case not in ("no file", "no form"))  # only an existing file is announced
    assert not (tmp_path / "out").exists()


@each(("added", "named"), [('code = "abc"', "stages.pretrain.rule.code"), ("unsen = 1", "unseen")])
def test_a_key_that_a_slice_may_not_have_is_named_with_its_file(added: str, named: str, tmp_path: Path) -> None:
    """The hash of the code is not a person's to write."""
    card = write(tmp_path)
    card.write_text(card.read_text().replace(f'"{MINE}",', f'"{MINE}", {added},'))
    with pytest.raises(BadInput, match=rf"card.toml: .*{named}"):
        task(str(card))


def test_one_name_for_two_codes_in_one_experiment_is_refused(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), write(tmp_path / "other", EDITED)
    other.write_text(other.read_text().replace("tiny-task", "other-task"))
    with pytest.raises(BadInput, match=rf"tiny-task .*other-task .*{MINE}"):
        tasks([str(one), str(other)])


@pytest.mark.processes
def test_what_differs_between_processes_is_refused_by_workers_and_found_by_verify(
    call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    code = CODE.replace("[:, ::-1]", "[:, ::-1] * 0 + (hash(options.word) >> (item_N[:, None] % 60)) % 16")
    card = write(tmp_path, code)
    found = run(call, card)
    assert found.code == 2
    assert "Task tiny-task is not reproducible across processes" in found.err
    assert dict(outcomes(str(card)))[ELSEWHERE]


def test_a_worker_does_not_take_a_generator_that_was_edited_meanwhile(tmp_path: Path) -> None:
    origin = generators.origin_of(task(str(write(tmp_path))))
    generators.restore(origin)
    write(tmp_path, EDITED)
    with pytest.raises(BadInput, match=r"mine\.py"):
        generators.restore(origin)


def test_a_generator_that_fails_at_a_later_seed_is_one_sentence(call: Caller, tmp_path: Path) -> None:
    code = CODE.replace("    name_NS =", "    assert place.seed < 3, 'no more'\n    name_NS =")
    found = run(call, write(tmp_path, code), "--seeds 7,8")
    assert found.code == 2
    assert "mine.py: draw raised AssertionError: no more" in found.err.splitlines()[-1]


def test_a_generator_that_registers_itself_leaves_nothing_behind(tmp_path: Path) -> None:
    added = "\nfrom synthbench.generators import register\nregister(backwards)\n"
    for folder, code in (("one", CODE), ("two", EDITED)):
        task(str(write(tmp_path / folder, code + added)))
    assert "anything" not in GENERATORS


def test_verify_says_which_promises_a_task_keeps(call: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but that another process draws the same, of which there are tests with real processes."""
    monkeypatch.setattr("synthbench.verification.tasks.elsewhere", lambda task: None)
    card = write(tmp_path)
    broken = call(f"verify --task {card}")
    assert broken.code == 1  # 72 names of 256 do not show all syllables
    assert (broken.out.count("  passed"), broken.out.count("  failed")) == (13, 1)
    assert str(card) in broken.err
    kept = call("verify --task modular")
    assert (kept.code, kept.out.count("  passed"), kept.out.count("  failed")) == (0, 14, 0)
