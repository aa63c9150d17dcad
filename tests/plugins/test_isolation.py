"""What a plug-in does to its process reaches no other optimizer's numbers; what its members share is refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

from synthbench import plugins
from synthbench.common.errors import BadInput
from synthbench.execution import session, worker
from synthbench.execution.executor import Slot, TrialJob
from synthbench.execution.fleet_job import Job
from synthbench.execution.trials import tried
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.plugins.registry import Named
from tests import tiny
from tests.calling import Caller
from tests.each import each
from tests.inprocess import InProcess
from tests.reliability.program import ROOT, TIMEOUT

PATCHES = """
import torch
F = torch.nn.functional
cross_entropy, attention = F.cross_entropy, F.scaled_dot_product_attention
F.cross_entropy = lambda *args, **options: 1.5 * cross_entropy(*args, **options)

class Patches(torch.optim.SGD):
    steps = 0
    def step(self, closure=None):
        super().step()
        self.steps += 1
        if self.steps == 9:
            F.scaled_dot_product_attention = lambda q, k, v, **options: 0.5 * attention(q, k, v, **options)
"""
THREADS = """
import threading, time, torch
def begin(): threading.Thread(target=time.sleep, args=(3600,)).start()
begin()

class Starts(torch.optim.SGD):
    def step(self, closure=None):
        super().step()
        begin()

class Stops(Starts):
    def step(self, closure=None):
        super().step()
        raise ValueError("not today")
"""
PRECISION = """
import torch
torch.backends.cuda.matmul.fp32_precision = "tf32"
torch.backends.mkldnn.matmul.fp32_precision = "bf16"
def no_compiler(*_): raise AssertionError("compiled")

class Compiles(torch.optim.SGD):
    def __init__(self, params, lr=1e-2):
        super().__init__(params, lr)
        self.halved = torch.compile(lambda grad: grad / 2, backend=no_compiler)
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            p.grad = self.halved(p.grad)
        super().step()
"""
SHARED = """
import torch
generator = torch.Generator()
buffers = {}

class Draws(torch.optim.SGD):
    rank = None
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            if self.rank in (None, min(p.shape)):
                p.grad += 0.01 * torch.rand(p.shape, generator=generator)
        super().step()

class DrawsInAdapters(Draws):
    rank = 4

class Remembers(torch.optim.SGD):
    def __init__(self, params, lr=1e-2, history=[]):
        super().__init__(params, lr)
        self.history = history
    def step(self, closure=None):
        self.history.append(self.param_groups[0]["params"][0].grad.norm())
        self.param_groups[0]["lr"] /= 1 + sum(map(float, self.history))
        super().step()

class Buffers(torch.optim.SGD):
    def __init__(self, params, lr=1e-2):
        buffers.clear()
        super().__init__(params, lr)
    def step(self, closure=None):
        for index, p in enumerate(self.param_groups[0]["params"]):
            p.grad = buffers[index] = 0.9 * buffers.get(index, 0) + p.grad
        super().step()
