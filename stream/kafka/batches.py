"""What the agent is handed: the records of one partition that were fetched together, with their tracker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord

from stream.kafka.offset_tracker import Tracker


@dataclass(slots=True, eq=False)
class Batch:
    """Records of one partition, in order; ``taken`` is set when the agent has begun or left every one of them."""

    tracker: Tracker
    records: Sequence[ConsumerRecord]
    dispatched: asyncio.Event = field(default_factory=asyncio.Event)
