"""Writes to the CRM whose call fails, times out or is cut off: unconfirmed, resent on request, retried or released."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from stream.crm.writes import CrmWrites
from stream.domain.errors import PartnerUnavailableError
from stream.domain.person import Person
from stream.local.simulators import Fault
from stream.settings import Settings
from tests.support.crm_rig import MARIA, Crm, die, event, eventually, google, until_handled

CLAIM_EXPIRES_AFTER = timedelta(seconds=1)  # twice the time-out of a call


pytestmark = pytest.mark.usefixtures("no_retry_pauses")


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(status=503), Fault(reset=True), Fault(hang=5)])
@pytest.mark.parametrize("make", [event, google])
async def test_a_call_that_may_have_been_carried_out_is_unconfirmed(
    crm: Crm, fault: Fault, make: Callable[[Person], Any]
) -> None:
    """After a 5xx, a reset or a time-out the write is listed as unconfirmed and not resent by itself."""
    crm.c2s.faults["c2s"] = fault
    await crm.sync().handle(make(MARIA))
    crm.c2s.faults.clear()
    await crm.sync().handle(make(MARIA))
    kind, lead = ("message", "L1") if make is event else ("lead", "G1")
    assert await crm.unconfirmed() == [(kind, lead, "unconfirmed")]
    assert crm.c2s.messages == crm.c2s.leads == []
    assert crm.dead_letters.sent == []


@pytest.mark.parametrize("make", [event, google])
async def test_an_unconfirmed_write_is_resent_on_request(crm: Crm, make: Callable[[Person], Any]) -> None:
    """With CRM_RESEND_UNCONFIRMED=true a replayed event makes its unconfirmed write once and confirms it."""
    crm.c2s.faults["c2s"] = Fault(status=500)
    await crm.sync().handle(make(MARIA))
    crm.c2s.faults.clear()
    for _ in range(2):
        await crm.sync(CRM_RESEND_UNCONFIRMED="true").handle(make(MARIA))
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


@pytest.mark.parametrize("before", [None, 422, 500])
@pytest.mark.parametrize("make", [event, google])
async def test_a_call_in_progress_is_not_made_twice(
    crm: Crm, make: Callable[[Person], Any], before: int | None
) -> None:
    """Five processes that may resend write once: a new, a refused and an unconfirmed write."""
    if before is not None:
        crm.c2s.faults["c2s"] = Fault(status=before)
        await crm.sync().handle(make(MARIA))
    crm.c2s.faults["c2s"] = Fault(latency=0.1)
    syncs = [crm.sync(CRM_RESEND_UNCONFIRMED="true") for _ in range(5)]
    await asyncio.gather(*(until_handled(sync, make(MARIA)) for sync in syncs))
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


@pytest.mark.parametrize("make", [event, google])
async def test_the_write_of_a_dead_process_is_resent_on_request(crm: Crm, make: Callable[[Person], Any]) -> None:
    """With CRM_RESEND_UNCONFIRMED=true the sync waits until the call must have ended, then writes once."""
    crm.c2s.faults["c2s"] = Fault(hang=5)
    call = asyncio.create_task(crm.sync(C2S_TIMEOUT="30s").handle(make(MARIA)))
    await eventually(lambda: sum(crm.c2s.counts.values()) == 1)
    await die(crm, call)
    crm.c2s.faults.clear()
    await until_handled(crm.sync(CRM_RESEND_UNCONFIRMED="true"), make(MARIA))
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


class SlowWrites(CrmWrites):
    """The real class, but ``reclaim`` takes so long that a claim expires before ``has_result`` is called."""

    async def reclaim(self, c2s_id: str, facts: str, event_id: str, reclaim_after: timedelta | None) -> bool:
        """Reclaim, then wait."""
        is_reclaimed = await super().reclaim(c2s_id, facts, event_id, reclaim_after)
        await asyncio.sleep(CLAIM_EXPIRES_AFTER.total_seconds())
        return is_reclaimed

    async def reclaim_lead(self, source: str, lead_id: str, reclaim_after: timedelta | None) -> bool:
        """Reclaim a lead, then wait."""
        is_reclaimed = await super().reclaim_lead(source, lead_id, reclaim_after)
        await asyncio.sleep(CLAIM_EXPIRES_AFTER.total_seconds())
        return is_reclaimed


@pytest.mark.parametrize("make", [event, google])
async def test_a_claim_that_expires_between_two_statements_is_resent(
    crm: Crm, make: Callable[[Person], Any], pool: asyncpg.Pool
) -> None:
    """A claim that is too young to be reclaimed does not count as ended a moment later."""
    crm.c2s.faults["c2s"] = Fault(hang=5)
    call = asyncio.create_task(crm.sync(C2S_TIMEOUT="30s").handle(make(MARIA)))
    await eventually(lambda: sum(crm.c2s.counts.values()) == 1)
    await die(crm, call)
    crm.c2s.faults.clear()
    slow = dataclasses.replace(crm, writes=SlowWrites(pool))  # type: ignore[arg-type]
    await until_handled(
        slow.sync(CRM_RESEND_UNCONFIRMED="true", C2S_TIMEOUT=f"{CLAIM_EXPIRES_AFTER.total_seconds() / 2}s"), make(MARIA)
    )
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


@pytest.mark.parametrize("make", [event, google])
async def test_a_released_claim_leaves_the_call_to_the_other_process(crm: Crm, make: Callable[[Person], Any]) -> None:
    """If the process that claimed a write fails and releases it, the other process with the event writes it."""
    crm.c2s.faults["c2s"] = Fault(status=429, latency=0.3, times=1)
    first = asyncio.create_task(crm.sync(C2S_TIMEOUT="30s").handle(make(MARIA)))
    await eventually(lambda: sum(crm.c2s.counts.values()) == 1)
    second = asyncio.create_task(until_handled(crm.sync(C2S_TIMEOUT="30s"), make(MARIA)))
    with pytest.raises(PartnerUnavailableError):
        await first
    await second
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


@pytest.mark.parametrize("make", [event, google])
async def test_a_claim_that_expired_can_not_be_released(crm: Crm, make: Callable[[Person], Any]) -> None:
    """An expired claim stays unconfirmed: the other process has completed the event, so nobody would write it again."""
    crm.c2s.faults["c2s"] = Fault(status=429, times=1)
    crm.writes.away = asyncio.Event()
    first = asyncio.create_task(crm.sync().handle(make(MARIA)))
    await eventually(lambda: sum(crm.c2s.counts.values()) == 1)
    await until_handled(crm.sync(), make(MARIA))
    crm.writes.away.set()
    with pytest.raises(PartnerUnavailableError):
        await first
    kind, lead = ("message", "L1") if make is event else ("lead", "G1")
    assert await crm.unconfirmed() == [(kind, lead, "unconfirmed")]


@pytest.mark.parametrize("make", [event, google])
async def test_a_process_stopped_during_a_call_marks_it_unconfirmed(crm: Crm, make: Callable[[Person], Any]) -> None:
    """A stopped process marks its call as unconfirmed at once, so the next process does not wait for it."""
    crm.c2s.faults["c2s"] = Fault(hang=5)
    call = asyncio.create_task(crm.sync(C2S_TIMEOUT="30s").handle(make(MARIA)))
    await eventually(lambda: sum(crm.c2s.counts.values()) == 1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    kind, lead = ("message", "L1") if make is event else ("lead", "G1")
    assert await crm.unconfirmed() == [(kind, lead, "unconfirmed")]
    await crm.sync(C2S_TIMEOUT="30s").handle(make(MARIA))
    assert crm.c2s.messages == crm.c2s.leads == []


async def test_a_process_that_dies_during_a_call_leaves_it_unconfirmed(crm: Crm) -> None:
    """The write is claimed before the call, so after a restart it is listed and not written again."""
    crm.c2s.faults["c2s"] = Fault(hang=5)
    call = asyncio.create_task(crm.sync(C2S_TIMEOUT="30s").handle(event(MARIA)))
    await eventually(lambda: crm.c2s.counts["c2s_message"] == 1)
    await die(crm, call)
    crm.c2s.faults.clear()
    assert await crm.unconfirmed() == [("message", "L1", "claimed")]
    await until_handled(crm.sync(), event(MARIA))
    assert await crm.unconfirmed() == [("message", "L1", "unconfirmed")]
    assert crm.c2s.messages == []


@pytest.mark.parametrize("status", [401, 403, 429])
@pytest.mark.parametrize("make", [event, google])
async def test_a_call_that_was_not_carried_out_is_retried(crm: Crm, status: int, make: Callable[[Person], Any]) -> None:
    """A refusal that may end is raised as transient with C2S's Retry-After, and the next attempt writes once."""
    crm.c2s.faults["c2s"] = Fault(status=status, retry_after=7)
    with pytest.raises(PartnerUnavailableError) as refused:
        await crm.sync().handle(make(MARIA))
    assert refused.value.retry_after == (7 if status == 429 else None)
    assert await crm.unconfirmed() == []
    crm.c2s.faults.clear()
    await crm.sync().handle(make(MARIA))
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1


