"""The program's entry, as `synthbench` and as `python -m synthbench`.

An interrupt is quiet from the first moment: importing the rest takes a tenth of a second, and a Ctrl-C within it would
print a traceback of somebody else's code.
"""

import os
import signal
import sys


def main() -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from synthbench import cli

    cli.main()


if __name__ == "__main__":
    # `python -m` puts the working directory first on the path; a file `rich.py` lying there must not be run.
    if sys.path and sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    main()
