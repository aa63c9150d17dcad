"""The console script: a command runs, and every outcome becomes an exit code and at most three plain lines."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import traceback
from contextlib import suppress
from typing import Any, NoReturn

from synthbench.common.errors import Failed, SynthbenchError, is_disk_failure
from synthbench.common.terminal import CLOSED_PIPE, Quiet, abandon_stdout, open_closed_streams, show_what_streams_lack
from synthbench.common.wording import inert, short
from synthbench.execution import interrupt
from synthbench.interface.cli import app

DEBUG = "--debug"  # goes with every command


def main() -> NoReturn:
    open_closed_streams()
    interrupt.as_ctrl_c()
    show_what_streams_lack()
    sys.stderr = Quiet(sys.stderr)
    code = outcome()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # a plug-in's import has started a thread, which would keep the program from ending
    sys.exit(code)


def outcome() -> int:
    """Runs the command of `sys.argv`; returns its exit code."""
    try:
        result: Any = app([word for word in sys.argv[1:] if word != DEBUG], standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except KeyboardInterrupt:
        return interrupt.CODE
    except (BrokenPipeError, SystemExit) as error:
        # The command-line library makes the second of the first. Any other one is raised by a user's code.
        if isinstance(error, SystemExit) and not isinstance(error.__context__, BrokenPipeError):
            return _print(_saved(traceback.format_exc()), 4)
        abandon_stdout()
        return CLOSED_PIPE
    except Failed as error:
        return _print(_saved(str(error)) if "Traceback" in str(error) else str(error), error.exit_code)
    except SynthbenchError as error:
        if DEBUG in sys.argv:
            traceback.print_exc()
        return _print(str(error), error.exit_code)
    except Exception as error:
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    """The exit code of an error that is not ours: of usage, of a file, or a fault of the program."""
    if hasattr(error, "format_message"):  # a usage error of the command-line library
        return _print(error.format_message(), 2)
    if error.__class__.__name__ == "Abort":
        return interrupt.CODE
    if isinstance(error, OSError) and (error.filename or is_disk_failure(error)):
        if not error.filename:
            abandon_stdout()
        code = 4 if is_disk_failure(error) else 2
        name = error.filename or "The output"
        return _print(f"{name} could not be used ({error.strerror}); finished runs are kept.", code)
    return _print(_saved(traceback.format_exc()), 4)


def _print(text: str, code: int) -> int:
    """Prints at most three plain lines: they may quote a user's text."""
    lines = [short(inert(line), 400) for line in text.splitlines() if line.strip()][:3]
    print("synthbench: " + "\n".join(lines or ["failed"]), file=sys.stderr)
    return code


def _saved(trace: str) -> str:
    """Saves a traceback; returns a sentence that names the file and the traceback's last line."""
    if DEBUG in sys.argv:
        print(trace, file=sys.stderr)
    failure = f"Internal error ({trace.strip().splitlines()[-1][:200]})"
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="synthbench-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            file.write(trace)
    except OSError as error:
        return f"{failure}; the traceback could not be saved ({error.strerror}), --debug shows it."
    return f"{failure}; the traceback is in {file.name}."
