"""The composition root of a worker: ``worker`` lists the parts, the other functions make them.

No other module of the worker makes concrete objects and hands them to each other.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import asyncpg
import stamina
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from stream import metrics, topics
from stream.dead_letters.guard import DlqGuard
from stream.domain.availability import Availability, PartnerGate
from stream.domain.errors import StopError
from stream.domain.identity import parse_denylist
from stream.domain.parking import RetryPolicy
from stream.domain.provider import Provider
from stream.domain.shares import Sources
from stream.faust_runtime.app import SESSION_TIMEOUT_S
from stream.faust_runtime.runtime import FaustRuntime, require_compiled_stream
from stream.health.pages import pages, serve
from stream.health.probe import Probe
from stream.health.watchdog import Allowance, Pulse, Watchdog
from stream.kafka.batch_producer import BatchProducer, RetryUntilShutdown
from stream.kafka.clients import open_admin, open_consumer, open_producer
from stream.lookup.chain import LookupChain
from stream.lookup.ports import PricingPolicy
from stream.lookup.postgres import PostgresTier
from stream.lookup.table_cache import Lifetimes, TableCache
from stream.ops.topics import differences, must_stop
from stream.providers.diretrix import Diretrix
from stream.providers.guard import Guard
from stream.providers.http import partner_session
from stream.providers.specs import provider_specs
from stream.providers.work_api import WorkApi
from stream.runtime.clock import TickClock
from stream.settings import Settings
from stream.store.contacts import ContactStore
from stream.store.ledger import Ledger
from stream.store.periodic import LEASE_S, PeriodicStatements
from stream.store.pool import open_pool, ping, ping_or_stop
from stream.store.sources import SourceSync
from stream.worker.agent import Enricher, Limits
from stream.worker.health import WorkerFacts
from stream.worker.lifecycle import Worker
from stream.worker.outcomes import Outcomes
from stream.worker.retry_reader import RetryReader
from stream.worker.single_flight import SingleFlight

# Records that are not acknowledged. Above it a write to the table skips the changelog: the table is a cache.
MAX_CHANGELOG_BACKLOG = 50_000


def now() -> datetime:
    """The clock of every part of the worker."""
    return datetime.now(UTC)


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[Worker]:
    """Build a worker, and serve its pages inside the context. Raise StopError if it must not start."""
    stamina.instrumentation.set_on_retry_hooks([])  # no log line for each retry: the result is logged
    require_compiled_stream()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings, connected=False))
        session = await stack.enter_async_context(partner_session())
        partners = Partners(settings, Ledger(pool, now, deadline=settings.lookup_deadline))
        sources = Sources()
        keeper = PeriodicStatements(pool, partners.ledger, SourceSync(pool, now, sources))
        health = Health(settings)
        await _serve_pages(stack, settings, health.facts, partners)
        admin = await _reach_servers(stack, settings, health, pool)
        await _check_topics(admin, settings)
        producer = await _batch_producer(stack, settings, lambda: pulse.check())  # noqa: PLW0108 - made further down
        retry_consumer = await stack.enter_async_context(open_consumer(settings, None, topics.RETRY_GROUP))
        runtime = FaustRuntime(settings)
        cache = _table_cache(runtime.table, producer, settings)
        chain = _lookup_chain(pool, session, settings, partners)
        dlq_guard = DlqGuard(settings.fuse)
        enricher = _enricher(cache, chain, producer, settings, dlq_guard, sources, partners.availability)
        runtime.add_agent(enricher.run)
        health.facts.watch(runtime, enricher)
        _export_metrics(runtime, cache)
        pulse = Pulse(SESSION_TIMEOUT_S)  # not earlier: a slow broker may take longer than a session to connect to
        yield Worker(
            runtime=runtime,
            enricher=enricher,
            cache=cache,
            producer=producer,
            retry=_retry_reader(retry_consumer, producer, settings, enricher.single_flight, partners),
            watchdog=Watchdog(health.facts.gather, health.allowance),
            pulse=pulse,
            probes=lambda: [*health.probes(admin, pool), keeper.run()],
            dlq_guard=dlq_guard,
            grace=settings.shutdown_grace.total_seconds(),
        )


class Health:
    """The probes of the broker and the database, and the facts for the watchdog and the pages."""

    def __init__(self, settings: Settings) -> None:
        self.broker, self.database = Probe("the broker"), Probe("the database")
        self.allowance = Allowance(
            settings.lookup_deadline.total_seconds(), settings.lookup_queue_limit.total_seconds()
        )
        self.facts = WorkerFacts(self.broker, self.database, self.allowance)

    def probes(self, admin: AIOKafkaAdminClient, pool: asyncpg.Pool) -> list[Coroutine[None, None, None]]:
        """Return what asks the broker and the database for ever whether they answer."""
        return [self.broker.run(admin.describe_cluster), self.database.run(lambda: ping(pool))]


async def _serve_pages(stack: AsyncExitStack, settings: Settings, facts: WorkerFacts, partners: Partners) -> None:
    """Serve the pages before the servers are reached: an operator must see what the worker waits for."""
    site = pages(facts.healthy, facts.ready, partners.trouble, facts.waits)
    host, port = settings.stream_web_host, settings.stream_web_port
    try:
        served = await serve(site, host, port)
    except OSError as error:
        raise StopError(f"can't listen on {host} port {port}: {error.strerror}. Change STREAM_WEB_PORT") from error
    stack.push_async_callback(served.cleanup)


async def _reach_servers(
    stack: AsyncExitStack, settings: Settings, health: Health, pool: asyncpg.Pool
) -> AIOKafkaAdminClient:
    """Wait for PostgreSQL and the broker. Raise StopError if one of them does not answer for too long."""
    await health.database.reach(lambda: ping_or_stop(pool))
    return await health.broker.reach(lambda: stack.enter_async_context(open_admin(settings)))


async def _check_topics(admin: AIOKafkaAdminClient, settings: Settings) -> None:
    """Raise StopError if a topic differs from the map so that the worker must not run."""
    wrong = must_stop(await differences(admin, settings))
    if wrong:
        raise StopError("topics differ from the map: " + "; ".join(map(str, wrong)) + ". Run: python -m stream topics")


async def _batch_producer(stack: AsyncExitStack, settings: Settings, before_send: Callable[[], None]) -> BatchProducer:
    """Return a producer that knows the partitions of every topic whose partition it chooses by key."""
    kafka_producer = await stack.enter_async_context(open_producer(settings))
    producer = BatchProducer(kafka_producer, RetryUntilShutdown(before_send=before_send))
    stack.push_async_callback(producer.close)
    await producer.load_metadata(topics.WEBHOOKS.name, topics.ENRICHED.name, *(topic.name for topic in topics.RETRIES))
    return producer


def _retry_reader(
    consumer: AIOKafkaConsumer,
    producer: BatchProducer,
    settings: Settings,
    single_flight: SingleFlight,
    partners: Partners,
) -> RetryReader:
    gate = PartnerGate(partners.availability, time.monotonic, settings.retry_max_age)
    return RetryReader(consumer, producer, now, settings.retry_delays[-1], single_flight.is_busy_for, gate)


def _export_metrics(runtime: FaustRuntime, cache: TableCache) -> None:
    metrics.TABLE_ENTRIES.set_function(lambda: len(cache))
    metrics.UNFINISHED.set_function(lambda: runtime.trackers.unfinished)
    metrics.OPEN_TRANSACTION.set_function(runtime.open_transaction_seconds)
    metrics.TASKS.set_function(lambda: len(asyncio.all_tasks()))


def _table_cache(table: dict[bytes, bytes], producer: BatchProducer, settings: Settings) -> TableCache:
    def publish(partition: int, key: bytes, value: bytes | None) -> None:
        if not 0 <= partition < settings.topic_partitions:
            return  # recovery brought a key that is not ours; its partition does not exist
        if producer.backlog > MAX_CHANGELOG_BACKLOG:
            metrics.TABLE_WRITES_DROPPED.inc()
            return
        producer.enqueue(topics.CHANGELOG.name, key, value, [], partition=partition)

    lifetimes = Lifetimes(
        known=settings.cache_ttl_known.total_seconds(),
        unknown=settings.cache_ttl_unknown.total_seconds(),
        capacity=settings.cache_capacity,
    )
    return TableCache(table, publish, lifetimes, random.random)


class Partners:
    """The ledger, and a guard for each provider."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.ledger = ledger
        self.specs = provider_specs(settings)
        self.guards = {
            provider: Guard(provider, at_once=spec.max_concurrent_calls, rate=spec.rate, workers=settings.workers)
            for provider, spec in self.specs.items()
        }

    def availability(self, name: str) -> Availability:
        """Return whether a provider can be asked now. Any other name is available."""
        guard = next((guard for provider, guard in self.guards.items() if provider == name), None)
        return Availability.AVAILABLE if guard is None else guard.availability()

    def trouble(self) -> dict[str, str]:
        """Return why each provider can't be asked now, "" if it can."""
        return {
            provider.value: guard.trouble() or self.ledger.trouble(provider) for provider, guard in self.guards.items()
        }


