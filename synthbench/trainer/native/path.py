"""Which path trains a fleet: `torch`, the reference, everywhere; `native`, C++, on a CPU with a compiler; or `bfloat16`,
torch's with products in that type.

It is chosen for a whole experiment and is part of each run's identity. Imports no torch.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

from synthbench.common import sources
from synthbench.common.errors import BadInput
from synthbench.common.wording import check_choice
from synthbench.trainer.native import build

if TYPE_CHECKING:
    from synthbench.trainer.fleet import Native

TORCH, NATIVE, BFLOAT16, AUTO = "torch", "native", "bfloat16", "auto"
PATHS = (AUTO, TORCH, NATIVE, BFLOAT16)  # of `--path`; auto: native where it can be
DEFAULT = AUTO
MOST_TOKENS = 256  # of an example: attention keeps the weights of every pair of them
MARK = "native path by "  # in the name of a device, before the compiler: it decides how sums are rounded
IN_BFLOAT16 = "products in bfloat16"  # likewise


def chosen(asked: str, device: str, tokens: int, tell: Callable[[str], None]) -> str:
    """The path for the value of `--path`. tokens: of the longest example. tell: gets a sentence where the library is built,
    or where auto is torch for want of it. Raises BadInput where native is asked for and cannot be."""
    check_choice("--path", asked, PATHS)
    if asked in (TORCH, BFLOAT16):
        return asked
    if asked == AUTO and device != "cpu":
        return TORCH
    try:
        if device != "cpu":
            raise build.NotBuilt("it is for CPUs (--device cpu)")
        if tokens > MOST_TOKENS:
            raise build.NotBuilt(f"examples have {tokens} tokens, and it takes at most {MOST_TOKENS}")
        build.library(tell)
    except build.NotBuilt as error:
        if asked == NATIVE:
            raise BadInput(f"--path native cannot be taken: {error}; allowed here are auto and torch.") from None
        tell(f"Training takes torch's path, which is slower; the native one cannot be taken: {error}.")
        return TORCH
    return NATIVE


def of(path: str) -> Native | None:
    """What a fleet on a path is given: None on torch's. Loads the library; raises BadInput where that cannot be."""
    if path != NATIVE:
        return None
    try:
        return _native()
    except (build.NotBuilt, OSError) as error:
        raise BadInput(
            f"The native path cannot be taken on {platform.node()}: {error}; --path torch trains there."
        ) from error


@cache
def _native() -> Native:
    """A process loads one library, whatever becomes of its sources meanwhile: two would register the same operators."""
    from synthbench.trainer.fleet import Native
    from synthbench.trainer.native import gradients, looks, step

    gradients.load(build.library())
    return Native(step.training_step, looks.logits)


def of_device(name: str) -> str:
    """The path on which rows of a device were trained, by the device's name."""
    return NATIVE if MARK in name else BFLOAT16 if IN_BFLOAT16 in name else TORCH


def mark(path: str) -> str:
    """What the name of a device says of a path: empty for torch's."""
    if path == BFLOAT16:
        return f", {IN_BFLOAT16}"
    return "" if path == TORCH else f", {MARK}{build.compiler_version(build.compiler())}"


@cache
def source() -> str:
    """sha256 of the native code, C++ without comments and blanks, and Python as `sources.digest` has it."""
    code = sources.digest(
        [path for path in build.FOLDER.glob("*.py") if path.stem in ("gradients", "looks", "step")], build.FOLDER
    )
    texts = [re.sub(r"//.*", "", path.read_text()).split() for path in build.SOURCES]
    return sha256("\0".join([code, *build.FLAGS, *(word for text in texts for word in text)]).encode()).hexdigest()
