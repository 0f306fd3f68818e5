"""A process of another tree of this project, such as an earlier release: ``BENCH_OTHER_TREE`` names its folder.

The arguments are those of ``python -m``.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.chdir(os.environ["BENCH_OTHER_TREE"])  # where -m looks for modules first
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])  # noqa: S606 - our own program