async def test_a_refused_connection_releases_the_claim(crm: Crm) -> None:
    """A refused connection has sent nothing, so the claim is released."""
    with pytest.raises(PartnerUnavailableError):
        await crm.sync(C2S_BASE_URL="http://127.0.0.1:9").handle(event(MARIA))
    assert await crm.unconfirmed() == []


@pytest.mark.parametrize("make", [event, google])
async def test_a_database_outage_after_the_call_loses_no_result(crm: Crm, make: Callable[[Person], Any]) -> None:
    """The result of a call is stored when the database is back: no second message, no lead without its id."""
    crm.writes.failures = 3
    await crm.sync().handle(make(MARIA))
    await crm.sync().handle(make(MARIA))
    assert len(crm.c2s.messages) + len(crm.c2s.leads) == 1
    assert await crm.unconfirmed() == []


async def test_the_command_lists_unconfirmed_writes(crm: Crm, database_settings: Settings) -> None:
    """``crm-sync --unconfirmed --json`` prints one object with the kind, lead, event and time of each write."""
    crm.c2s.faults["c2s"] = Fault(status=500)
    await crm.sync().handle(event(MARIA))
    code, out, _ = await command("--json", url=database_settings.database_url.get_secret_value())
    assert code == 0
    (listed,) = orjson.loads(out)["unconfirmed"]
    assert (listed["kind"], listed["lead"], listed["status"]) == ("message", "L1", "unconfirmed")
    assert UUID(listed["event_id"])
    assert datetime.fromisoformat(listed["claimed_at"])


async def test_the_command_reports_a_database_that_is_away() -> None:
    """Without a database the command prints one line and exits with 1."""
    code, _, said = await command(url="postgresql://127.0.0.1:9/x")
    assert code == 1
    assert said.splitlines()[-1].startswith("crm-sync: database: ")


async def command(*options: str, url: str) -> tuple[int | None, str, str]:
    """Run ``crm-sync --unconfirmed``; returns its exit code, its output and its error output."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "stream", "crm-sync", "--unconfirmed", *options),
        env={"PATH": os.environ["PATH"], "DATABASE_URL": url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate()
    return process.returncode, out.decode(), said.decode()
