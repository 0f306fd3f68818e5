"""The stream runtime that the worker uses, carried out by Faust. Nothing outside of this package knows Faust's names.

What the worker asks of a runtime is the protocol ``stream.worker.lifecycle.StreamRuntime``; what the watchdog and the
pages ask is ``stream.worker.health.Progress``. What another runtime must do stands in
docs/adr/0018-what-it-would-take-to-leave-faust.md.
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
    """Raise StopError where Faust's Cython stream is missing: without it a hit costs several times as much."""
    if getattr(streams, "_CStreamIterator", None) is None:
        raise StopError("Faust's Cython stream is not loaded: install a wheel of faust-streaming for this platform")


class FaustRuntime:
    """Faust's app, table and consumer."""

    def __init__(self, settings: Settings) -> None:
        self.app = make_app(settings)
        self._table = make_table(self.app, settings)

    @property
    def table(self) -> dict[bytes, bytes]:
        """The dict inside of Faust's memory store, which it keeps for life: each of the layers above costs a call."""
        rows: dict[bytes, bytes] = self._table.data.data
        return rows

    @property
    def trackers(self) -> Trackers:
        """Which offsets are under way, and which may be committed."""
        return self._consumer.trackers

    @property
    def _consumer(self) -> TrackingConsumer:
        """Faust's consumer; ours, since the transport is. Faust makes it when it is first asked for."""
        consumer: TrackingConsumer = self.app.consumer
        return consumer

    def add_agent(self, run: Callable[[AsyncIterable[Batch]], Awaitable[None]]) -> None:
        """Give the batches of ``webhooks`` to ``run``."""
        add_agent(self.app, run)

    def on_revoked(self, handler: Callable[[], Awaitable[None]]) -> None:
        """Call ``handler`` when partitions are taken away, before another worker gets them."""

        @self.app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
        async def revoked(app: faust.App, revoked: set[Any], **kwargs: Any) -> None:
            del app, kwargs
            if revoked:
                await handler()

    def on_recovered(self, handler: Callable[[], None]) -> None:
        """Call ``handler`` after each assignment, when the table is back."""

        @self.app.on_rebalance_complete.connect  # type: ignore[untyped-decorator]
        async def recovered(app: faust.App, **kwargs: Any) -> None:
            del app, kwargs
            handler()

    async def start(self) -> None:
        """Join the group and read."""
        await self.app.start()

    async def stop(self) -> None:
        """Leave."""
        await self.app.stop()

    async def watch(self) -> None:
        """Wait until it can't go on; raises why: GroupError where the group refuses the worker, else StopError."""
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
        """Commit what is completed now; what the broker does not take stays committable."""
        await self._consumer.commit()

    def stop_fetching(self) -> None:
        """Fetch nothing more, for good."""
        self._consumer.stop_flow()

    @property
    def is_rebalancing(self) -> bool:
        """Whether the group is being joined."""
        return bool(self.app.rebalancing)

    def join_progress(self) -> Hashable | None:
        """How far joining and recovering are: a value that changes while they get on; None when both are done."""
        recovery = self.app.tables.recovery
        if recovery.completed.is_set() and not self.app.rebalancing:
            return None
        # Faust knows no offset of a partition yet that it has only just been given.
        return self.app.rebalancing_count, sum(offset or 0 for offset in recovery.active_offsets.values())

    def open_transaction_seconds(self) -> float:
        """For how long another producer's open transaction has held partitions back; 0 while none does."""
        return self._consumer.open_transactions.seconds()
