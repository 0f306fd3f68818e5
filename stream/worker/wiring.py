"""The composition root: the only place that makes concrete things and hands them to each other."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import asyncpg
import stamina

from stream import metrics, topics
from stream.dead_letters.guard import DlqGuard
from stream.domain.availability import Availability, PartnerGate
from stream.domain.errors import StopError
from stream.domain.identity import parse_denylist
from stream.domain.parking import RetryPolicy
from stream.domain.provider import Provider
from stream.domain.shares import Sources
from stream.faust_runtime.app import SESSION_TIMEOUT
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

CHANGELOG_BACKLOG = 50_000  # records not acknowledged; above it table writes are not logged: it is a cache


def now() -> datetime:
    """The clock that everything is given."""
    return datetime.now(UTC)


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[Worker]:
    """A worker with all its parts, its pages served. Raises StopError when it must not start."""
    stamina.instrumentation.set_on_retry_hooks([])  # a line for every call that waits; what comes of it is logged
    require_compiled_stream()
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(settings, connected=False))
        session = await stack.enter_async_context(partner_session())
        partners = Partners(settings, Ledger(pool, now, deadline=settings.lookup_deadline))
        sources = Sources()
        periodic = PeriodicStatements(pool, partners.ledger, SourceSync(pool, now, sources))
        broker, database = Probe("the broker"), Probe("the database")
        allowance = Allowance(settings.lookup_deadline.total_seconds(), settings.lookup_queue_limit.total_seconds())
        facts = WorkerFacts(broker, database, allowance)
        # Served before they are there: an operator must see what the worker waits for.
        site = pages(facts.healthy, facts.ready, partners.trouble, facts.without)
        runner = await serve(site, settings.stream_web_host, settings.stream_web_port)
        stack.push_async_callback(runner.cleanup)
        await database.reach(lambda: ping_or_stop(pool))
        admin = await broker.reach(lambda: stack.enter_async_context(open_admin(settings)))
        wrong = must_stop(await differences(admin, settings))
        if wrong:
            raise StopError(
                "topics differ from the map: " + "; ".join(map(str, wrong)) + ". Run: python -m stream topics"
            )
        kafka_producer = await stack.enter_async_context(open_producer(settings))
        policy = RetryUntilShutdown(before_send=lambda: pulse.check())  # noqa: PLW0108 - made further down
        producer = BatchProducer(kafka_producer, policy)
        stack.push_async_callback(producer.close)
        retries = [topic.name for topic in topics.RETRIES]
        await producer.load_metadata(topics.WEBHOOKS.name, topics.ENRICHED.name, *retries)
        retry_consumer = await stack.enter_async_context(open_consumer(settings, None, topics.RETRY_GROUP))
        runtime = FaustRuntime(settings)
        cache = _cache(runtime.table, producer, settings)
        dlq_guard = DlqGuard(settings.fuse)
        chain = _chain(pool, session, settings, partners)
        enricher = _enricher(cache, chain, producer, settings, dlq_guard, sources, partners.availability)
        metrics.TABLE_ENTRIES.set_function(lambda: len(cache))
        metrics.UNFINISHED.set_function(lambda: runtime.trackers.unfinished)
        metrics.OPEN_TRANSACTION.set_function(runtime.open_transaction_seconds)
        metrics.TASKS.set_function(lambda: len(asyncio.all_tasks()))
        runtime.add_agent(enricher.run)
        facts.watch(runtime, enricher)
        # It counts from here: to connect to a broker that is slow to answer may take longer than a session.
        pulse = Pulse(SESSION_TIMEOUT)
        yield Worker(
            runtime=runtime,
            enricher=enricher,
            cache=cache,
            producer=producer,
            retry=RetryReader(
                retry_consumer,
                producer,
                now,
                settings.retry_delays[-1],
                busy=enricher.single_flight.is_busy_for,
                gate=PartnerGate(partners.availability, time.monotonic, settings.retry_max_age),
            ),
            watchdog=Watchdog(facts.gather, allowance),
            pulse=pulse,
            probes=lambda: [broker.run(admin.describe_cluster), database.run(lambda: ping(pool)), periodic.run()],
            dlq_guard=dlq_guard,
            grace=settings.shutdown_grace.total_seconds(),
        )


def _cache(table: dict[bytes, bytes], producer: BatchProducer, settings: Settings) -> TableCache:
    def publish(partition: int, key: bytes, value: bytes | None) -> None:
        if not 0 <= partition < settings.topic_partitions:
            return  # a foreign key that recovery brought: there is no such partition to write its end to
        if producer.backlog > CHANGELOG_BACKLOG:
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
    """What keeps the partners from being overrun and overspent: a guard each, and the books."""

    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.ledger = ledger
        self.specs = provider_specs(settings)
        self.guards = {
            provider: Guard(provider, at_once=spec.max_concurrent_calls, rate=spec.rate, workers=settings.workers)
            for provider, spec in self.specs.items()
        }

    def availability(self, name: str) -> Availability:
        """Whether a partner can be asked now; whatever is no partner can."""
        guard = next((guard for provider, guard in self.guards.items() if provider == name), None)
        return Availability.AVAILABLE if guard is None else guard.availability()

    def trouble(self) -> dict[str, str]:
        """Why each of them is not asked now, "" while it is."""
        return {
            provider.value: guard.trouble() or self.ledger.trouble(provider) for provider, guard in self.guards.items()
        }


def _chain(pool: asyncpg.Pool, session: aiohttp.ClientSession, settings: Settings, partners: Partners) -> LookupChain:
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


def _enricher(  # noqa: PLR0913 - the worker's parts
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
