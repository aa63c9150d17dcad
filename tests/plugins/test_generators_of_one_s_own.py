"""Generators that a card names: from a file beside it or a module, part of every fingerprint, refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthbench.errors import BadInput
from synthbench.generators import GENERATORS
from synthbench.plugins.generators import task, tasks
from tests.calling import SHORT, Caller
from tests.experiment import tiny

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


def write(folder: Path, code: str = CODE, name: str = "mine.py:backwards", file: str = "mine.py") -> Path:
    """A card whose rules a generator beside it draws."""
    folder.mkdir(exist_ok=True)
    (folder / file).write_text(code)
    content = (
        tiny.TASK.replace('"inflection"', f'"{name}"').replace("shifts = [3, 5], ", "").replace("shifts = [7], ", "")
    )
    (folder / "card.toml").write_text(content)
    return folder / "card.toml"


def test_a_card_s_own_generator_draws_its_data(tmp_path: Path) -> None:
    found = task(str(write(tmp_path)))
    part = found.card.stages["finetune"]["rule"]
    assert part.generator == "mine.py:backwards"
    assert len(part.code) == 64
    train = found.draw("finetune", 0)["rule"].train
    assert (train.tokens_NL[:, 4:6] == train.tokens_NL[:, 2:0:-1]).all()


def test_the_code_is_part_of_every_fingerprint_and_the_folder_of_none(tmp_path: Path) -> None:
    one, moved = (task(str(write(tmp_path / name))) for name in ("one", "moved"))
    edited = task(str(write(tmp_path / "edited", CODE + "\n# the same, told otherwise\n")))
    for stage in one.card.stages:
        assert one.fingerprint_to(stage) == moved.fingerprint_to(stage) != edited.fingerprint_to(stage)
        assert one.digests(stage) == edited.digests(stage)


def test_a_neighbour_that_a_generator_imports_is_part_of_its_code(tmp_path: Path) -> None:
    prints = []
    for content in ("ONE = 1\n", "ONE = 2 - 1\n"):
        folder = tmp_path / str(len(prints))
        folder.mkdir()
        (folder / f"beside_{len(prints)}.py").write_text(content)
        prints.append(task(str(write(folder, f"from beside_{len(prints)} import ONE\n" + CODE))).fingerprint)
    assert prints[0] != prints[1]


def test_an_absolute_path_and_a_module_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_file = task(str(write(tmp_path)))
    absolute = task(str(write(tmp_path, name=f"{tmp_path}/mine.py:backwards")))
    assert absolute.card.stages["finetune"]["rule"].generator == "mine.py:backwards"
    assert absolute.fingerprint == by_file.fingerprint
    monkeypatch.syspath_prepend(tmp_path)
    by_module = task(str(write(tmp_path, name="turned_module:backwards", file="turned_module.py")))
    assert by_module.digests("finetune") == by_file.digests("finetune")


def test_a_run_with_two_workers_says_whose_code_runs_and_an_edit_makes_new_runs(call: Caller, tmp_path: Path) -> None:
    card = write(tmp_path)
    command = f"run --task {card} --optimizer sgd {SHORT} --update full --lr 1e-3,2e-3 --out {tmp_path}/out"
    code, _, err = call(command.replace("--jobs 1", "--jobs 2"))
    assert code == 0, err
    assert err.splitlines()[0] == f"synthbench: {card} names code, which is run: {tmp_path}/mine.py"
    assert err.count("names code") == 1
    first = [json.loads(line) for line in call(f"export --out {tmp_path}/out").out.splitlines()]
    assert "100%" not in call(command).err  # nothing is left to train
    write(tmp_path, CODE.replace("[:, ::-1]", "[:, ::1]"))
    assert call(command).code == 0
    second = [json.loads(line) for line in call(f"export --out {tmp_path}/out").out.splitlines()]
    assert len(first) == len(second) == 3
    assert not {one["run"] for one in first} & {one["run"] for one in second}
    stage = next(one for one in second if one["stage"] == "finetune")
    code, _, err = call(f"verify {stage['run']} --out {tmp_path}/out --steps 2")
    assert code == 2
    assert err == "synthbench: verify: task tiny-task names code of its own; give its card with --task.\n"
    code, out, err = call(f"verify {stage['run']} --out {tmp_path}/out --steps 2 --task {card}")
    assert code == 0, err
    assert "do not part" in out


def test_every_command_that_shows_a_task_takes_it(call: Caller, tmp_path: Path) -> None:
    card = write(tmp_path)
    assert "mine.py:backwards" in call(f"show task {card}").out.replace("\n", "")
    assert call(f"export-data {card} --out {tmp_path}/data").code == 0
    text = "".join(path.read_text() for path in (tmp_path / "data").rglob("*train*"))
    assert '"rule"' in text
    for record in map(json.loads, text.splitlines()):
        if record["slice"] == "rule":
            assert record["answer"].strip(" .").split() == record["prompt"].split()[1:-1][::-1]


MADE = "Options, draw)"
CLOCK = CODE.replace("    name_NS =", "    import time\n    name_NS =").replace(
    "[:, ::-1]", "* 0 + time.time_ns() % 16"
)
MINE = "mine.py:backwards"
REFUSED = {
    "no file": (CODE, "other.py:backwards", "other.py is not a file"),
    "no such name": (CODE, "mine.py:backward", "has no 'backward'; did you mean 'backwards'"),
    "another thing": (CODE, "mine.py:number", "mine.py:number is a int, not a synthbench.generators.Generator"),
    "no module": (CODE, "no_such_package.there:it", "there is no module 'no_such_package'"),
    "no form": (CODE, "mine.py", "allowed are a generator's name, path/file.py:name and pkg.mod:name"),
    "does not parse": ("def", MINE, "cannot be imported: SyntaxError"),
    "exits": ("raise SystemExit(3)", MINE, "cannot be imported: SystemExit: 3"),
    "no options": (CODE.replace(MADE, "int, draw)"), MINE, "its options must be a class of"),
    "no function": (CODE.replace(MADE, "Options, 3)"), MINE, "its draw must be a function"),
    "raises": (CODE.replace("[:, ::-1]", "/ []"), MINE, "generator mine.py: draw raised "),
    "wrong form": (CODE.replace("rule_answer_NL=", "bits_N="), MINE, "draw returns bits_N as int32"),
    "same prompt": (CODE.replace("spell(item_N)", "spell(item_N * 0)"), MINE, "pretrain/rule/train asks a prompt twice"),
    "clock": (CLOCK, MINE, "is other data when it is drawn again"),
    "bad order": (
        CODE.replace(MADE, "Options, draw, arrange=lambda language, item_N: item_N * 0)"), MINE,
        "generator mine.py: arrange returns other items than it was given.",
    ),
    "bad check": (CODE.replace(MADE, "Options, draw, check=lambda *_: 3)"), MINE, "check returns 3, not None"),
    "bad options": (
        CODE.replace("    pass", "    def model_post_init(self, context):\n        raise KeyError('x')"), MINE,
        "its generators cannot be used: KeyError: 'x'.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_one_sentence_before_anything_is_trained(
    case: str, call: Caller, tmp_path: Path
) -> None:
    code, name, said = REFUSED[case]
    card = write(tmp_path, code, name)
    result = call(f"run --task {card} --optimizer sgd {SHORT} --out {tmp_path}/out")
    lines = [line for line in result.err.splitlines() if "names code" not in line]
    assert result.code == 2, result.err
    assert len(lines) == 1
    assert said in lines[0]
    assert not (tmp_path / "out").exists()


def test_the_hash_of_code_is_not_a_person_s_to_write(tmp_path: Path) -> None:
    card = write(tmp_path)
    card.write_text(card.read_text().replace('"mine.py:backwards",', '"mine.py:backwards", code = "abc",'))
    with pytest.raises(BadInput, match=r"card.toml: stages.pretrain.rule.code: the program notes .* leave the key out"):
        task(str(card))


def test_one_name_for_two_codes_in_one_experiment_is_refused(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one"), write(tmp_path / "other", CODE + "# edited\n")
    other.write_text(other.read_text().replace("tiny-task", "other-task"))
    with pytest.raises(
        BadInput, match=r"tiny-task and other-task each have a generator mine.py:backwards, with different"
    ):
        tasks([str(one), str(other)])


def test_what_differs_between_processes_is_refused_by_workers_and_found_by_verify(call: Caller, tmp_path: Path) -> None:
    code = CODE.replace("[:, ::-1]", "[:, ::-1] * 0 + (hash(options.word) >> (item_N[:, None] % 60)) % 16")
    card = write(tmp_path, code)
    result = call(f"run --task {card} --optimizer sgd {SHORT} --out {tmp_path}/out --quiet")
    assert result.code == 2
    assert "Task tiny-task is other data in another process" in result.err
    result = call(f"verify --task {card}")
    assert result.code == 1
    assert "other data in another process" in " ".join(result.out.split())


def test_a_generator_that_fails_at_a_later_seed_is_one_sentence(call: Caller, tmp_path: Path) -> None:
    card = write(tmp_path, CODE.replace("    name_NS =", "    assert place.seed < 3, 'no more'\n    name_NS ="))
    result = call(
        f"run --task {card} --optimizer sgd {SHORT} --out {tmp_path}/out --quiet".replace("--seeds 1", "--seeds 7,8")
    )
    assert result.code == 2
    assert result.err.splitlines()[-1] == "synthbench: generator mine.py: draw raised AssertionError: no more."


def test_a_generator_that_registers_itself_leaves_nothing_behind(tmp_path: Path) -> None:
    code = CODE + "\nfrom synthbench.generators import register\nregister(backwards)\n"
    for folder in ("one", "two"):
        task(str(write(tmp_path / folder, code + f"# {folder}\n")))
    assert "anything" not in GENERATORS


def test_verify_says_which_promises_a_task_keeps(call: Caller, tmp_path: Path) -> None:
    card = write(tmp_path)
    result = call(f"verify --task {card}")
    assert result.code == 1
    assert "training never shows there" in " ".join(result.out.split())  # 72 names of 256 do not show all syllables
    assert f"{card}: 1 of 14 promises are broken" in result.err
    kept = call("verify --task modular")
    assert (kept.code, kept.out.count("kept"), kept.out.count("broken")) == (0, 14, 0)
    assert call("verify").code == 2


@pytest.mark.parametrize("form", ["np.roll(name_NS, 1, axis=0)", "np.repeat(name_NS[:1], len(item_N), axis=0)"])
def test_an_answer_that_depends_on_an_item_s_place_is_refused_before_training(tmp_path: Path, form: str) -> None:
    """The first gives every item its neighbour's answer, the second all items that of the first."""
    code = "import numpy as np\n" + CODE.replace("name_NS[:, ::-1]", form)
    with pytest.raises(BadInput, match=r"to which the rule has another answer .* drawn in another order"):
        tasks([str(write(tmp_path, code))])


def test_an_option_that_a_generator_does_not_have_is_named_with_its_file(tmp_path: Path) -> None:
    card = write(tmp_path)
    card.write_text(card.read_text().replace('"mine.py:backwards",', '"mine.py:backwards", unsen = 1,'))
    with pytest.raises(BadInput, match=r"card.toml: stages.\w+.rule: .* has no option 'unsen'; did you mean 'unseen'"):
        task(str(card))


def test_code_that_is_not_there_is_not_said_to_be_run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a file"):
        task(str(write(tmp_path, name="gone.py:backwards")))
    assert "which is run" not in capsys.readouterr().err


def test_of_a_file_only_its_own_names_are_offered(tmp_path: Path) -> None:
    with pytest.raises(
        BadInput, match=r"'backward'; did you mean 'backwards'\? Allowed are Options, draw, backwards, number"
    ):
        task(str(write(tmp_path, name="mine.py:backward")))
