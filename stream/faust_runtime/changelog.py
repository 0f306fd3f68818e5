"""Restores the table from its changelog in batches. Faust would create a task for each record."""

from __future__ import annotations

from typing import Any

from aiokafka import ConsumerRecord
from faust.types import TP


async def apply_changes(consumer: Any, tp: TP, records: list[ConsumerRecord]) -> None:
    """Apply the fetched records of a changelog at once.

    The last record of the changelog takes Faust's own path, because there Faust notices that recovery is over.
    ``consumer``: Faust's. Its ``_read_offset`` says how far each changelog was read.
    """
    position = consumer._read_offset[tp] or 0  # noqa: SLF001 - Faust's recovery moves it when it seeks
    records = [record for record in records if record.offset >= position]
    if not records:
        return
    recovery = consumer.app.tables.recovery
    highwater = recovery.active_highwaters[tp]
    is_last = highwater is None or records[-1].offset >= highwater or tp not in recovery.active_tps
    batch = records[:-1] if is_last else records
    if batch and tp in recovery.active_tps:
        create = consumer.app.create_event
        changes = [create(record.key, record.value, (), record) for record in batch]
        recovery.tp_to_table[tp].apply_changelog_batch(changes)
        recovery.active_offsets[tp] = batch[-1].offset
    if is_last:
        await consumer.callback(consumer._to_message(tp, records[-1]))  # noqa: SLF001 - as Faust's loop does
    consumer._read_offset[tp] = records[-1].offset  # noqa: SLF001
