"""How a batch travels through Faust: as the value of one message, past its decoder.

Faust hands each record through a channel, a queue, a decoder and its sensors. A batch makes that way once.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any

import faust
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream.kafka.batches import Batch


def message_of(tp: TP, batch: Batch, generation: int) -> ConsumerMessage:
    """The Faust message that carries ``batch``. Faust need not track it: our tracker does."""
    first = batch.records[0]
    time, kind = first.timestamp / 1000, first.timestamp_type
    message = ConsumerMessage(tp.topic, tp.partition, first.offset, time, kind, (), b"", batch, None, 0, 0, tp)
    message.generation_id = generation
    message.tracked = True
    return message


async def batches_of(events: AsyncIterable[Any]) -> AsyncIterator[Batch]:
    """The batches that Faust's events carry."""
    async for event in events:
        yield event.value


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
