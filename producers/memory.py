"""A publisher without a broker: keeps records in memory, fails and waits on command. For tests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from producers.items import Record
from producers.publisher import BrokerUnavailableError
from stream import topics


class MemoryPublisher:
    """``failures``: how many of the next publications fail; ``gate``: closed, acknowledgements wait."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.failures = 0
        self.waiting = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, records: Sequence[Record], until: float | None = None) -> None:
        """Acknowledge records, in the order in which they came."""
        fails = self.failures > 0
        self.failures -= fails
        self.waiting += 1
        try:
            async with asyncio.timeout_at(until):
                await self.gate.wait()
        except TimeoutError:
            raise BrokerUnavailableError("no acknowledgement in time") from None
        finally:
            self.waiting -= 1
        if fails:
            raise BrokerUnavailableError("no acknowledgement in time")
        self.records += records

    async def trouble(self) -> str:
        """What keeps records from being published."""
        return "no answer" if self.failures else ""

    @property
    def webhooks(self) -> list[Record]:
        """What is in the topic."""
        return [record for record in self.records if record.topic == topics.WEBHOOKS.name]

    @property
    def dead(self) -> list[Record]:
        """What is in the dead letters."""
        return [record for record in self.records if record.topic == topics.DEAD.name]
