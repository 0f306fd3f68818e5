"""``python -m stream journal``."""

from __future__ import annotations

import asyncio
import sys

import click
import uvloop

from stream.health.consumer_pages import ConsumerFacts, serving
from stream.kafka.clients import open_admin
from stream.kafka.consumer_loop import open_consumer_loop
from stream.reporting.journal import JOURNAL_CONSUMER, Journal
from stream.runtime.startup import settings_or_exit, until_stopped
from stream.settings import Settings
from stream.store.pool import open_migrated


@click.command()
def command() -> None:
    """Write one row for each answered webhook, for `report`; with JOURNAL=true also to public.webhook_events.

    Example: DATABASE_URL=postgresql://... python -m stream journal
    """
    settings = settings_or_exit("journal")
    sys.exit(uvloop.run(until_stopped(lambda stop: _journal(settings, stop))))


async def _journal(settings: Settings, stop: asyncio.Event) -> None:
    facts = ConsumerFacts()
    async with (
        serving(facts, settings.journal_web_host, settings.journal_web_port),
        open_migrated(settings) as pool,
        open_admin(settings) as admin,
        open_consumer_loop(settings, JOURNAL_CONSUMER, Journal(pool, webhook_events=settings.journal)) as loop,
        facts.watching(loop, admin, pool),
    ):
        await loop.run(stop)
