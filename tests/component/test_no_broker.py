"""Commands of the operator without a broker."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("command", ["topics", "dlq list", "replay --to-earliest", "leave worker-1"])
def test_a_command_names_the_broker_and_the_variable(command: str) -> None:
    """Exit code 1, the address that was tried, and where to change it."""
    done = subprocess.run(
        [sys.executable, "-m", "stream", *command.split()],
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert "Traceback" not in done.stderr
