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
    """wake: a file descriptor that can be read once an interrupt has come."""

    def __init__(self) -> None:
        self.wake, self._say = os.pipe()
        self._come = False

    def __bool__(self) -> bool:
        return self._come

    def notice(self, number: int, frame: FrameType | None) -> None:
        if self._come:
            os._exit(CODE)  # workers die with this process, the database and files are whole at any moment
        self._come = True
        os.write(self._say, b"!")

    def close(self) -> None:
        os.close(self.wake)
        os.close(self._say)


@contextmanager
def noticed() -> Iterator[Interrupt]:
    """Within, the first interrupt is only noticed, and the second ends the process. Signals that are ignored
    (`nohup`, a shell's background job) stay so."""
    interrupt = Interrupt()
    heard = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        heard = []  # Python lets the main thread alone handle signals
    before = {number: signal.signal(number, interrupt.notice) for number in heard}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        interrupt.close()


def raise_interrupt(number: int, frame: FrameType | None) -> None:
    """A handler that makes a signal what Ctrl-C is."""
    raise KeyboardInterrupt


def as_ctrl_c() -> None:
    """Makes all of them what Ctrl-C is in Python, where they are not ignored."""
    for number in SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, raise_interrupt)
