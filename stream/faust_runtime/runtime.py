"""The worker's stream runtime on Faust. No module outside this package uses Faust's names.

It implements the protocols ``stream.worker.lifecycle.StreamRuntime`` (for the worker) and
``stream.worker.health.Progress`` (for the watchdog and the pages). docs/adr/0018-what-it-would-take-to-leave-faust.md
says what another runtime must do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Hashable
from typing import Any

import faust
from faust import streams

from stream.domain.errors import StopError
from stream.faust_runtime.app import add_agent, make_app, make_table
from stream.faust_runtime.consumer import TrackingConsumer
from stream.kafka.batches import Batch
from stream.kafka.offset_tracker import Trackers
from stream.settings import Settings


def require_compiled_stream() -> None:
    """Raise StopError if Faust's Cython stream is missing: without it a hit costs several times as much."""
    if getattr(streams, "_CStreamIterator", None) is None:
        raise StopError("Faust's Cython stream is not loaded: install a wheel of faust-streaming for this platform")


class FaustRuntime:
    """Faust's app, table and consumer."""

    def __init__(self, settings: Settings) -> None:
        self.app = make_app(settings)
        self._table = make_table(self.app, settings)

    @property
    def table(self) -> dict[bytes, bytes]:
        """The dict inside Faust's memory store, which never changes. Each of Faust's layers above it costs a call."""
        rows: dict[bytes, bytes] = self._table.data.data
        return rows

    @property
    def trackers(self) -> Trackers:
        """The trackers of the assigned partitions."""
        return self._consumer.trackers

    @property
    def _consumer(self) -> TrackingConsumer:
        """Our consumer, which our transport makes. Faust creates it at the first access."""
        consumer: TrackingConsumer = self.app.consumer
        return consumer

    def add_agent(self, run: Callable[[AsyncIterable[Batch]], Awaitable[None]]) -> None:
        """Give the batches of ``webhooks`` to ``run``."""
        add_agent(self.app, run)

    def on_revoked(self, handler: Callable[[], Awaitable[None]]) -> None:
        """Call ``handler`` when partitions are revoked, before another worker gets them."""

        @self.app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
        async def revoked(app: faust.App, revoked: set[Any], **kwargs: Any) -> None:
            del app, kwargs
            if revoked:
                await handler()

    def on_recovered(self, handler: Callable[[], None]) -> None:
        """Call ``handler`` after each assignment, when the table is recovered."""

        @self.app.on_rebalance_complete.connect  # type: ignore[untyped-decorator]
        async def recovered(app: faust.App, **kwargs: Any) -> None:
            del app, kwargs
            handler()

    async def start(self) -> None:
        """Join the group and start to read."""
        await self.app.start()

    async def stop(self) -> None:
        """Leave the group and stop."""
        await self.app.stop()

    async def watch(self) -> None:
        """Wait until the runtime can't continue. Raise GroupError if the group refuses the worker, else StopError."""
        watches = [
            asyncio.ensure_future(one) for one in (self._consumer.watch_membership(), self.app.wait_until_stopped())
        ]
        try:
            await asyncio.wait(watches, return_when=asyncio.FIRST_COMPLETED)
            if watches[0].done():
                await watches[0]
        finally:
            for watch in watches:
                watch.cancel()
        raise StopError(f"Faust has stopped: {self.app.crash_reason!r}")

    async def commit(self) -> None:
        """Commit what is completed now. What the broker refuses stays committable."""
        await self._consumer.commit()

    def stop_fetching(self) -> None:
        """Stop fetching for good."""
        self._consumer.stop_flow()

    @property
    def is_rebalancing(self) -> bool:
        """Whether the worker is joining the group."""
        return bool(self.app.rebalancing)

    def join_progress(self) -> Hashable | None:
        """Return how far joining and recovering are, a value that changes with each progress; None if both are done."""
        recovery = self.app.tables.recovery
        if recovery.completed.is_set() and not self.app.rebalancing:
            return None
        # The offset of a partition that was assigned a moment ago is still None.
        return self.app.rebalancing_count, sum(offset or 0 for offset in recovery.active_offsets.values())

    def open_transaction_seconds(self) -> float:
        """For how many seconds another producer's open transaction has held partitions back; 0 if none does."""
        return self._consumer.open_transactions.seconds()
