"""A flood of new people from one source, large enough to use up the budget and the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg

from stream.domain.events import event_id
from stream.domain.sources.c2s import read_lead as lead_from_c2s
from stream.domain.sources.google_ads import read_lead as lead_from_google
from stream.local.people import Someone
from stream.local.processes import Child
from stream.local.stack import GOOGLE_KEY
from stream.store.notices import LEVELS_PERCENT
from tests.chaos import scenario
from tests.chaos.rig import Rig
from tests.support.system import call, crm, lead

BUDGET = 80  # calls a day; a quarter of it is each of two sources' own
IN_A_POST = 50  # webhooks
FLOOD_LIMIT = 1_800.0  # seconds; 3,000 look-ups in eight slots take ten minutes where nothing else runs


class Scenario(scenario.Scenario):
    """Google leads and known contacts are answered meanwhile, the budget holds, and no webhook is given up for it."""

    number, name = 13, "flood"
    full = {"strangers": 3_000, "google": 19, "known": 10}
    small = {"strangers": 300, "google": 15, "known": 10}
    # What waits for the budget is older than any webhook may be tried, many times over.
    environment = {
        "DIRETRIX_DAILY_BUDGET": str(BUDGET),
        "LOOKUP_QUEUE": "40",
        "LOOKUP_SLOTS": "8",
        "RETRY_DELAYS": "1s,2s",
        "RETRY_MAX_AGE": "1s",
    }

    def play(self, rig: Rig, strangers: int, google: int, known: int) -> None:
        """``strangers``: C2S webhooks of the flood. ``google``: new leads. ``known``: known contacts."""
        people = rig.people(strangers + google + known)
        friends, guests, crowd = people[:known], people[known : known + google], people[known + google :]
        rig.post([lead(f"known-{number}", one) for number, one in enumerate(friends)])
        first = self._google(rig, friends[:1], "first")
        rig.settle()
        rig.say(f"{strangers} strangers")
        batches = [crowd[first : first + IN_A_POST] for first in range(0, strangers, IN_A_POST)]
        asked = list(first)
        for number, batch in enumerate(batches):
            rig.post([lead(f"stranger-{number}-{one}", someone) for one, someone in enumerate(batch)])
            share = guests[len(guests) * number // len(batches) : len(guests) * (number + 1) // len(batches)]
            asked += self._google(rig, share, f"guest-{number}")
            hit = lead(f"hit-{number}", friends[number % known])
            rig.post([hit])
            asked.append(event_id(lead_from_c2s(hit)))
        rig.until(lambda: set(asked) <= self._enriched(rig), "Google leads and known contacts to be answered")
        rig.note("answered amidst the flood", f"{google} Google leads, {len(batches)} webhooks of known contacts")
        rig.until(lambda: len(crm(rig.stack)["leads"]) > google, "every Google lead to be in the CRM")
        rig.until(lambda: self._is_noticed(rig), "a notice for each level of the budget that is reached")
        spent, notices = asyncio.run(_books(rig.stack.database_url))
        rig.note("calls of the day", f"{spent} of {BUDGET}; notices: {notices}")
        rig.promise(spent <= BUDGET, f"{spent} calls were made of {BUDGET}")
        self._raise_the_budget(rig)
        rig.settle(limit=FLOOD_LIMIT)
        rig.promise(not rig.left, f"left by themselves: {rig.left}")
        rig.promise(not rig.evidence.letters, "webhooks that waited for the budget were given up")

    def _google(self, rig: Rig, people: Sequence[Someone], name: str) -> list[str]:
        """POST a Google lead for each person; returns their event ids."""
        identities = []
        for number, someone in enumerate(people):
            columns = {"FULL_NAME": someone.name, "PHONE_NUMBER": f"+55{someone.phone}", "EMAIL": someone.email}
            body = {
                "lead_id": f"{name}-{number}",
                "google_key": GOOGLE_KEY,
                "form_id": 1,
                "campaign_id": 2,
                "is_test": False,
                "user_column_data": [{"column_id": key, "string_value": value} for key, value in columns.items()],
            }
            call(f"{rig.stack.producers_url}/api/v1/webhooks/google-ads", body, "POST")
            identities.append(event_id(lead_from_google(body)))
        rig.evidence.answered |= set(identities)
        return identities

    def _enriched(self, rig: Rig) -> set[str]:
        rig.reader.catch_up()
        return {one.event_id for one in rig.evidence.emissions if one.outcome == "enriched"}

    def _is_noticed(self, rig: Rig) -> bool:
        """Whether all notices are there. Calls in progress count as spent, and are noticed when they end."""
        spent, notices = asyncio.run(_books(rig.stack.database_url))
        return notices >= max(1, sum(100 * spent >= percent * BUDGET for percent in LEVELS_PERCENT))

    def _raise_the_budget(self, rig: Rig) -> None:
        """Raise the budget, as an operator or midnight does: all parked webhooks come back."""
        rig.stop("worker")
        environment = {**rig.stack.environment(), "DIRETRIX_DAILY_BUDGET": "unlimited"}
        rig.stack.children["worker"] = Child("worker", ["stream", "worker"], environment, rig.stack.folder)
        rig.restart("worker", ready=True)


async def _books(url: str) -> tuple[int, int]:
    connection = await asyncpg.connect(url)
    try:
        spent: int = await connection.fetchval("SELECT sum(calls) FROM stream.budgets WHERE provider = 'diretrix'")
        return spent, await connection.fetchval("SELECT count(*) FROM stream.notices")
    finally:
        await connection.close()
