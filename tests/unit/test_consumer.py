"""Faust's consumer, as we have it: what it may not drop."""

# ruff: noqa: SLF001 - the insides are the subject

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from faust.types import TP

from stream import topics
from stream.app import make_app, make_table
from stream.engine.consumer import TrackingConsumer
from stream.settings import load

WEBHOOKS, CHANGELOG = TP(topics.WEBHOOKS.name, 0), TP(topics.CHANGELOG.name, 0)


@pytest.fixture
async def consumer() -> AsyncIterator[TrackingConsumer]:
    """The consumer of an app that is not started."""
    settings = load({"STREAM_FAST_PATH": "false"})
    app = make_app(settings)
    make_table(app, settings)
    app.finalize()
    made: TrackingConsumer = app.consumer
    yield made
    made._thread.thread_loop.close()


async def test_what_is_read_again_after_a_seek_is_not_dropped(consumer: TrackingConsumer) -> None:
    """Faust's loop notes a stale record's offset after a seek back, and would drop what lies below it."""
    consumer._read_offset.update({WEBHOOKS: 80, CHANGELOG: 80})
    consumer._read_offset[WEBHOOKS] = 100
    consumer._read_offset[CHANGELOG] = 100
    assert consumer._read_offset[WEBHOOKS] is None
    assert consumer._read_offset[CHANGELOG] == 100
    assert consumer._read_offset.pop(CHANGELOG, None) == 100
    assert consumer._read_offset[CHANGELOG] is None
