"""Interrupts: Ctrl-C, SIGTERM and a vanished terminal ask for an orderly end; a second one ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

CODE = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupt:
    """True once there was an interrupt."""

    _is_set = False

    def __bool__(self) -> bool:
        return self._is_set

    def notice(self, number: int, frame: FrameType | None) -> None:
        if self._is_set:
            os._exit(CODE)  # workers die with this process, the database and files are valid at any moment
        self._is_set = True


@contextmanager
def noticed() -> Iterator[Interrupt]:
    """Within, the first interrupt is only noted and the second ends the process. Ignored signals (`nohup`, a shell's
    background job) stay ignored."""
    interrupt = Interrupt()
    handled = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        handled = []  # Python lets the main thread alone handle signals
    before = {number: signal.signal(number, interrupt.notice) for number in handled}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raise_interrupt(number: int, frame: FrameType | None) -> None:
    """A handler that treats a signal as Ctrl-C."""
    raise KeyboardInterrupt


def as_ctrl_c() -> None:
    """Treats all signals that are not ignored as Ctrl-C."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, raise_interrupt)
