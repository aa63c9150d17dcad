"""A mistake in a custom optimizer is one sentence with file and line; harmless code passes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from synthbench import fleet_optimizer, matrix_optimizer, plugins
from synthbench.common.errors import BadInput
from synthbench.execution.trials import tried
from synthbench.experiment.resolve import RunRequest, resolve
from synthbench.plugins import errors
from synthbench.plugins.testbed import Quadratic, Run
from synthbench.trainer.optimizers import OPTIMIZERS
from synthbench.verification import conformance
from tests import tiny
from tests.calling import Caller
from tests.each import each

HEAD = "import torch\nimport numpy\nimport synthbench\n"
MATRIX = HEAD + "@synthbench.matrix_optimizer({decorated})\ndef mine(grad, state, param, hyper):\n    {body}\n"
CLASS = (
    HEAD
    + """
class Mine(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.95), momentum=0.9, nesterov=False):
        super().__init__(params, dict(lr=lr, betas=betas))
    def first(self):
        return self.param_groups[0]["params"][0]
    @torch.no_grad()
    def step(self, closure=None):
        {body}
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad, alpha=self.param_groups[0]["lr"])
"""
)


def error_message(file: Path, text: str, name: str, *settings: str) -> str:
    """The message with which a run rejects this file."""
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        tried(resolve(RunRequest(optimizers=[f"{file}:{name}"], settings=settings, device="cpu")))
    sentence = str(caught.value)
    assert sentence.startswith("--optimizer ")
    assert f"{file.name}:{name}" in sentence
    assert sentence.endswith(".")
    assert not sentence.endswith("..")
    assert "\n" not in sentence
    return sentence


HERE = "(mine.py, line 6)"


@each(
    ("decorated", "body", "sentence"),
    [
        ("state=('m',)", "return param - hyper.lr * grad, {}", r"\{\} .*'m'"),
        ("state=('m',)", "return param, {'n': grad}", "'n'.*'m'"),
        ("", "return param, {'n': grad}", r"'n'.*\(\)"),
        ("state=('m',)", "return param, {'m': grad.mean()}", r"state m .*\(\)"),
        ("state=('m',)", "return param, {'m': 0.0}", "state m .*float"),
        ("", "return param.mean(), {}", r"param .*\(\)"),
        ("state=('m',)", "state['momentum']", rf"KeyError: 'momentum' {re.escape(HERE)} .*shape \(.* m\."),
        ("", "return param", "Tensor"), ("state=('m',)", "pass", "m; .*None"),
        ("", "return param, {}, 1", "tuple of 3"),
        ("beta=0.9", "hyper.betas", "'betas'.*'beta'.*lr, weight_decay, step, beta"),
        ("", "return (param if grad.norm() > 1 else grad), {}", "step 1: .*branch"),
        ("", "return param - hyper.lr * float(grad.norm()), {}", "numbers"),
        ("", "return param - torch.randn_like(grad), {}", f"random numbers {re.escape(HERE)}"),
        ("", "return param - grad[grad > 0].sum(), {}", r"mask.*torch\.where"),
        ("", "return param - numpy.sign(grad), {}", f"numpy {re.escape(HERE)}"),
        ("routing='hiden'", "return param, {}", "routing = 'hiden'.*'hidden'"),
        ("step=3", "return param, {}", "step"),
        ("state='momentum'", "return param, {}", "'momentum'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_matrix_optimizer_is_explained(tmp_path: Path, decorated: str, body: str, sentence: str) -> None:
    text = MATRIX.format(decorated=decorated, body=body)
    assert re.search(sentence, error_message(tmp_path / "mine.py", text, "mine"))
    without = text.replace(f"optimizer({decorated})", "optimizer")
    assert "@synthbench.matrix_optimizer(...)" in error_message(tmp_path / "mine.py", without, "mine")


def test_a_failure_at_a_vector_suggests_hidden_routing() -> None:
    @matrix_optimizer(lr=1e-2)
    def transposed(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
        return param - hyper.lr * (grad @ grad.mT @ grad), {}

    candidate = conformance.candidate(transposed)
    sentence = conformance.outcome(conformance.is_accepted, candidate)
    assert sentence is not None
    assert "shape (16,)" in sentence
    assert 'routing="hidden"' in sentence
    hidden = matrix_optimizer(lr=1e-2, routing="hidden")(transposed.written)
    assert conformance.outcome(conformance.is_accepted, conformance.candidate(hidden)) is None


@each(
    ("body", "setting", "sentence"),
    [
        ("pass", "betas=0.9,0.95", r"betas = '0.9,0.95' is text; .* betas=\[0.9, 0.95\]\."),
        ("pass", "momentum=high", r"momentum = 'high' is text; .* momentum=0\.9\."),
        ("pass", "nesterov=True", r"nesterov = 'True' is text; .* nesterov=false\."),
        ("closure()", "", "step 1: .*closure"), ("assert closure is not None", "", "step 1: .*closure"),
        ("p = self.first(); p.add_(p.grad.sum(0)[:3])", "", r"\(mine.py, line 12\)"),
        ("p = self.first(); p.data = p.data.view(-1)", "", r"shape .*\(64, 64\) to \("),
        ("p = self.first(); p.data = p.data[None]", "", r"shape .*\("),
        ("numpy.zeros(3)[5]", "", r"IndexError: index 5 .*\(mine.py, line 12\)"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_class_or_its_arguments_is_explained(
    tmp_path: Path, body: str, setting: str, sentence: str
) -> None:
    settings = [f"optimizer.{setting}"] if setting else []
    assert re.search(sentence, error_message(tmp_path / "mine.py", CLASS.format(body=body), "Mine", *settings))


def test_text_for_a_list_and_an_unknown_argument_are_rejected_for_decorated_functions() -> None:
    def matrix(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
        return param - hyper.lr * grad, {}

    def flat(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
        blocks[0].value_Kn.sub_(hyper.lr_K[:, None] * arguments.betas[0])

    for optimizer in (matrix_optimizer(lr=1e-2, betas=(0.9, 0.95))(matrix), fleet_optimizer(flat, betas=(0.9, 0.95))):
        label = plugins.take(optimizer)
        arguments = OPTIMIZERS[label].arguments.model_validate({"betas": "0.9,0.95"})
        with pytest.raises(BadInput, match=r"betas = '0.9,0.95' .*\[0.9, 0.95\]"):
            optimizer.implementation.start([], arguments)
        with pytest.raises(ValueError, match=r"'beta'.*'betas'"):
            OPTIMIZERS[label].arguments.model_validate({"beta": 1})


@each(
    ("said", "is_meant"),
    [
        (MemoryError(), True), (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), True),
        *((RuntimeError(text), True) for text in (
            "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
            "allocate 4503599627370496 bytes. Error code 12 (Cannot allocate memory)",
            "[enforce fail at alloc_cpu.cpp:117] data. DefaultCPUAllocator: not enough memory: you tried to allocate "
            "911360 bytes.",
            "std::bad_alloc", "CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported",
            "CUDA driver error: out of memory",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
            "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
            "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`",
            "cuFFT error: CUFFT_ALLOC_FAILED",
        )),
        *((RuntimeError(text), False) for text in (
            "cannot allocate a slot", "out of memory budget of 3 entries", "memory", "the replay is out of memory",
            "expected std::bad_alloc to be raised", "CUDA error: an illegal memory access was encountered",
            "CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm`",
        )),
        (ValueError("DefaultCPUAllocator: can't allocate memory"), False), (KeyError("CUDA error: out of memory"), False),
    ],
)  # fmt: skip
def test_only_the_types_and_texts_of_allocators_are_a_lack_of_memory(said: BaseException, is_meant: bool) -> None:
    assert errors.is_out_of_memory(said) == is_meant


def test_running_out_of_memory_is_not_reported_as_a_mistake() -> None:
    def greedy(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
        torch.empty(2**50)

    def greedy_of_all(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
        torch.empty(2**50)

    class Greedy(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            torch.empty(2**50)

    class GreedyAtFirst(torch.optim.SGD):
        def __init__(self, params: Any, lr: float = 1e-3) -> None:
            super().__init__(params, lr)
            torch.empty(2**50)

    for optimizer in (matrix_optimizer()(greedy), fleet_optimizer(greedy_of_all), Greedy, GreedyAtFirst):
        with pytest.raises(RuntimeError) as caught:
            moved(optimizer)
        assert errors.is_out_of_memory(caught.value)


FAILS = """
import torch, synthbench
def fail(step):
    if step == {step}:
        raise {error}

