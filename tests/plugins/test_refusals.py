"""What somebody's rule or class does wrong is told in one sentence, with its place; what is harmless is let pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from synthbench import flat_rule, matrix_rule, plugins
from synthbench.errors import BadInput
from synthbench.experiment.resolve import Asked, resolve
from synthbench.plugins import refusals
from synthbench.trainer.rules import OPTIMIZERS
from synthbench.verification import conformance
from synthbench.verification.world import Quadratic, Run

HEAD = "import torch\nimport numpy\nimport synthbench\n"
RULE = HEAD + "@synthbench.matrix_rule({decorated})\ndef mine(grad, state, param, hyper):\n    {body}\n"
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


def told(file: Path, text: str, name: str, *settings: str) -> str:
    """What a run with this file refuses it by."""
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        resolve(Asked(optimizers=[f"{file}:{name}"], settings=settings, device="cpu"))
    said = str(caught.value)
    assert said.startswith("--optimizer ")
    assert f"{file.name}:{name}" in said
    assert said.endswith(".")
    assert not said.endswith("..")
    assert "\n" not in said
    return said


@pytest.mark.parametrize(
    ("decorated", "body", "said"),
    [
        ("state=('m',)", "return param - hyper.lr * grad, {}", "mine returned state {} but declared ('m',)."),
        ("state=('m',)", "return param, {'n': grad}", "mine returned state ('n',) but declared ('m',)."),
        ("", "return param, {'n': grad}", "mine returned state ('n',) but declared ()."),
        ("state=('m',)", "return param, {'m': grad.mean()}", "mine: state m became (), was ("),
        ("state=('m',)", "return param, {'m': 0.0}", "mine: state m became a float, was ("),
        ("", "return param.mean(), {}", "mine: param became (), was ("),
        ("state=('m',)", "state['momentum']", "KeyError: 'momentum' (mine.py, line 6) at a parameter of shape ("),
        ("state=('m',)", "state['momentum']", "; its state has m."),
        ("", "return param", "mine must return (param, state), state being {}; it returned a Tensor."),
        ("state=('m',)", "pass", "must return (param, state), state being a dictionary with m; it returned None."),
        ("", "return param, {}, 1", "it returned a tuple of 3."),
        ("beta=0.9", "hyper.betas", "no 'betas' here; did you mean 'beta'? Allowed are lr, weight_decay, step, beta (mine"),
        ("", "return (param if grad.norm() > 1 else grad), {}", "failed at step 1: a rule may not branch on values; use "),
        ("", "return param - hyper.lr * float(grad.norm()), {}", "may not turn values into Python numbers"),
        ("", "return param - torch.randn_like(grad), {}", "a rule may not draw random numbers (mine.py, line 6)."),
        ("", "return param - grad[grad > 0].sum(), {}", "a rule may not choose entries by a mask; use torch.where"),
        ("", "return param - numpy.sign(grad), {}", "a rule may compute by torch alone, without numpy (mine.py, line 6)."),
        ("routing='hiden'", "return param, {}", "mine: routing = 'hiden' must be 'all' or 'hidden'."),
        ("step=3", "return param, {}", "an argument of its own cannot be called step; every rule has that."),
        ("state='momentum'", "return param, {}", "state = 'momentum' must be a tuple of names, such as ('momentum',)."),
    ],
)  # fmt: skip
def test_what_a_rule_for_one_matrix_may_not_do_is_told(tmp_path: Path, decorated: str, body: str, said: str) -> None:
    assert said in told(tmp_path / "mine.py", RULE.format(decorated=decorated, body=body), "mine")


def test_a_decorator_without_parentheses_is_told_so(tmp_path: Path) -> None:
    text = RULE.format(decorated="", body="return param, {}").replace("rule()", "rule")
    assert "mine: write @synthbench.matrix_rule(...), with parentheses." in told(tmp_path / "mine.py", text, "mine")


def test_that_vectors_come_too_is_told_where_a_vector_is_what_fails() -> None:
    @matrix_rule(lr=1e-2)
    def transposed(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
        return param - hyper.lr * (grad @ grad.mT @ grad), {}

    candidate = conformance.of_thing(plugins.take_object(transposed).label, transposed)
    said = conformance.is_accepted(candidate)
    assert said is not None
    assert ' at a parameter of shape (16,); vectors come too, unless routing="hidden".' in said
    hidden = matrix_rule(lr=1e-2, routing="hidden")(transposed.written)
    assert conformance.is_accepted(conformance.of_thing(plugins.take_object(hidden).label, hidden)) is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("closure()", "Mine failed at step 1: it needs a closure; losses of many runs are computed together"),
        ("assert closure is not None", "Mine failed at step 1: it needs a closure"),
        ("p = self.first(); p.add_(p.grad.sum(0)[:3])", "(mine.py, line 12); its parameter has the "),
        ("p = self.first(); p.data = p.data.view(-1)", " changes the shape of a parameter from (64, 64) to ("),
        ("p = self.first(); p.data = p.data[None]", " changes the shape of a parameter from ("),
        ("numpy.zeros(3)[5]", "IndexError: index 5 is out of bounds for axis 0 with size 3 (mine.py, line 12); its param"),
    ],
)  # fmt: skip
def test_what_a_class_may_not_do_is_told(tmp_path: Path, body: str, said: str) -> None:
    assert said in told(tmp_path / "mine.py", CLASS.format(body=body), "Mine")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("betas=0.9,0.95", "Mine: betas = '0.9,0.95' is text; a list is written [0.9,0.95]."),
        ("momentum=high", "Mine: momentum = 'high' is text; a number is written like 0.9."),
        ("nesterov=True", "Mine: nesterov = 'True' is text; true or false is written so, in small letters."),
    ],
)
def test_text_in_place_of_a_list_or_a_number_is_told(tmp_path: Path, setting: str, said: str) -> None:
    assert said in told(tmp_path / "mine.py", CLASS.format(body="pass"), "Mine", f"optimizer.{setting}")


@pytest.mark.parametrize("decorated", [matrix_rule(lr=1e-2, betas=(0.9, 0.95)), flat_rule])
def test_text_in_place_of_a_list_is_told_for_rules_too(decorated: Any) -> None:
    def one(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
        return param - hyper.lr * grad, {}

    def flat(blocks: Any, state: Any, hyper: Any, arguments: Any) -> None:
        blocks[0].value_Kn.sub_(hyper.lr_K[:, None] * arguments.betas[0])

    made = flat_rule(flat, betas=(0.9, 0.95)) if decorated is flat_rule else decorated(one)
    label = plugins.take_object(made).label
    arguments = OPTIMIZERS[label].arguments.model_validate({"betas": "0.9,0.95"})
    with pytest.raises(BadInput, match=r"betas = '0.9,0.95' is text; a list is written \[0.9,0.95\]\."):
        made.rule.start([], arguments)


def test_no_memory_is_no_mistake_of_the_rule_s() -> None:
    @matrix_rule(lr=1e-2)
    def greedy(grad: Any, state: Any, param: Any, hyper: Any) -> Any:
        raise MemoryError

    with pytest.raises(MemoryError):
        moved(greedy)
    assert refusals.is_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not refusals.is_of_memory(RuntimeError("what"))


def moved(rule: Any, steps: int = 6) -> torch.Tensor:
    label = plugins.take_object(rule).label
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


@pytest.mark.parametrize(
    ("plain", "other"), [(pure, in_place), (halved, halved_in_place), (copies_the_parameter, keeps_the_parameter)]
)
def test_a_change_in_place_or_a_tensor_kept_as_it_came_is_the_same_as_a_copy(plain: Any, other: Any) -> None:
    one, same = (moved(matrix_rule(state=("m",), lr=1e-2)(update)) for update in (plain, other))
    assert torch.equal(one, same)
