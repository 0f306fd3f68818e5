"""Runs a command of ``python -m stream`` to its end."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.support.waiting import LIMIT


def run(command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The result of ``command``, such as "dlq list", with these environment variables besides the present ones."""
    return subprocess.run(
        [sys.executable, "-m", "stream", *command.split()],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
