"""Process-wide settings that numbers depend on: put back after a person's code has run, and named.

A worker process that has loaded a plug-in trains nothing else, so what cannot be put back (a replaced function, a thread)
reaches no other optimizer. What can be is put back for the plug-in's own sake: its next step, and its next fleet, begin as
the first one did, in whichever order they are trained.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NamedTuple


class Setting(NamedTuple):
    name: str
    get: Callable[[], Any]
    put: Callable[[Any], Any]


class Unreadable(NamedTuple):
    """In place of a value whose getter raises: some of torch's do once its old and its new names are mixed."""


PRECISION = "float32 precision"
PLACES = (  # in torch.backends that have one: since torch 2.9, in place of the flags that allow TF32
    "", "cudnn", "cudnn.conv", "cudnn.rnn", "cuda.matmul", "mkldnn", "mkldnn.matmul", "mkldnn.conv",
)  # fmt: skip
_open: list[list[str]] = []  # the names that each `preserved_settings` in progress has collected


@contextmanager
def preserved_settings(*, every: bool = True) -> Iterator[list[str]]:
    """Puts settings back at the end; yields a list that then names those that had changed, one within it included.

    every: random numbers and the environment, too, which take longer to read.
    """
    settings = [*_settings(), *(_slow_settings() if every else ())]
    before, changed = [_read(setting) for setting in settings], list[str]()
    _open.append(changed)
    try:
        yield changed
    finally:
        _open.pop()
        for setting, value in zip(settings, before, strict=True):
            if _differs(value, _read(setting)):
                with suppress(Exception):
                    setting.put(value)
                changed.append(setting.name)
        changed[:] = dict.fromkeys(changed)
        if _open:
            _open[-1].extend(changed)


def _read(setting: Setting) -> Any:
    try:
        return setting.get()
    except Exception:
        return Unreadable()


def _differs(before: Any, after: Any) -> bool:
    import numpy as np

    if isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        return any(map(_differs, before, after))
    if type(before) is not type(after):
        return True
    return not np.array_equal(before, after) if hasattr(before, "shape") else bool(before != after)


@cache
def _settings() -> list[Setting]:
    """The settings of torch that change what is computed, or how its threads do it."""
    import torch

    return [
        Setting("threads", torch.get_num_threads, torch.set_num_threads),
        Setting("default dtype", torch.get_default_dtype, torch.set_default_dtype),
        Setting("deterministic algorithms", torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode),
        Setting("gradients", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting("default device", torch.get_default_device, torch.set_default_device),
        Setting("anomaly detection", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        Setting("denormal numbers", _flushes_denormals, torch.set_flush_denormal),
        Setting("hooks of optimizer steps", _step_hooks, _set_step_hooks),
        Setting(PRECISION, torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        # after it, which writes to some of them
        *(_attribute(PRECISION, f"{place}.fp32_precision".lstrip(".")) for place in PLACES),
        *(_attribute(name, name) for name in ("cudnn.benchmark", "cudnn.deterministic")),
    ]


@cache
def _slow_settings() -> list[Setting]:
    """Generators of random numbers, and the environment, of which libraries read a part when they are first used."""
    import numpy as np
    import torch

    return [
        Setting("random numbers of torch", torch.get_rng_state, torch.set_rng_state),
        Setting("random numbers of numpy", np.random.get_state, np.random.set_state),
        Setting("random numbers of Python", random.getstate, random.setstate),
        Setting("environment", _environment, _set_environment),
    ]


def _attribute(label: str, path: str) -> Setting:
    """An attribute in torch.backends: `cudnn.benchmark`."""
    import torch

    *folders, name = path.split(".")
    owner: Any = torch.backends
    for folder in folders:
        owner = getattr(owner, folder, None)
    return Setting(label, lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _flushes_denormals() -> bool:
    """Whether the processor takes numbers below the smallest normal one for zero; torch has no getter."""
    import torch

    return not bool(torch.tensor(1e-40) * 1)


def _step_hooks() -> tuple[tuple[Any, ...], ...]:
    """The functions that torch.optim calls around every step of every optimizer."""
    from torch.optim import optimizer

    return tuple(
        tuple(getattr(optimizer, name).items())
        for name in ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")
    )


def _set_step_hooks(hooks: tuple[tuple[Any, ...], ...]) -> None:
    from torch.optim import optimizer

    for name, items in zip(("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks"), hooks, strict=True):
        getattr(optimizer, name).clear()
        getattr(optimizer, name).update(items)


def _environment() -> dict[str, str]:
    """Without the folders of torch's compiler, which torch itself adds at an optimizer's first step."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TORCHINDUCTOR_")}


def _set_environment(values: dict[str, str]) -> None:
    for name in _environment().keys() - values.keys():
        del os.environ[name]
    os.environ.update(values)
