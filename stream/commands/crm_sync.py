"""``python -m stream crm-sync``."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import click
import uvloop

from stream.commands.screen import show, show_json, table
from stream.crm.client import C2S
from stream.crm.key_order import KeyOrder
from stream.crm.pause import Pause
from stream.crm.sync import CRM_CONSUMER, CrmSync
from stream.crm.writes import CrmWrites, Unconfirmed
from stream.domain.errors import StreamError
from stream.domain.provider import CRM_PARTNER
from stream.health.consumer_pages import ConsumerFacts, serving
from stream.kafka.clients import open_admin, open_producer
from stream.kafka.consumer_loop import open_consumer_loop
from stream.logs import mask
from stream.providers.http import partner_session
from stream.runtime.startup import settings_or_exit, until_stopped
from stream.settings import Settings
from stream.store.pool import open_migrated


@click.command()
@click.option("--unconfirmed", is_flag=True, help="List the writes that may have been carried out, then exit.")
@click.option("--json", "as_json", is_flag=True, help="With --unconfirmed: one JSON object.")
@click.option("--reveal", is_flag=True, help="With --unconfirmed: show lead ids that look like a phone or a CPF.")
def command(*, unconfirmed: bool, as_json: bool, reveal: bool) -> None:
    """Write enriched contacts to the CRM, each lead's facts once.

    \b
    Examples:
      python -m stream crm-sync
      python -m stream crm-sync --unconfirmed
      CRM_RESEND_UNCONFIRMED=true python -m stream crm-sync   # resends them when their event is replayed
    """  # noqa: D301 - click's mark for lines that must stay as they are
    if unconfirmed:
        settings = settings_or_exit("crm-sync")
        try:
            rows = uvloop.run(_unconfirmed(settings))
        except StreamError as error:
            click.echo(f"crm-sync: {error}", err=True)
            sys.exit(1)
        _show(rows if reveal else [replace(row, lead=mask(row.lead)) for row in rows], as_json=as_json)
        return
    settings = settings_or_exit("crm-sync", "C2S_TOKEN", partners=(CRM_PARTNER,))
    sys.exit(uvloop.run(until_stopped(lambda stop: _sync(settings, stop))))


async def _sync(settings: Settings, stop: asyncio.Event) -> None:
    pause = Pause(CRM_PARTNER)
    facts = ConsumerFacts(paused=lambda: pause.reason)
    async with (
        serving(facts, settings.crm_web_host, settings.crm_web_port),
        open_migrated(settings) as pool,
        partner_session() as session,
        open_producer(settings) as producer,
        open_admin(settings) as admin,
        open_consumer_loop(
            settings,
            CRM_CONSUMER,
            KeyOrder(
                CrmSync(C2S(session, settings), CrmWrites(pool), producer, settings, pause).handle,
                concurrency=settings.crm_concurrency,
                gate=pause.wait,
            ),
        ) as loop,
        facts.watching(loop, admin, pool),
    ):
        await loop.run(stop)


async def _unconfirmed(settings: Settings) -> list[Unconfirmed]:
    async with open_migrated(settings) as pool:
        return await CrmWrites(pool).unconfirmed()


def _show(rows: list[Unconfirmed], *, as_json: bool) -> None:
    if as_json:
        show_json({"unconfirmed": rows})
        return
    show(
        table(
            f"{len(rows)} unconfirmed",
            "what, status",
            "claimed at",
            "lead, event",
            rows=[
                ((row.kind, row.status), f"{row.claimed_at:%Y-%m-%d %H:%M:%S}", (row.lead, row.event_id))
                for row in rows
            ],
        )
    )
