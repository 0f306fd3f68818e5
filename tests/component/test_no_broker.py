"""Commands of the operator without a broker."""

from __future__ import annotations

import pytest

from tests.support.commands import run


@pytest.mark.parametrize("command", ["topics", "dlq list", "replay --to-earliest", "leave worker-1"])
def test_a_command_names_the_broker_and_the_variable(command: str) -> None:
    """Exit code 1, the address that was tried, and where to change it."""
    done = run(command, KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:9")
    assert done.returncode == 1
    assert "127.0.0.1:9" in done.stderr
    assert "KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert "Traceback" not in done.stderr
