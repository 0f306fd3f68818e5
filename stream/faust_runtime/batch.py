"""What the agent is given: the records of one partition that were fetched together, with their tracker.

Faust hands each record through a channel, a queue, a decoder and its sensors. A batch makes that way once:
it travels as the value of one Faust message, and the raw schema lets it through undecoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import faust
from aiokafka import ConsumerRecord
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream.engine.tracker import Tracker


@dataclass(slots=True, eq=False)
class Batch:
    """Records of one partition, in order; ``taken`` is set when the agent has begun or left every one of them."""

    tracker: Tracker
    records: Sequence[ConsumerRecord]
    taken: asyncio.Event = field(default_factory=asyncio.Event)


def message_of(tp: TP, batch: Batch, generation: int) -> ConsumerMessage:
    """The Faust message that carries ``batch``. Faust need not track it: our tracker does."""
    first = batch.records[0]
    time, kind = first.timestamp / 1000, first.timestamp_type
    message = ConsumerMessage(tp.topic, tp.partition, first.offset, time, kind, (), b"", batch, None, 0, 0, tp)
    message.generation_id = generation
    message.tracked = True
    return message


class RawSchema(faust.Schema):  # type: ignore[misc]
    """Hands keys and values on as they are: decoding them is the agent's, since bad input is its business."""

    def compile(self, app: Any, **kwargs: Any) -> Callable[..., Awaitable[Any]]:
        """Faust's extension point: how a message becomes an event."""
        del kwargs
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            del propagate
            return create_event(message.key, message.value, message.headers, message)

        return decode
