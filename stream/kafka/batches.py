"""The unit of work of the agent: records of one partition that were fetched together, with their offset tracker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from stream.kafka.offset_tracker import Tracker


@dataclass(slots=True, eq=False)
class Batch:
    """Records of one partition, in order. The agent sets ``dispatched`` when it has started or skipped all of them."""

    tracker: Tracker
    records: Sequence[ConsumerRecord]
    dispatched: asyncio.Event = field(default_factory=asyncio.Event)