def _lookup_chain(
    pool: asyncpg.Pool, session: aiohttp.ClientSession, settings: Settings, partners: Partners
) -> LookupChain:
    pricing = PricingPolicy(
        providers=partners.specs,
        max_age=settings.enrichment_max_age,
        unknown_for=settings.cache_ttl_unknown,
        work_unknown_for=settings.work_unknown_for,
        lease=LEASE_S,
    )
    return LookupChain(
        people=PostgresTier(pool),
        diretrix=Diretrix(session, settings, partners.guards[Provider.DIRETRIX]),
        work=WorkApi(session, settings, partners.guards[Provider.WORK]),
        ledger=partners.ledger,
        store=ContactStore(pool),
        pricing=pricing,
        now=now,
    )


def _enricher(  # noqa: PLR0913 - its parts
    cache: TableCache,
    chain: LookupChain,
    producer: BatchProducer,
    settings: Settings,
    dlq_guard: DlqGuard,
    sources: Sources,
    availability: Callable[[str], Availability],
) -> Enricher:
    clock = TickClock(now)
    outcomes = Outcomes(
        producer, clock, RetryPolicy(settings.retry_delays, settings.retry_max_age), dlq_guard, availability
    )
    limits = Limits(
        deadline=settings.lookup_deadline.total_seconds(),
        slots=settings.lookup_slots,
        queue=settings.lookup_queue,
        queue_limit=settings.lookup_queue_limit.total_seconds(),
        span=settings.max_unfinished_span,
    )
    denied, area_code = parse_denylist(settings.contact_denylist), settings.default_area_code
    return Enricher(cache, chain, outcomes, producer, limits, clock, denied, area_code, sources)
