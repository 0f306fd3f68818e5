"""From POST to event: webhooks at fixed times over HTTP, and a consumer that waits for their events, in one process.

Latency is from when a webhook was *due* to when its event has been consumed.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from statistics import quantiles
from urllib.parse import urlsplit

import click
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.leads import records
from bench.load import Load, request
from stream import topics
from stream.kafka.clients import consumer_options
from stream.settings import load

PATIENCE = 60.0  # seconds after the last webhook


@click.command()
@click.option("--url", required=True, help="Where to POST.")
@click.option("--bodies", type=click.Path(path_type=Path), required=True, help="A file: one webhook a line.")
@click.option("--header", multiple=True, help="'Name: value', besides the usual ones.")
@click.option("--connections", type=int, default=64, show_default=True)
@click.option("--rate", type=float, default=200.0, show_default=True, help="Webhooks a second.")
def main(url: str, bodies: Path, header: tuple[str, ...], connections: int, rate: float) -> None:
    """POST every webhook once, wait for its event, and print the latencies as JSON.

    Example: python -m bench.probe --url http://127.0.0.1:8080/api/v1/webhooks/c2s --bodies bodies.jsonl
    """
    payloads = bodies.read_bytes().splitlines()
    click.echo(orjson.dumps(uvloop.run(_play(url, payloads, header, connections, rate))))


async def _play(
    url: str, payloads: list[bytes], header: tuple[str, ...], connections: int, rate: float
) -> dict[str, object]:
    identities = [record.identity for record in records(iter(payloads))]
    parts = urlsplit(url)
    load_ = Load([request(url, header, body) for body in payloads], rate)
    consumer = AIOKafkaConsumer(**consumer_options(load()))
    await consumer.start()
    try:
        await _at_the_end(consumer)
        arrivals: dict[str, float] = {}
        reading = asyncio.create_task(_read(consumer, set(identities), arrivals))
        tally = await load_.run(parts.hostname or "", parts.port or 80, connections)
        await asyncio.wait({reading}, timeout=PATIENCE)
        reading.cancel()
    finally:
        await consumer.stop()
    due = {identity: tally.began + number / rate for number, identity in enumerate(identities)}
    latencies = [arrivals[identity] - due[identity] for identity in identities if identity in arrivals]
    cuts = quantiles(latencies, n=1000, method="inclusive")
    return {
        **tally.report(),
        "events": len(latencies),
        "event_p50_ms": cuts[499] * 1000,
        "event_p99_ms": cuts[989] * 1000,
        "event_ms": [seconds * 1000 for seconds in latencies],
    }


async def _at_the_end(consumer: AIOKafkaConsumer) -> None:
    await consumer._client.force_metadata_update()  # noqa: SLF001 - a consumer without a subscription
    cluster = await consumer._client.fetch_all_metadata()  # noqa: SLF001
    found = cluster.partitions_for_topic(topics.ENRICHED.name) or ()
    consumer.assign([TopicPartition(topics.ENRICHED.name, number) for number in found])
    await consumer.seek_to_end()


async def _read(consumer: AIOKafkaConsumer, wanted: set[str], arrivals: dict[str, float]) -> None:
    async for record in consumer:
        identity = dict(record.headers)["ce_id"].decode()
        if identity in wanted:
            arrivals.setdefault(identity, time.monotonic())
            if len(arrivals) == len(wanted):
                return


if __name__ == "__main__":
    main()
