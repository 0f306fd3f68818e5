"""``python -m tests.support.receiver_front LIMITS SETTINGS``: the producers' server in a process of its own, on uvloop.

LIMITS and SETTINGS are JSON objects. The publisher keeps no records, so that the memory of the process is that of the
server. Prints its port; log lines go to standard error.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
import uvloop

from producers.app import App
from producers.limits import Limits
from producers.records import Record
from producers.server import listen
from stream.logs import configure
from stream.settings import load


class ForgetfulPublisher:
    """Acknowledges every record at once and keeps none."""

    async def publish(self, records: Sequence[Record], deadline: float | None = None) -> None:
        """Return at once."""

    async def trouble(self) -> str:
        """Nothing keeps records from being published."""
        return ""


async def main() -> None:
    """Serve until killed."""
    limits, settings = Limits(**orjson.loads(sys.argv[1])), load(orjson.loads(sys.argv[2]))
    configure(settings, "producers")
    app = App(settings, ForgetfulPublisher(), lambda: datetime.now(UTC), limits)
    most, trusted = settings.producer_max_connections, settings.trusted_proxies
    async with listen(app.handle, "127.0.0.1", 0, most, 1.0, limits=limits, trusted=trusted) as port:
        print(port, flush=True)  # noqa: T201 - what the test waits for
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