class Mine(torch.optim.SGD):
    steps = 0
    def step(self, closure=None):
        super().step()
        self.steps += 1
        fail(self.steps)

@synthbench.matrix_optimizer(lr=1e-2)
def matrix(grad, state, param, hyper):
    fail(hyper.step)
    return param - hyper.lr * grad, {{}}

def flat(blocks, state, hyper, arguments):
    fail(hyper.step)
    for block in blocks:
        block.value_Kn.sub_(hyper.lr_K[:, None] * block.grad_Kn)
fleet = synthbench.fleet_optimizer(flat)
"""


def test_what_the_switch_to_evaluation_raises_is_explained() -> None:
    class Tired(torch.optim.SGD):
        def eval(self) -> None:
            raise ValueError("enough")

    with pytest.raises(BadInput, match=r"^Tired\.eval\(\) failed: ValueError: enough \(test_errors\.py, line \d+\)\.$"):
        moved(Tired)


@each(("name", "called"), [("Mine", "Mine"), ("matrix", "matrix"), ("fleet", "flat")])
@each("error", ["LookupError('lost it')", "SystemExit(3)", "RuntimeError('cannot allocate a slot')"])
@each("step", [1, 9])
def test_what_a_step_raises_names_the_function_the_step_and_the_line_in_the_trial_and_in_training(
    call: Caller, tmp_path: Path, step: int, error: str, name: str, called: str
) -> None:
    (tmp_path / "mine.py").write_text(FAILS.format(step=step, error=error))
    optimizer = f"--optimizer {tmp_path}/mine.py:{name} --set seeds=1"
    code, out, err = call(f"run {tiny.write(tmp_path)} {optimizer} --jobs 1 --quiet --out {tmp_path}/out")
    assert (code, out) == (2, "")
    kind, text = error.replace("'", "").rstrip(")").split("(")
    before = f"--optimizer mine.py:{name} cannot be used: " if step == 1 else ""
    failed = f"{before}{called} failed at step {step}: {kind}: {text} (mine.py, line 5)"
    assert re.fullmatch(rf"synthbench: {re.escape(failed)}( at a parameter of shape \(\S+, \S+\))?\.\n", err), err


def moved(optimizer: Any, steps: int = 6) -> torch.Tensor:
    label = plugins.take(optimizer)
    runs = [Run(1, 1e-2, 0.1), Run(2, 3e-3)]
    return Quadratic(label, conformance.SMALL, "full", runs).go(steps).weights_KP


def pure(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
    momentum = state["m"] * 0.9 + grad
    return param * (1 - hyper.lr * hyper.weight_decay) - hyper.lr * momentum, {"m": momentum}


def in_place(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
    state["m"].mul_(0.9).add_(grad)
    param.mul_(1 - hyper.lr * hyper.weight_decay)
    grad.copy_(state["m"]).mul_(hyper.lr)
    param.sub_(grad)
    return param, state


def halved(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
    lr = hyper.lr * 0.5
    return param - lr * grad, state


def halved_in_place(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
    hyper.lr *= 0.5
    return param - hyper.lr * grad, state


def copies_the_parameter(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
    return param - hyper.lr * grad + 0.1 * (param - state["m"]), {"m": param.clone()}


def keeps_the_parameter(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
    return param - hyper.lr * grad + 0.1 * (param - state["m"]), {"m": param}


@each(
    ("copying", "mutating"), [(pure, in_place), (halved, halved_in_place), (copies_the_parameter, keeps_the_parameter)]
)
def test_in_place_changes_and_kept_tensors_equal_copies(copying: Any, mutating: Any) -> None:
    expected, actual = (moved(matrix_optimizer(state=("m",), lr=1e-2)(update)) for update in (copying, mutating))
    assert torch.equal(expected, actual)
