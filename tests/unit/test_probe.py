"""Connecting to a broker or a database that does not answer yet."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaConnectionError

from stream.domain.errors import DatabaseUnavailableError, StopError
from stream.health.probe import Probe


async def test_a_broker_that_comes_late_is_reached() -> None:
    """Refused connections are retried, and the outage ends with the first connection."""
    tries = [KafkaConnectionError(), OSError(), None]
    probe = Probe("the broker", every=0.0)
    away = []

    async def connect() -> str:
        away.append(bool(probe.away))
        if (error := tries.pop(0)) is not None:
            raise error
        return "connected"

    assert await probe.reach(connect) == "connected"
    assert (away, probe.away) == ([False, True, True], 0.0)


@pytest.mark.parametrize(
    ("what", "error"),
    [("the broker", KafkaConnectionError()), ("the database", DatabaseUnavailableError("database: OSError"))],
)
async def test_a_server_that_never_answers_is_given_up(what: str, error: Exception) -> None:
    """After ``max_wait`` seconds, with a reason that an operator understands."""
    now = 0.0
    probe = Probe(what, lambda: now, every=0.0, max_wait=300.0)

    async def connect() -> None:
        nonlocal now
        now += 100.0
        raise error

    with pytest.raises(StopError, match=f"{what} is away: nothing answered for 300 s"):
        await probe.reach(connect)
    assert now == 500.0


async def test_an_error_that_waiting_does_not_cure_is_raised_at_once() -> None:
    """A fault of the configuration is no outage."""
    probe = Probe("the broker", every=0.0)

    async def connect() -> None:
        raise StopError("topics differ from the map")

    with pytest.raises(StopError, match="topics differ"):
        await probe.reach(connect)
