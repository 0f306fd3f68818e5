"""A publisher for tests: keeps records in memory, and fails or waits on command."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from producers.publisher import BrokerUnavailableError
from producers.records import Record
from stream import topics


class MemoryPublisher:
    """``failures``: how many of the next calls fail; ``gate``: while it is not set, acknowledgements wait."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.failures = 0
        self.waiting = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, records: Sequence[Record], deadline: float | None = None) -> None:
        """Acknowledge records. Raises BrokerUnavailableError on command, or at ``deadline``."""
        fails = self.failures > 0
        self.failures -= fails
        self.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self.gate.wait()
        except TimeoutError:
            raise BrokerUnavailableError("no acknowledgement in time") from None
        finally:
            self.waiting -= 1
        if fails:
            raise BrokerUnavailableError("no acknowledgement in time")
        self.records += records

    async def trouble(self) -> str:
        """The reason why records can't be published, "" when they can."""
        return "no answer" if self.failures else ""

    @property
    def webhooks(self) -> list[Record]:
        """The records of the topic ``webhooks``."""
        return [record for record in self.records if record.topic == topics.WEBHOOKS.name]

    @property
    def dead(self) -> list[Record]:
        """The records of the topic ``webhooks.dead``."""
        return [record for record in self.records if record.topic == topics.DEAD.name]
