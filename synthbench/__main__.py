"""`python -m synthbench`: the same program as `synthbench`."""

import sys

# `python -m` puts the working directory first on the path; a file `rich.py` lying there must not be run.
if sys.path and sys.path[0] in ("", __import__("os").getcwd()):
    del sys.path[0]

from synthbench.cli import main

if __name__ == "__main__":
    main()
