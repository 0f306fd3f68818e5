"""Partners that fail in every way: what becomes of the webhook, what is on the books, and that it mends by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from stream.domain.events import Outcome
from stream.local.people import population
from stream.local.simulators import Fault
from stream.providers.guard import BREAKER_THRESHOLD
from tests.support.agent_rig import LIMIT, Worker
from tests.support.fakes import c2s_webhook
from tests.support.real_rig import RealRig, real_rig

SOMEONE, *OTHERS = population(30, seed=41)


@pytest.fixture
async def rig(pool: asyncpg.Pool) -> AsyncIterator[RealRig]:
    """Partners that are given up after a quarter of a second."""
    async with real_rig(pool, DIRETRIX_TIMEOUT="250ms", WORK_API_TIMEOUT="250ms") as made:
        made.know(SOMEONE)
        yield made


@pytest.fixture
def worker(rig: RealRig) -> Worker:
    return Worker(rig)


def webhook(lead: str = "lead-1", someone: object = SOMEONE) -> bytes:
    return c2s_webhook(lead, name=someone.name, phone=someone.phone)  # type: ignore[attr-defined]


FAULTS = [
    ("diretrix", Fault(status=500, times=1), "unsure", 1),
    ("diretrix", Fault(hang=5, times=1), "unsure", 1),
    ("diretrix", Fault(reset=True, times=1), "unsure", 1),
    ("diretrix", Fault(garbage=True, times=1), "unsure", 1),
    ("diretrix", Fault(status=200, times=1), "unsure", 1),  # an object with an error inside
    ("diretrix", Fault(status=302, times=1), "unsure", 1),
    ("diretrix", Fault(status=429, retry_after=600, times=1), "free", 0),
    ("work", Fault(status=500, times=1), "unsure", 1),
    ("work", Fault(hang=5, times=1), "unsure", 1),
    ("work", Fault(reset=True, times=1), "unsure", 1),
    ("work", Fault(garbage=True, times=1), "unsure", 1),
    ("work", Fault(status=200, times=1), "free", 0),  # "erro" inside: token or quota
    ("work", Fault(status=429, retry_after=600, times=1), "free", 0),
]


@pytest.mark.parametrize(("partner", "fault", "booked", "told"), FAULTS, ids=str)
async def test_a_fault_parks_the_webhook_and_its_call_is_booked_for_what_it_may_have_cost(  # noqa: PLR0913
    rig: RealRig, worker: Worker, partner: str, fault: Fault, booked: str, told: int
) -> None:
    """One call, never repeated by itself; what may have been billed is unsure and counted in the event."""
    rig.simulators.faults[partner] = fault
    (pending,) = await worker.receive(webhook())
    assert (pending.outcome, pending.parked) == (Outcome.PENDING, True)
    assert rig.calls(partner) == 1
    assert await rig.statuses(partner) == [booked]
    assert getattr(pending.calls, partner) == told


@pytest.mark.parametrize("partner", ["diretrix", "work"])
@pytest.mark.parametrize(
    "fault", [Fault(latency=0.1), Fault(status=429, retry_after=0.05, times=1), Fault(status=429, times=2)], ids=str
)
async def test_what_is_slow_or_wants_a_moment_is_waited_for(
    rig: RealRig, worker: Worker, partner: str, fault: Fault
) -> None:
    """A late answer is an answer, and a 429 is asked again after the time it names; one row on the books."""
    rig.simulators.faults[partner] = fault
    (event,) = await worker.receive(webhook())
    assert event.outcome == Outcome.ENRICHED
    assert (event.calls.diretrix, event.calls.work) == (1, 1)
    assert (await rig.statuses("diretrix"), await rig.statuses("work")) == (["paid"], ["paid"])


async def test_what_diretrix_was_paid_for_is_not_paid_again_when_the_work_api_fails(
    rig: RealRig, worker: Worker
) -> None:
    """Parked again and again, until the Work API is back: one Diretrix call."""
    rig.simulators.faults["work"] = Fault(status=500, times=3)
    for _ in range(4):
        events = await worker.receive(webhook())
    assert [event.outcome for event in events] == [*[Outcome.PENDING] * 3, Outcome.ENRICHED]
    assert await rig.statuses("diretrix") == ["paid"]
    assert await rig.statuses("work") == ["paid", "unsure", "unsure", "unsure"]


@pytest.mark.parametrize("status", [401, 403])
async def test_refused_credentials_stop_the_asking_at_once(rig: RealRig, worker: Worker, status: int) -> None:
    """Thirty unknown contacts cost one refused call, which is free; the guard says what to mend."""
    rig.simulators.faults["diretrix"] = Fault(status=status)
    await worker.receive(webhook())
    await worker.receive(*(webhook(f"lead-{n}", someone) for n, someone in enumerate(OTHERS)))
    assert rig.calls("diretrix") == 1
    assert await rig.statuses("diretrix") == ["free"]
    assert {event.outcome for event in worker.events()} == {Outcome.PENDING}
    assert rig.guards["diretrix"].trouble() == f"refuses us: status {status}: check DIRETRIX_USER and DIRETRIX_PASSWORD"
    assert rig.guards["work"].trouble() == ""


async def test_a_partner_that_is_down_is_not_paid_for_every_webhook(rig: RealRig, worker: Worker) -> None:
    """Failures in a row open the breaker: the webhooks after them are parked without a call."""
    rig.simulators.faults["diretrix"] = Fault(status=500)
    for number, someone in enumerate(OTHERS):
        await worker.receive(webhook(f"lead-{number}", someone))
    assert rig.calls("diretrix") == BREAKER_THRESHOLD
    assert await rig.statuses("diretrix") == ["unsure"] * BREAKER_THRESHOLD  # what was not asked is in no books
    assert rig.guards["diretrix"].trouble() == "the breaker is open"


async def test_a_200_with_only_unusable_cpfs_is_nobody_and_free(rig: RealRig, worker: Worker) -> None:
    """As assumed until an invoice says otherwise: nobody was found, nothing was paid, and it is not asked again."""
    rig.simulators.people_by_alias[OTHERS[0].phone] = [{"nome": "X", "cpf": "123"}]
    (event,) = await worker.receive(webhook("a", OTHERS[0]))
    assert (event.outcome, event.calls.diretrix) == (Outcome.NOT_FOUND, 0)
    assert await rig.statuses("diretrix") == ["free"]
    await worker.receive(webhook("b", OTHERS[0]))
    assert rig.calls("diretrix") == 1


async def test_a_worker_that_leaves_settles_its_calls(rig: RealRig, worker: Worker) -> None:
    """A call under way at the end is unsure in the books, not for ever reserved, and its webhook is parked once."""
    rig.simulators.faults["diretrix"] = Fault(hang=60)
    await worker.read(webhook())
    async with asyncio.timeout(LIMIT):
        while not rig.calls("diretrix"):  # noqa: ASYNC110 - the simulator sets no event
            await asyncio.sleep(0.01)
    worker.enricher.park_all("shutdown")
    await worker.enricher.stop()
    assert await rig.statuses("diretrix") == ["unsure"]
    assert [event.outcome for event in worker.events()] == [Outcome.PENDING]
