"""Nonsense is refused in plain lines: drawn cases, and those that could hang or exhaust memory one by one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings

from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, count, resolve
from tests import tiny
from tests.nonsense import RUN, WELL, Case, cases, judge


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(cases)
def test_nonsense_is_refused_in_plain_lines_and_writes_nothing(case: Case) -> None:
    judge(case)


def runner(old: str, new: str) -> Case:
    assert old in tiny.RUNNER
    content = tiny.RUNNER.replace(old, new).replace("[TASK]", '["task.toml"]')
    return Case([*RUN, "runner.toml"], WELL | {"runner.toml": content.encode("utf-8", "surrogateescape")})


def task(old: str, new: str) -> Case:
    assert old in tiny.TASK
    return Case([*RUN, "runner.toml"], WELL | {"task.toml": tiny.TASK.replace(old, new).encode()})


def sized(items: int) -> Case:
    """A task with as many names as there may be, and so many items a slice."""
    large = re.sub(r"items = \d+", f"items = {items}", tiny.TASK.replace("syllables = 16", "syllables = 1024"))
    return Case([*RUN, "runner.toml"], WELL | {"task.toml": large.encode()})


def chain(length: int) -> Case:
    """A runner whose stages each cross three optimizers with those of the stage before."""
    crossed = 'steps = 9\nbatch = 16\nschedule = "constant"\nlr = [1, 2]\noptimizer = ["adamw", "muon", "sgd"]\n'
    before = tiny.RUNNER.replace("[TASK]", '["task.toml"]').split("[[stages]]")[0]
    after = tiny.TASK.split("[stages.")[0]
    for number in range(length):
        before += f'[[stages]]\nname = "s{number}"\n{crossed}'
        after += f'[stages.s{number}]\nfact = {{ generator = "facts", word = "w{number}", items = 24, share = 1 }}\n'
    return Case([*RUN, "runner.toml"], {"runner.toml": before.encode(), "task.toml": after.encode()})


HUGE = {
    "layers": runner("layers = 1", "layers = 100000000"),
    "width": runner("width = 16, layers = 1, head_width = 8", "width = 16384, layers = 128, head_width = 8"),
    "expansion": runner("head_width = 8", "head_width = 8, expansion = 100000000"),
    "seeds": runner("seeds = 2", "seeds = 10000"),
    "a list of seeds": runner("seeds = 2", f"seeds = {list(range(12_000))}"),
    "rates": runner("lr = [1e-3, 2e-3]", f"lr = {[1 / n for n in range(1, 1000)]}"),
    "updates": runner("points = 2", f"points = 2\nupdate = {[f'lora-{n}' for n in range(1, 9000)]}"),
    "stages": runner("[[stages]]\n", "[[stages]]\n" * 500),
    "a chain of crossed stages": chain(8),
    "names": task("syllables = 16, name_length = 2", "syllables = 1024, name_length = 3"),
    "items": task("items = 24", "items = 100000000"),
    "items held out": task("validation = 16", "validation = 100000000"),
    "items that there are names for": sized(100_000),
    "lists in lists in a scale": runner("[scales.large]", f"[scales.deep]\nseeds = {'[' * 100}{']' * 100}\n[scales.large]"),
    "an integer of many digits": runner("seeds = 2", "seeds = " + "1" * 5000),
    "a hexadecimal integer of many digits": runner("seeds = 2", "seeds = 0x" + "f" * 5000),
    "lists in lists": runner("seeds = 2", "seeds = " + "[" * 5000),
    "lists in lists that end": runner("seeds = 2", "seeds = " + "[" * 100 + "]" * 100),
    "tables in tables": runner("seeds = 2", "seeds = " + "{a = " * 5000),
    "a dotted key": runner("seeds = 2", "a." * 20_000 + "a = 2"),
    "a file": runner("seeds = 2", "seeds = 2\n#" + "x" * 10**7),
    "a path in a scale": runner('"stages.finetune.steps"', '"' + "a\\u002e" * 5000 + 'a"')._replace(
        arguments=[*RUN, "runner.toml", "--set", "scale=large"]
    ),
    "a path in a setting": Case([*RUN, "runner.toml", "--set", "a." * 50_000 + "a=1"], WELL),
    "a value in a setting": Case([*RUN, "runner.toml", "--set", "seeds=" + "[" * 100_000], WELL),
    "a name in a setting": Case(
        [*RUN, "--set", f"stages=[{{name='{'ab' * 9000}'}}]", "--set", "stages." + "ba" * 9000 + ".x=1"]
    ),
}  # fmt: skip


CROSSED = "stages.finetune.optimizer=['adamw', 'muon']", "stages.finetune.weight_decay=[0.0, 0.1]"


def test_runs_are_counted_as_they_are_planned(tmp_path: Path) -> None:
    for name, content in chain(3).files.items():
        (tmp_path / name).write_bytes(content)
    chained = resolve(RunRequest(str(tmp_path / "runner.toml"), device="cpu"))
    assert len(Plan(chained, {}).remaining()) == 2 * 2 * (3 + 9 + 27)
    given = ([], ["optimizers=['adamw', 'sgd']"], CROSSED, [*CROSSED, "stages.finetune.for.muon.weight_decay=0.5"])
    for experiment in (chained, *(tiny.experiment(tmp_path, *more) for more in given)):
        assert count(experiment.card, list(experiment.tasks)) == len(Plan(experiment, {}).remaining())


ODD = {
    "a stage without slices": task("[stages.finetune]", "[stages.empty]\n[stages.finetune]"),
    "an option": Case([*RUN, "--x\x1b[31m\u202e" + "x" * 5000]),
    "a list for a name": Case([*RUN, "--set", "stages=[{name=[]}]", "--set", "stages.x.y=1"]),
    "a number for a name": Case([*RUN, "--set", "stages=[{name=3}]", "--set", "stages.x.y=1"]),
    "a scale without stages": runner('"stages.finetune.steps" = 20', "stages = []")._replace(
        arguments=[*RUN, "runner.toml", "--set", "scale=large", "--lr", "1"]
    ),
    "no number in an argument": Case([*RUN, "--optimizer", "muon", "--set", "optimizer.coefficients=[nan, 1, 1]"]),
    "no finite argument": Case([*RUN, "--optimizer", "muon", "--set", "optimizer.aux_lr_ratio=1e400"]),
    "digits of another script": Case([*RUN, "--seeds", "\u0661"]),
    "digits of another script in a rank": Case([*RUN, "--update", "lora-1\u0661"]),
    "digits of another script in a version": runner('"1.0"', '"1.\u0661"'),
    "digits with an underscore": Case([*RUN, "--lr", "1_0"]),
    "bytes that are no text": Case([*RUN, "--optimizer", "\udcff"]),
    "bytes that are no text in a scale": Case([*RUN, "--set", "scales.x.y=\udcff"]),
    "bytes that are no text in a path": Case([*RUN, "--task", "\udcff/task.toml"]),
    "bytes that are no text in a card": runner('"Does it work?"', '"\udcff"'),
    "a name that is too long for a file": Case([*RUN, "x" * 5000 + ".toml"]),
    "a null in a path": runner("[TASK]", '["a\\u0000/b"]'),
    "a line's end in a path": Case([*RUN, "a\nb\nc\nd\ne.toml"]),
    "a device": Case([*RUN, "/dev/zero"]),
    "a folder": Case([*RUN, "./"]),
}  # fmt: skip


def test_what_is_huge_or_odd_is_refused() -> None:
    for what, case in (HUGE | ODD).items():
        assert judge(case) == 2, what


def test_a_pipe_that_nobody_writes_to_is_no_card(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "card.toml")
    assert judge(Case([*RUN, str(tmp_path / "card.toml")])) == 2
    assert judge(Case(["show", "task", str(tmp_path / "card.toml")])) == 2


LARGEST = Case([*RUN, "runner.toml", "--seeds", "3333"], WELL)


def test_a_plan_of_the_largest_size_is_made_and_none_larger() -> None:
    assert judge(LARGEST) == 0
    assert judge(LARGEST._replace(arguments=[*RUN, "runner.toml", "--seeds", "3334"])) == 2


@pytest.mark.timed
def test_the_largest_and_the_huge_are_told_in_time(measured: Callable[[str, float, float], None]) -> None:
    """Promised: two seconds. A task of the largest size is drawn, in a cold process on a slow day in two and a half."""

    def seconds(case: Case, code: int) -> float:
        start = process_time()
        assert judge(case) == code
        return process_time() - start

    slowest, what = max((seconds(case, 2), what) for what, case in HUGE.items())
    measured(f"the slowest refusal ({what})", slowest, 4)
    measured("a plan of the largest size", seconds(LARGEST, 0), 4)
    measured("a dry run of the largest task", seconds(sized(32_000), 0), 5)
    measured("showing the largest task", seconds(Case(["show", "task", "./task.toml"], sized(32_000).files), 0), 5)


def test_the_judge_sees_what_is_written_and_what_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthbench.interface.outcome.outcome", lambda: Path("left").write_text("") or 2)
    with pytest.raises(AssertionError, match="left"):
        judge(Case([]))
    monkeypatch.setattr("synthbench.interface.outcome.outcome", lambda: print("\x1b[31m") or 0)
    with pytest.raises(AssertionError, match="31m"):
        judge(Case([]))
    monkeypatch.setattr("synthbench.interface.outcome.outcome", lambda: 0)
    with pytest.raises(AssertionError):
        judge(Case([]), most=0.0)
