"""``python -m tests.support.fuzz_front``: the producers' server with a publisher that checks records and keeps none.

A process of its own, so that its memory can be measured. Prints its port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
import uvloop

from producers.app import App
from producers.records import Record
from producers.server import listen
from stream import topics
from stream.domain.leads import decode_webhook
from stream.logs import configure
from stream.settings import load

SECRETS = {
    "C2S_WEBHOOK_TOKEN": "secret",
    "GOOGLE_ADS_KEY": "key",
    "GRUPO_OLX_CREDENTIALS": "user:password",
    "LOG_LEVEL": "ERROR",
}
WINDOW = 500  # remembered deliveries: soon full, so that growing memory means a leak


class CheckingPublisher:
    """Checks that the worker can read every record. A failed check becomes a 500."""

    async def publish(self, records: Sequence[Record], deadline: float | None = None) -> None:
        """Read the records as the worker does."""
        del deadline
        for record in records:
            if record.topic == topics.WEBHOOKS.name:
                assert record.key
                decode_webhook(record.value)
                orjson.loads(record.value)
            assert all(isinstance(value, bytes) for _, value in record.headers)

    async def trouble(self) -> str:
        """Nothing keeps records from being published."""
        return ""


async def main() -> None:
    """Serve until killed."""
    settings = load({**SECRETS, "PRODUCER_DUPLICATE_WINDOW": str(WINDOW)})
    configure(settings, "producers")
    app = App(settings, CheckingPublisher(), lambda: datetime.now(UTC))
    async with listen(app.handle, "127.0.0.1", 0, 1_000, 1.0) as port:
        print(port, flush=True)  # noqa: T201 - what the test waits for
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
