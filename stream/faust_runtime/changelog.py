"""Faust's fetching loop without its cost per record (docs/adr/0007-the-fast-path.md).

Faust's own makes four tasks for each record and sends it through a queue, a decoder and its sensors: 4,500
records a second on one core. This one hands the records of a partition on as one batch, and waits until the
agent has taken it: that is the back-pressure too. ``STREAM_FAST_PATH=false`` leaves Faust's loop in place.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import ConsumerRecord
from faust.types import TP

from stream.engine.tracker import Tracker
from stream.faust_runtime.batch import Batch
from stream.faust_runtime.consumer import POLL, TrackingConsumer, TrackingTransport

IDLE = 0.05  # seconds between looks while no partition may be read


class FastConsumer(TrackingConsumer):
    """Hands over batches, and restores the table without a task for each record."""

    def _batches(self, tracker: Tracker, records: list[ConsumerRecord]) -> list[Batch]:
        return [Batch(tracker, records)]

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001 - as Faust's does
                await self._turn()
        except (asyncio.CancelledError, *self.consumer_stopped_errors):
            if not self.app.should_stop:
                raise

    async def _turn(self) -> None:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        active = self._get_active_partitions()
        if not active:
            await asyncio.sleep(IDLE)
            return
        fetched = await self._getmany(active, POLL)
        if fetched:
            # A rebalance suspends the flow: what has not been handed over by then is fetched again.
            await self.wait_first(self._deliver(fetched), self.suspend_flow.wait())
        await asyncio.sleep(0)

    async def _deliver(self, fetched: dict[TP, list[Any]]) -> None:
        for tp, records in fetched.items():
            if self._is_changelog_tp(tp):
                await self._deliver_changes(tp, records)
                continue
            for batch in records:
                await self.callback(self._to_message(tp, batch))
                await batch.taken.wait()

    async def _deliver_changes(self, tp: TP, records: list[ConsumerRecord]) -> None:
        """Apply what is read at once. The last record of all goes Faust's way, which tells that recovery is over."""
        recovery = self.app.tables.recovery
        position = self._read_offset[tp] or 0
        records = [record for record in records if record.offset >= position]
        if not records:
            return
        highwater = recovery.active_highwaters[tp]
        is_last = highwater is None or records[-1].offset >= highwater or tp not in recovery.active_tps
        at_once = records[:-1] if is_last else records
        if at_once and tp in recovery.active_tps:
            create = self.app.create_event
            changes = [create(record.key, record.value, (), record) for record in at_once]
            recovery.tp_to_table[tp].apply_changelog_batch(changes)
            recovery.active_offsets[tp] = at_once[-1].offset
        if is_last:
            await self.callback(self._to_message(tp, records[-1]))
        self._read_offset[tp] = records[-1].offset


class FastTransport(TrackingTransport):
    """Faust's aiokafka transport with the fast consumer."""

    Consumer = FastConsumer