"""
TWICE = r"layers\.0\.\S+ of a run at rate \S+ and weight decay \S+ differs after \d+ steps that were taken twice\."


def program(card: Path, *options: str) -> tuple[int, str, str]:
    """`synthbench run` as a process of its own, which must end by itself."""
    command = [sys.executable, "-m", "synthbench", "run", str(card), "--device", "cpu", "--quiet", *options]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env=env, cwd=card.parent)
    return ended.returncode, ended.stdout, ended.stderr


def exported(call: Caller, out: Path) -> dict[str, dict[str, Any]]:
    """Every run by its id."""
    lines = call(f"export --format jsonl --out {out}").out.splitlines()
    return {run["run"]: run for run in map(json.loads, lines)}


def test_a_plug_in_that_patches_torch_changes_no_number_of_others_in_the_same_command(
    call: Caller, tmp_path: Path
) -> None:
    card = tiny.write(tmp_path)
    (tmp_path / "patches.py").write_text(PATCHES)
    names = ["patches.py:Patches", "adamw", "torch.optim:Adagrad"]
    together, one_seed = tmp_path / "together", ("--set", "seeds=1", "--jobs", "1")
    code, _, err = program(card, *one_seed, "--optimizer", ",".join(names), "--out", str(together))
    assert code == 0, err
    runs = exported(call, together)
    for name in names[1:]:
        command = f"run {card} --optimizer {name} --set seeds=1 --jobs 1 --quiet --out {tmp_path}/{name}"
        assert call(command).code == 0
        alone = exported(call, tmp_path / name)
        assert alone.keys() == {run for run, record in runs.items() if record["optimizer"] == name}
        for run, record in alone.items():
            for key in ("scores", "path", "status"):
                assert runs[run][key] == record[key]


def test_a_thread_that_a_plug_in_has_started_keeps_no_command_from_ending(tmp_path: Path) -> None:
    (tmp_path / "threads.py").write_text(THREADS)
    options = ("--set", "seeds=1", "--jobs", "1", "--out", "out")
    code, out, err = program(tiny.write(tmp_path), "--optimizer", "threads.py:Starts", *options)
    assert code == 0, err
    assert "threads.py:Starts" in out
    code, out, err = program(tiny.write(tmp_path), "--optimizer", "threads.py:Stops", *options)
    assert (code, out) == (2, "")
    assert "Stops failed at step 1: ValueError: not today (threads.py, line 14)" in err
    assert len(err.splitlines()) == 1


def test_precision_set_by_its_new_names_is_put_back_and_nothing_is_compiled(tmp_path: Path) -> None:
    (tmp_path / "precision.py").write_text(PRECISION)
    options = ("--set", "seeds=1", "--jobs", "1", "--out", "out")
    code, out, err = program(tiny.write(tmp_path), "--optimizer", "precision.py:Compiles", *options)
    assert code == 0, err
    assert "precision.py:Compiles" in out
    assert err.splitlines() == ["synthbench: precision.py:Compiles: settings put back: float32 precision."]


@each(
    ("name", "update", "sentence"),
    [
        ("Draws", "full", f"full: {TWICE}"), ("Remembers", "full", f"full: {TWICE}"),
        ("DrawsInAdapters", "lora-4", f"lora-4: {TWICE}"),
        ("Buffers", "full", r"full: layers\.0\.\S+ of a run .* in a fleet of 4 from what it is alone\."),
    ],
)  # fmt: skip
def test_state_that_instances_share_is_refused_with_the_sentence_of_verify(
    call: Caller, tmp_path: Path, name: str, update: str, sentence: str
) -> None:
    (tmp_path / "shared.py").write_text(SHARED)
    optimizer, card = f"--optimizer {tmp_path}/shared.py:{name}", tiny.write(tmp_path)
    code, out, err = call(f"run {card} {optimizer} --update {update} --out {tmp_path}/out")
    assert (code, out) == (2, "")
    assert re.search(rf"^synthbench: --optimizer shared\.py:{name} cannot be used: {sentence}$", err.strip()), err
    code, out, _ = call(f"verify {optimizer}")
    assert code == 1
    assert re.search(sentence, " ".join(out.split())), out


class Recording(InProcess):
    """Has one slot, as a pool of one process has it, and counts how often its process would be started anew."""

    loaded: list[str]
    restarts = 0

    def submit(self, slot: Slot, job: Job | TrialJob) -> None:
        self.restarts += bool(slot.plugins) and slot.plugins != job.plugins
        slot.plugins = job.plugins
        if isinstance(job, Job):
            self.loaded.append(job.runs[0].optimizer.name)
        super().submit(slot, job)


def test_a_slot_trains_everything_for_its_plug_ins_before_it_is_started_anew(tmp_path: Path) -> None:
    names = ["torch.optim:Adagrad", "adamw", "torch.optim:SGD"]
    request = RunRequest(str(tiny.write(tmp_path)), names, seeds=1, device="cpu")
    experiment, executors = tried(resolve(request)), list[Recording]()

    def make(size: int, device: str) -> Recording:
        executors.append(Recording(size, device))
        executors[-1].loaded = []
        return executors[-1]

    with patch("synthbench.execution.engine.local", lambda: make):
        session.perform(experiment, session.ExecutionOptions(out=tmp_path / "out", jobs=1, quiet=True))
    (executor,) = executors
    order = list(dict.fromkeys(executor.loaded))
    assert sorted(order) == sorted(names)
    assert order[0] == "adamw"  # a process that has loaded nothing trains what needs nothing
    assert executor.loaded == sorted(executor.loaded, key=order.index)
    assert executor.restarts == 1
    assert min(Counter(executor.loaded).values()) >= 2  # both stages


def test_a_plug_in_that_a_worker_cannot_load_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "gone.py"
    file.write_text("import os\nif 'HERE' in os.environ:\n    raise ImportError('no such luck')\nclass Mine: pass\n")
    with patch.dict(os.environ, {"HERE": "1"}):
        error = worker.load([Named(f"{file}:Mine", "")])
    assert isinstance(error, BadInput)
    assert str(error).endswith("gone.py:Mine cannot be imported: ImportError: no such luck (gone.py, line 3).")
    file.unlink()
    assert "is not a file" in str(worker.load([Named(f"{file}:Mine", "")]))
    assert worker.load(plugins.origins([plugins.take("torch.optim:Adagrad")], [])) is None
    assert plugins.plugin_of("torch.optim:Adagrad") is not None
