"""Connections to the broker: producer, consumer, admin, each with the configured security."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Container, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.helpers import create_ssl_context

from stream.domain.memo import Memo
from stream.kafka.partitioner import murmur2
from stream.settings import Settings

REQUEST_TIMEOUT_MS = 15_000  # after it the client sends the request again
MAX_POLL_INTERVAL_MS = 86_400_000  # a consumer that waits for a partner or the database stays in its group
MAX_BATCH_BYTES = 524_288  # the events of one tick of the worker fit; the default of 16 KiB holds a dozen
READ_COMMITTED = "read_committed"
MAX_RECORD_BYTES = 3_145_728  # more than webhooks.dead accepts, so that the broker decides what is too large
# Waiting does not help: the broker answers and refuses us, or we refuse its certificate.
REFUSALS = (
    SaslAuthenticationFailed,
    AuthenticationFailedError,
    UnsupportedSaslMechanismError,
    IllegalSaslStateError,
    ssl.SSLCertVerificationError,
)


def client_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of every aiokafka client."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
    }
    if settings.kafka_security_protocol in {"SSL", "SASL_SSL"}:
        cafile = settings.kafka_ssl_cafile
        options["ssl_context"] = create_ssl_context(cafile=str(cafile) if cafile else None)
    if settings.kafka_security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.kafka_sasl_mechanism
        options["sasl_plain_username"] = settings.kafka_sasl_username
        options["sasl_plain_password"] = settings.kafka_sasl_password.get_secret_value()
    return options


def consumer_options(settings: Settings) -> dict[str, Any]:
    """Keyword arguments of every consumer, which never reads aborted or uncommitted records.

    ``end_offsets`` of such a consumer returns last stable offsets. Transaction markers take offsets, so code that reads
    to an end compares positions, never the offsets of records.
    """
    return {**client_options(settings), "isolation_level": READ_COMMITTED}


def positions(consumer: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """The next offset that the consumer reads, for each assigned partition that has one.

    ``consumer.position`` would wait for a partition without a position, and aiokafka has no public way to check.
    """
    subscription = consumer._subscription.subscription  # noqa: SLF001 - held by tests/unit/test_read_committed.py
    assignment = None if subscription is None else subscription.assignment
    if assignment is None:
        return {}
    states = ((partition, assignment.state_value(partition)) for partition in assignment.tps)
    return {partition: state.position for partition, state in states if state.has_valid_position}


def positions_reached(
    consumer: AIOKafkaConsumer, before: Mapping[TopicPartition, int], fetched: Container[TopicPartition]
) -> dict[TopicPartition, int]:
    """The positions to which a fetch has moved the consumer: past records, transaction markers and aborted records.

    Call it right after the fetch, before another task runs. ``before``: the positions before the fetch. ``fetched``:
    the partitions that returned records; they are included even if a rebalance has moved the consumer back since.
    """
    return {
        partition: at
        for partition, at in positions(consumer).items()
        if partition in fetched or at > before.get(partition, 0)
    }


class Client(Protocol):
    """A producer, a consumer or an admin client."""

    async def start(self) -> None: ...  # noqa: D102


async def start_client(client: Client, settings: Settings) -> None:
    """Start a client. Raises KafkaConnectionError if no broker answers, AuthenticationFailedError if it refuses us.

    aiokafka raises KafkaConnectionError in both cases, so a second connection finds out which one it is.
    """
    try:
        await client.start()
    except KafkaConnectionError:
        if settings.kafka_security_protocol != "PLAINTEXT":
            await _raise_refusal(client_options(settings))
        raise KafkaConnectionError(
            f"no broker answers at {settings.kafka_bootstrap_servers}: see KAFKA_BOOTSTRAP_SERVERS"
        ) from None


async def _raise_refusal(options: dict[str, Any]) -> None:
    for host, port, _ in collect_hosts(options.pop("bootstrap_servers")):
        try:
            connection = await create_conn(host, port, **options, request_timeout_ms=REQUEST_TIMEOUT_MS)
        except REFUSALS as error:
            raise AuthenticationFailedError(
                f"refused, and waiting does not help: {error}. Check KAFKA_SASL_* and KAFKA_SSL_CAFILE"
            ) from None
        except (KafkaError, OSError):  # a TimeoutError is an OSError
            continue
        connection.close()


@asynccontextmanager
async def open_producer(settings: Settings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    """An idempotent producer with ``acks=all``, which is flushed and closed at the end."""
    producer = AIOKafkaProducer(
        **client_options(settings),
        acks="all",
        enable_idempotence=True,
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=MAX_RECORD_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **options,
    )
    try:
        # Inside, so that a producer that can't connect is closed too.
        await start_client(producer, settings)
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def open_consumer(
    settings: Settings, topic: str | None, group: str, **options: Any
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of a group. It starts at the earliest record if nothing is committed; it never commits by itself."""
    consumer = AIOKafkaConsumer(
        *([topic] if topic is not None else []),
        **consumer_options(settings),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=10_000,
        heartbeat_interval_ms=2_500,
        max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
        **options,
    )
    try:
        # Inside, so that a consumer that can't connect is closed too.
        await start_client(consumer, settings)
        yield consumer
    finally:
        await consumer.stop()


@asynccontextmanager
async def open_admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client."""
    admin = AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await start_client(admin, settings)
        yield admin
    finally:
        await admin.close()


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that the default partitioner of Kafka's Java client selects for ``key``."""
    return _hashes[key] % partitions


_hashes: Memo[bytes, int] = Memo(lambda key: murmur2(key) & 0x7FFFFFFF, 100_000)
