"""The program's entry, as `synthbench` and as `python -m synthbench`.

An interrupt is quiet from the first moment: importing the rest takes a tenth of a second, and a Ctrl-C within it would
print a traceback of somebody else's code.
"""

import os
import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # `python -m` puts the working directory first on the path; a file `signal.py` or `rich.py` lying there must not be
    # run. (What Python itself imports before it comes here, it does for every module; `python -P -m` does not.)
    try:
        here = os.getcwd()
    except OSError:  # deleted
        here = ""
    if sys.path and sys.path[0] in ("", here):
        del sys.path[0]

import signal


def main() -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from synthbench.interface import outcome

    outcome.main()


if __name__ == "__main__":
    main()
