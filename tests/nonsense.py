"""Meaningless cards, options and settings, and how the program must respond to them.

A case is a command and some files, in an empty folder. `run_case` runs it in this process: it exits with code 2 and at
most three plain lines, or with 0 if the input happens to be valid. It writes nothing and prints no warning or traceback.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from unicodedata import bidirectional

from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from synthbench.interface import outcome
from tests import tiny
from tests.reliability.campaign import Campaign

TIME_LIMIT = 2.0  # seconds of processor time, as promised; ten times as much of wall-clock time
TIMEOUT = 120.0  # seconds, where time is not under test
PROMISE = (
    "on meaningless cards, options and settings the program exits within two seconds, with code 2 and at most three plain "
    "lines; it writes nothing and prints no traceback (this campaign trains nothing)"
)
NASTY = (
    # invalid numbers, numbers that are too large, and numbers that only Python accepts
    "0", "1", "-1", "2", "1e3", "1_0", "\u0661\u0662", "0x10", "nan", "inf", "1e400", "1" * 5000, "0x" + "f" * 5000,
    "100000000", str(2**63), str(10**400), "+1", "=1+1", "true", "None", "2020-01-01", "1,2", "0,4,7", "1e-3",
    # paths that do not exist or lead outside
    "", " ", ".", "..", "/", "-", "--", "../" * 50 + "x.toml", "x" * 300, "x" * 300 + ".toml", "a" * 5000,
    "/dev/zero", "/dev/stdin", "task.toml", "runner.toml",
    # text with a special meaning somewhere
    "[red]x[/red]", "[/red]", "\x1b[31mred", "\x1b]0;title\x07", "\x9b31m", "a|b", "a\nb", "a\r\nb", "\t", "@x", "`rm`",
    "\u202etxt.exe", "\u05e9\u05dc\u05d5\u05dd 12 34", "\u2028", "\ufeff", "\udcff", "\U0001f4a9", "e\u0301" * 20, "%s%n",
    "<script>", "<!-- END synthbench quick -->", "$(reboot)", "'", '"', "\'\'\'", "\\", ",", "=",
    # TOML that does not end
    "{a={a={a=1}}}", "[" * 3000, "{a=" * 3000, "a." * 3000 + "a",
    # words that are valid elsewhere
    "quick", "quik", "muon", "adamw,adamw", "full", "lora-0", "lora-16", "lora-99999", "rote-vs-rule", "table", "json",
)  # fmt: skip
KEYS = (
    "stages", "finetune", "pretrain", "lr", "steps", "for", "adamw", "muon", "optimizer", "arguments", "model", "width",
    "layers", "scale", "scales", "large", "seeds", "tasks", "reading", "examples", "rule", "language", "0", "-1", "name",
    "columns", "update", "weight_decay", "batch", "points",
)  # fmt: skip
AXES = ("--optimizer", "--task", "--update", "--lr", "--weight-decay", "--seeds", "--axis")
OPTIONS = (*AXES, "--set", "--device", "--jobs", "--fleet-size", "--keep-weights", "--out", "--format", "--nonsense")


class Raw(str):
    """Text that is put into a card verbatim."""


NUMBERS = [
    0, 1, -1, 2, 3, 10**8, 10**8 + 1, 2**31, 2**63, -(2**63), 10**400, Raw("0x" + "f" * 5000), 0.0, 1e-300, 1e300,
]  # fmt: skip
OTHERS = [0.5, math.nan, math.inf, -math.inf, True, False, "same", "full", "tiny", date(2020, 1, 1), [], {}, [[]]]
JUNK = [b"\xff\xfe", b"\0", b"\x1b[31m", b"[" * 9000, b"{a=" * 9000, b"a." * 9000 + b"a = 1\n", b'"""', b"#" * 10**6]

words = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=20),
    st.lists(st.sampled_from(NASTY[-11:]), max_size=3).map(",".join),
    st.integers().map(str),
    st.floats().map(str),
).map(lambda text: text.replace("\0", "0"))  # arguments of programs cannot contain null
keys = words | st.sampled_from(KEYS)
values = st.recursive(
    st.one_of(st.sampled_from(NUMBERS), st.sampled_from(OTHERS), words, st.integers(), st.floats()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)


class Case(NamedTuple):
    """arguments: those after the program's name. files: contents by name, in the working directory."""

    arguments: list[str]
    files: dict[str, bytes] = {}  # noqa: RUF012


def toml(value: Any) -> str:
    """A value as TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str) and not isinstance(value, Raw):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def card(content: dict[str, Any]) -> bytes:
    lines = (f"{toml(str(key))} = {toml(value)}" for key, value in content.items())
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def entries(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a card."""
    for key, inner in list(content.items() if isinstance(content, dict) else enumerate(content)):
        yield content, key
        if isinstance(inner, dict | list):
            yield from entries(inner)


@st.composite
def mutated(draw: st.DrawFn, text: str) -> bytes:
    """A card with one to three entries dropped, renamed, copied or replaced."""
    content = tomllib.loads(text.replace("[TASK]", '["task.toml"]'))
    for _ in range(draw(st.integers(1, 3))):
        candidates = list(entries(content))
        if not candidates:
            break
        container, key = draw(st.sampled_from(candidates))
        action = draw(st.sampled_from(["replace", "replace", "replace", "drop", "rename", "copy"]))
        if action == "replace":
            container[key] = draw(values)
        elif action == "copy":
            if isinstance(container, list):
                container.extend(deepcopy(container[key]) for _ in range(draw(st.sampled_from([1, 50]))))
            else:
                container[draw(words)] = deepcopy(container[key])
        else:
            old = container.pop(key)
            if action == "rename" and isinstance(container, dict):
                container[draw(keys)] = old
    return card(content)


@st.composite
def garbled(draw: st.DrawFn, text: str) -> bytes:
    """A card with bytes removed, duplicated or overwritten."""
    content = card(tomllib.loads(text.replace("[TASK]", '["task.toml"]')))
    start, stop = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
    junk = draw(st.binary(max_size=20) | st.sampled_from([*JUNK, content[start:stop] * 2]))
    return content[:start] + junk + content[draw(st.sampled_from([start, stop])) :]


def damaged(text: str) -> st.SearchStrategy[bytes]:
    return mutated(text) | garbled(text)


settings = st.builds(
    "{}{}{}".format,
    st.one_of(st.lists(st.sampled_from(KEYS), min_size=1, max_size=5).map(".".join), words),
    st.sampled_from(["=", "=", "=", " = ", ""]),
    st.one_of(words, values.map(toml)),
).map(lambda text: text.replace("\0", "0")[:100_000])
options = st.lists(
    st.one_of(
        st.tuples(st.just("--set"), settings),
        st.tuples(st.sampled_from(OPTIONS), words),
        st.tuples(st.sampled_from(AXES), st.sampled_from(NASTY[-11:])),
        st.tuples(st.just("--axis"), settings),
    ),
    min_size=1,
    max_size=3,
).map(lambda pairs: [word for pair in pairs for word in pair])

RUN = ["run", "--dry-run"]  # first, so that no other option takes it as its value
VALID_FILES = {"runner.toml": tiny.RUNNER.replace("TASK", '"task.toml"').encode(), "task.toml": tiny.TASK.encode()}

# The same cards with every optional key.
RICH_RUNNER = (
    tiny.RUNNER.replace(
        "points = 2",
        "points = 2\nextend = 1\nrelearn = 2\nfor.adamw = { steps = 8, lr_factor = 2.0, size = 1.0, update = ['full'] }",
    )
    + """
[variants.other]
of = "adamw"
arguments = { eps = 1e-4 }
base = "other"
salt = "salt"
lr = [3e-3]
update = ["full"]

[variants.half]
of = "adamw"
of_tuned = 0.5

[[axes]]
path = "stages.finetune.size"
values = [1, 0.5]
label = "items"
tasks = ["tiny-task"]
updates = ["full"]

[[axes]]
path = "stages.pretrain.weight_decay"
values = [0.0, 0.1]
optimizers = ["adamw"]
"""
)
RICH_TASK = (
    tiny.TASK.replace('source = "none"', 'source = "none"\nfamily = "tiny"').partition("[stages.finetune]")[0]
    + """
[stages.finetune]
fact = { generator = "facts", word = "owns", items = 14, share = 1, groups = 3, note = "unequal" }
rule = { generator = "wugs", word = "past", shifts = [7], items = 20, share = 3, exceptions = 0.2, repeats = 2 }

[variants]
few = { "stages.finetune.rule.exceptions" = 0.1, "stages.finetune.rule.repeats" = 4 }
"""
)

cases = st.one_of(
    st.builds(lambda runner: Case([*RUN, "runner.toml"], VALID_FILES | {"runner.toml": runner}), damaged(RICH_RUNNER)),
    st.builds(
        lambda task, name: Case([*RUN, "runner.toml", "--task", name], VALID_FILES | {"task.toml": task}),
        damaged(RICH_TASK),
        st.sampled_from(["./task.toml", "./task.toml:few"]) | words,
    ),
    st.builds(lambda runner: Case([*RUN, "runner.toml"], VALID_FILES | {"runner.toml": runner}), damaged(tiny.RUNNER)),
    st.builds(lambda task: Case([*RUN, "runner.toml"], VALID_FILES | {"task.toml": task}), damaged(tiny.TASK)),
    st.builds(lambda task: Case(["show", "task", "./task.toml"], {"task.toml": task}), damaged(tiny.TASK)),
    st.builds(lambda runner: Case(["show", "runner", "./runner.toml"], {"runner.toml": runner}), damaged(tiny.RUNNER)),
    st.builds(lambda extra_options: Case([*RUN, "runner.toml", *extra_options], VALID_FILES), options),
    st.builds(lambda extra_options: Case([*RUN, *extra_options]), options),
    st.builds(
        lambda command, names, extra_options: Case([command, *names, *extra_options]),
        st.sampled_from(["ls", "show", "report", "compare", "export", "gc"]),
        st.lists(words, max_size=2),
        options | st.just([]),
    ),
)


def every_option() -> Iterator[Case]:
    """Every word of NASTY as the value of every option and in place of every name."""
    for word in NASTY:
        yield from (Case([*RUN, option, word]) for option in OPTIONS)
        yield Case([*RUN, f"--x{word}"])
        yield from (Case(["show", kind, word]) for kind in ("task", "runner", "optimizer", "score"))
        yield from (
            Case([command, *out_option, word])
            for command in ("ls", "report", "export", "gc")
            for out_option in ([], ["--out"])
        )
        yield from (
            Case([*RUN, word], VALID_FILES),
            Case([word]),
            Case(["show", word, "muon"]),
            Case(["report", "--update", word]),
            Case(["report", "--sort", word]),
            Case(["report", "--columns", word]),
            Case(["report", "--versus", word]),
            Case(["report", "--figures", word]),
            Case(["compare", word, "muon"]),
            Case(["compare", "adamw", "muon", "--columns", word]),
        )


_written: list[str] | None = None  # events of writing while a case runs


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if _written is None:
        return
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if (writes and "__pycache__" not in str(arguments[0])) or event in ("os.mkdir", "os.rename"):
        _written.append(f"{event} {arguments[0]!r}")


sys.addaudithook(_watch)


def run_case(case: Case, limit: float = TIMEOUT) -> int:
    """Runs a case and returns its exit code; raises AssertionError if it misbehaves or takes `limit` seconds."""
    global _written
    argv, working_directory, out, err = sys.argv, Path.cwd(), io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        for name, content in case.files.items():
            Path(folder, name).write_bytes(content)
        sys.argv, _written = ["synthbench", *case.arguments], []
        os.chdir(folder)
        cpu_start, clock_start = time.process_time(), time.perf_counter()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = outcome.outcome()
        finally:
            seconds = max(time.process_time() - cpu_start, (time.perf_counter() - clock_start) / 10)
            sys.argv, writes, _written = argv, _written, None
            os.chdir(working_directory)
    printed, error = out.getvalue(), err.getvalue()
    assert code in (0, 2), (code, error)
    assert seconds < limit, seconds
    assert not writes, writes
    assert is_plain(printed), printed
    lines = error.splitlines()
    assert is_plain(error), error
    assert "Traceback" not in error
    if code == 2:
        assert printed == ""
        assert 1 <= len(lines) <= 3, error
        assert all(len(line) <= 420 for line in lines), error
        assert len(error) > 20, error
    else:
        assert all(" trains no stage " in line for line in lines), error  # a notice, of a valid card
    return code


def is_plain(text: str) -> bool:
    """Whether lines contain only printable characters that are written from left to right."""
    return text.replace("\n", "").isprintable() and not any(bidirectional(c) in ("R", "AL", "AN") for c in text)


def campaign(trials: int, limit: float = TIME_LIMIT) -> Campaign:
    """Drawn cases, and every word of NASTY in every place that takes one, each with a time limit."""
    result = Campaign("nonsense", PROMISE)

    def try_case(case: Case) -> None:
        try:
            result.record({0: "accepted as valid", 2: "refused with exit code 2"}[run_case(case, limit)])
        except AssertionError as error:
            result.record("violation", f"{case.arguments!r}: {error}")

    @settings_of(
        max_examples=trials, phases=[Phase.generate], suppress_health_check=list(HealthCheck), deadline=None,
        derandomize=True, database=None,
    )  # fmt: skip
    @given(cases)
    def draw(case: Case) -> None:
        try_case(case)

    draw()
    for case in every_option():
        try_case(case)
    return result
