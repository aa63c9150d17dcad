"""Nonsense is refused with a short message: generated cases, and chosen ones that could hang or exhaust memory."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
from hypothesis import HealthCheck, given, settings

from synthbench.experiment.plan import Plan
from synthbench.experiment.resolve import RunRequest, resolve
from tests import tiny
from tests.nonsense import RUN, VALID_FILES, Case, cases, run_case


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(cases)
def test_generated_nonsense_is_refused_with_a_short_message_and_writes_nothing(case: Case) -> None:
    run_case(case)


def runner(old: str, new: str) -> Case:
    assert old in tiny.RUNNER
    content = tiny.RUNNER.replace(old, new).replace("[TASK]", '["task.toml"]')
    return Case([*RUN, "runner.toml"], VALID_FILES | {"runner.toml": content.encode("utf-8", "surrogateescape")})


def task(old: str, new: str) -> Case:
    assert old in tiny.TASK
    return Case([*RUN, "runner.toml"], VALID_FILES | {"task.toml": tiny.TASK.replace(old, new).encode()})


def sized(items: int) -> Case:
    """A task with the largest number of names and this number of items in every slice."""
    large = re.sub(r"items = \d+", f"items = {items}", tiny.TASK.replace("syllables = 16", "syllables = 1024"))
    return Case([*RUN, "runner.toml"], VALID_FILES | {"task.toml": large.encode()})


def chain(length: int) -> Case:
    """A runner in which every stage crosses three optimizers with those of the stage before."""
    crossed = 'steps = 9\nbatch = 16\nschedule = "constant"\nlr = [1, 2]\noptimizer = ["adamw", "muon", "sgd"]\n'
    runner_text = tiny.RUNNER.replace("[TASK]", '["task.toml"]').split("[[stages]]")[0]
    task_text = tiny.TASK.split("[stages.")[0]
    for number in range(length):
        runner_text += f'[[stages]]\nname = "s{number}"\n{crossed}'
        task_text += (
            f'[stages.s{number}]\nfact = {{ generator = "facts", word = "w{number}", items = 24, share = 1 }}\n'
        )
    return Case([*RUN, "runner.toml"], {"runner.toml": runner_text.encode(), "task.toml": task_text.encode()})


HUGE = {
    "layers": runner("layers = 1", "layers = 100000000"),
    "width": runner("width = 16, layers = 1, head_width = 8", "width = 16384, layers = 128, head_width = 8"),
    "expansion": runner("head_width = 8", "head_width = 8, expansion = 100000000"),
    "seeds": runner("seeds = 2", "seeds = 10000")._replace(
        arguments=[*RUN, "runner.toml", "--lr", ",".join(f"1e-{n}" for n in range(1, 31))]
    ),
    "a list of seeds": runner("seeds = 2", f"seeds = {list(range(12_000))}"),
    "rates": runner("lr = [1e-3, 2e-3]", f"lr = {[1 / n for n in range(1, 1000)]}"),
    "updates": runner("points = 2", f"points = 2\nupdate = {[f'lora-{n}' for n in range(1, 9000)]}"),
    "stages": runner("[[stages]]\n", "[[stages]]\n" * 500),
    "a chain of crossed stages": chain(8)._replace(arguments=[*RUN, "runner.toml", "--seeds", "40"]),
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
    "a path in a setting": Case([*RUN, "runner.toml", "--set", "a." * 50_000 + "a=1"], VALID_FILES),
    "a value in a setting": Case([*RUN, "runner.toml", "--set", "seeds=" + "[" * 100_000], VALID_FILES),
    "a name in a setting": Case(
        [*RUN, "--set", f"stages=[{{name='{'ab' * 9000}'}}]", "--set", "stages." + "ba" * 9000 + ".x=1"]
    ),
}  # fmt: skip


CROSSED = "stages.finetune.optimizer=['adamw', 'muon']", tiny.axis("stages.finetune.weight_decay", [0.0, 0.1])


def test_the_count_of_runs_equals_the_plan(tmp_path: Path) -> None:
    for name, content in chain(3).files.items():
        (tmp_path / name).write_bytes(content)
    chained = resolve(RunRequest(str(tmp_path / "runner.toml"), device="cpu"))
    assert len(Plan(chained, {}).remaining()) == 2 * 2 * (3 + 9 + 27)
    settings = ([], ["optimizers=['adamw', 'sgd']"], CROSSED, [*CROSSED, "stages.finetune.for.muon.weight_decay=0.5"])
    for experiment in (chained, *(tiny.experiment(tmp_path, *changes) for changes in settings)):
        assert experiment


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


def test_huge_and_odd_inputs_are_refused() -> None:
    for name, case in (HUGE | ODD).items():
        assert run_case(case) == 2, name


def test_a_pipe_without_a_writer_is_refused_as_a_card(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "card.toml")
    assert run_case(Case([*RUN, str(tmp_path / "card.toml")])) == 2
    assert run_case(Case(["show", "task", str(tmp_path / "card.toml")])) == 2


LARGEST = Case([*RUN, "runner.toml", "--seeds", "3333"], VALID_FILES)


def test_the_largest_plan_is_accepted_and_a_larger_one_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a limit that is soon reached, for the others' is 200,000 runs."""
    monkeypatch.setattr("synthbench.experiment.resolve.MOST_RUNS", 3 * 3333)
    assert run_case(LARGEST) == 0
    assert run_case(LARGEST._replace(arguments=[*RUN, "runner.toml", "--seeds", "3334"])) == 2


@pytest.mark.timed
def test_the_largest_and_the_huge_inputs_are_answered_in_time(measured: Callable[[str, float, float], None]) -> None:
    """Promised: 2 s. Bounds allow for slow machines: drawing the largest task in a cold process takes up to 2.5 s."""

    def seconds(case: Case, code: int) -> float:
        start = process_time()
        assert run_case(case) == code
        return process_time() - start

    slowest, name = max((seconds(case, 2), name) for name, case in HUGE.items())
    measured(f"the slowest refusal ({name})", slowest, 4)
    measured("a plan of ten thousand runs", seconds(LARGEST, 0), 4)
    measured("a dry run of the largest task", seconds(sized(32_000), 0), 5)
    measured("showing the largest task", seconds(Case(["show", "task", "./task.toml"], sized(32_000).files), 0), 5)


def test_run_case_detects_writes_and_slow_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthbench.interface.outcome.outcome", lambda: Path("left").write_text("") or 2)
    with pytest.raises(AssertionError, match="left"):
        run_case(Case([]))
    monkeypatch.setattr("synthbench.interface.outcome.outcome", lambda: print("\x1b[31m") or 0)
    with pytest.raises(AssertionError, match="31m"):
        run_case(Case([]))
    monkeypatch.setattr("synthbench.interface.outcome.outcome", lambda: 0)
    with pytest.raises(AssertionError):
        run_case(Case([]), limit=0.0)
