"""One new person several times at once: under two keys on two workers, and two hundred times under one key."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg

from stream.local.people import Someone
from tests.chaos import scenario
from tests.chaos.rig import Rig
from tests.support.system import counts


class Scenario(scenario.Scenario):
    """Two keys: at most two Diretrix calls, one Work API call, one party. One key: one Diretrix call."""

    number, name = 10, "one person at once"
    full = {"people": 100, "deliveries": 200}
    small = {"people": 10, "deliveries": 200}

    def play(self, rig: Rig, people: int, deliveries: int) -> None:
        """``people`` write with a phone and with an e-mail; one more has ``deliveries`` webhooks at once."""
        *pairs, crowd = rig.people(people + 1)
        rig.add_worker(2)
        rig.until_ready("worker-2")
        self._pairs(rig, pairs)
        before = counts(rig.stack)["asked"]
        rig.post([self._webhook(f"crowd-{number}", crowd) for number in range(deliveries)])
        rig.settle()
        asked = counts(rig.stack)["asked"]
        calls = sum(times - before.get(what, 0) for what, times in asked.items() if what.startswith("diretrix/"))
        rig.promise(calls == 1, f"{calls} Diretrix calls for {deliveries} deliveries of one new contact")
        rig.note("Diretrix calls for one contact's deliveries", f"{calls} for {deliveries}")

    def _pairs(self, rig: Rig, pairs: Sequence[Someone]) -> None:
        webhooks = []
        for number, someone in enumerate(pairs):
            webhooks += [
                self._webhook(f"phone-{number}", someone, without="email"),
                self._webhook(f"email-{number}", someone, without="phone"),
            ]
        rig.post(webhooks)
        rig.settle()
        counted = counts(rig.stack)
        diretrix = [counted["people"].get(f"diretrix/{someone.cpf}", 0) for someone in pairs]
        work = [counted["asked"].get(f"work/{someone.cpf}", 0) for someone in pairs]
        parties = asyncio.run(_parties(rig.stack.database_url, [someone.cpf for someone in pairs]))
        rig.note("Diretrix calls a person", f"{sum(diretrix) / len(pairs):.2f}")
        rig.promise(max(diretrix) <= 2, f"{max(diretrix)} Diretrix calls for one person")
        rig.promise(set(work) == {1}, f"Work API calls a person: {sorted(set(work))}, not 1")
        rig.promise(set(parties) == {1}, f"parties a person: {sorted(set(parties))}, not 1")

    @staticmethod
    def _webhook(identity: str, someone: Someone, *, without: str = "") -> dict[str, Any]:
        customer = {"name": someone.name, "phone": someone.phone, "email": someone.email}
        customer.pop(without, None)
        attributes = {"updated_at": "2026-01-31T12:00:00Z", "customer": customer}
        return {"id": identity, "hook_action": "on_create_lead", "attributes": attributes}


async def _parties(url: str, cpfs: Sequence[str]) -> list[int]:
    connection = await asyncpg.connect(url)
    try:
        query = "SELECT count(*) FROM core.parties WHERE cpf_cnpj = $1"
        return [await connection.fetchval(query, cpf) for cpf in cpfs]
    finally:
        await connection.close()
