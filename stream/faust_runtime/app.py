"""The Faust app: its configuration, its one table and its one agent."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any
from urllib.parse import quote

import faust
from yarl import URL

from stream import topics
from stream.faust_runtime.batch import RawSchema, batches_of
from stream.faust_runtime.consumer import TrackingTransport
from stream.kafka.batches import Batch
from stream.kafka.header_names import tolerate_invalid_header_names
from stream.settings import Settings

COMMIT_INTERVAL_S = 1.0  # after a crash the webhooks of one interval are answered again
SESSION_TIMEOUT_S = 10.0  # without a heartbeat for so long, a worker loses its partitions
REBALANCE_TIMEOUT_S = 60.0  # well above the deadline of a look-up
MAX_BUFFERED_RECORDS = 8_192  # a small buffer makes Faust pause partitions all the time
# A fetch crosses two threads, which is a reason for large ones. While one partition's records are answered the others
# wait, which is a reason for small ones.
MAX_FETCHED_RECORDS = 2_000


def make_app(settings: Settings) -> faust.App:
    """Build the app on our transport. Faust's pages, topic creation and table router stay off."""
    tolerate_invalid_header_names()  # anybody may write to `webhooks`
    app = faust.App(
        topics.APP_ID,
        broker=[URL(f"kafka://{server.strip()}") for server in settings.kafka_bootstrap_servers.split(",")],
        broker_credentials=_credentials(settings),
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.topic_partitions,
        stream_wait_empty=False,
        # Buffered records count in the span. They must never fill it: the agent would wait for records behind itself.
        stream_buffer_maxsize=min(MAX_BUFFERED_RECORDS, settings.max_unfinished_span // 4),
        broker_max_poll_records=min(MAX_FETCHED_RECORDS, settings.max_unfinished_span // 4),
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.worker_instance_id or None,
        **_member_url(settings.worker_instance_id),
        broker_commit_interval=COMMIT_INTERVAL_S,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=SESSION_TIMEOUT_S / 4,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
    )
    app.transport = TrackingTransport(app.conf.broker_consumer, app)
    return app


def _member_url(instance_id: str) -> dict[str, URL]:
    """Return the URL that identifies a static member to Faust. By default it would contain the host name.

    The broker gives a returning static member its former assignment, and Faust's assignor accepts only an assignment
    made for the same URL. A container that is created again has a new host name, so the URL depends on the instance id
    only (docs/adr/0015-member-url-from-the-instance-id.md). Nothing is served there: Faust's web server is off.
    """
    return {"canonical_url": URL(f"http://static-member/{quote(instance_id, safe='')}")} if instance_id else {}


def make_table(app: faust.App, settings: Settings) -> Any:
    """Return the table of contacts: bytes to bytes. Faust 0.15.3 uses the raw codec only with ``key_type=bytes``."""
    return app.Table(
        topics.TABLE_NAME, key_type=bytes, value_type=bytes, partitions=settings.topic_partitions, default=None
    )


def add_agent(app: faust.App, run: Callable[[AsyncIterable[Batch]], Awaitable[None]]) -> None:
    """Give the batches of ``webhooks`` to ``run``. Faust acknowledges nothing: the consumer tracks offsets itself."""
    webhooks = app.topic(topics.WEBHOOKS.name, schema=RawSchema())

    @app.agent(webhooks, concurrency=1, name="enrich")  # type: ignore[untyped-decorator]
    async def enrich(stream: Any) -> None:
        await run(batches_of(stream.noack().events()))


def _credentials(settings: Settings) -> Any:
    protocol = settings.kafka_security_protocol
    context = None
    if protocol in {"SSL", "SASL_SSL"}:
        from aiokafka.helpers import create_ssl_context  # noqa: PLC0415 - only where TLS is used

        context = create_ssl_context(cafile=str(settings.kafka_ssl_cafile) if settings.kafka_ssl_cafile else None)
    if protocol == "SSL":
        return faust.SSLCredentials(context)
    if protocol == "PLAINTEXT":
        return None
    return faust.SASLCredentials(
        username=settings.kafka_sasl_username,
        password=settings.kafka_sasl_password.get_secret_value(),
        mechanism=settings.kafka_sasl_mechanism,
        ssl_context=context,
    )
