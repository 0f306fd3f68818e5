"""Carries a batch through Faust as the value of one message.

Faust passes every message through a channel, a queue, a decoder and its sensors. A batch pays that cost once.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any

import faust
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from stream.kafka.batches import Batch


def message_of(tp: TP, batch: Batch, generation: int) -> ConsumerMessage:
    """Return the Faust message that carries ``batch``. It is marked as tracked, because our tracker tracks it."""
    first = batch.records[0]
    time, kind = first.timestamp / 1000, first.timestamp_type
    message = ConsumerMessage(tp.topic, tp.partition, first.offset, time, kind, (), b"", batch, None, 0, 0, tp)
    message.generation_id = generation
    message.tracked = True
    return message


async def batches_of(events: AsyncIterable[Any]) -> AsyncIterator[Batch]:
    """Yield the batches that Faust's events carry."""
    async for event in events:
        yield event.value


class RawSchema(faust.Schema):  # type: ignore[misc]
    """Passes keys and values on undecoded: the agent decodes them and handles bad input."""

    def compile(self, app: Any, **kwargs: Any) -> Callable[..., Awaitable[Any]]:
        """Return the function that turns a message into an event. Faust's extension point."""
        del kwargs
        create_event = app.create_event

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            del propagate
            return create_event(message.key, message.value, message.headers, message)

        return decode
