"""Quix Streams: librdkafka in C, its state in RocksDB with a changelog topic.

Promises: at least once (its default: ``acks=all``, checkpoints every five seconds, state kept and recovered).
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from quixstreams import Application, State

from bench.peers.event import Headers, event, partner


def main() -> None:
    """Answer webhooks forever."""
    ask = partner()
    app = Application(
        broker_address=os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        consumer_group=os.environ["BENCH_GROUP"],
        auto_offset_reset="earliest",
        state_dir=tempfile.mkdtemp(prefix="bench-quix-"),
        loglevel="WARNING",
    )
    webhooks = app.topic("webhooks", key_deserializer="str", value_deserializer="json")
    enriched = app.topic("contacts.enriched", key_serializer="str", value_serializer="bytes")

    def answer(webhook: dict[str, Any], state: State) -> tuple[bytes, Headers]:
        known = state.get("known")
        if known is None:
            known = ask(webhook["normalised"]["key"])
            state.set("known", known)
        return event(webhook, known)

    answers = app.dataframe(webhooks).apply(answer, stateful=True)
    answers = answers.set_headers(lambda answer, *_: answer[1])
    answers.apply(lambda answer: answer[0]).to_topic(enriched)
    app.run()


if __name__ == "__main__":
    main()
