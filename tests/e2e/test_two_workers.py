"""Workers come and go: nothing is lost, and one person is one party."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import asyncpg
import pytest

from stream.local.kafka import free_port
from stream.local.people import population, typed
from stream.local.processes import Child
from stream.local.stack import Stack
from tests.e2e.system import call, counts, events_until, ids, lead, post
from tests.e2e.test_crash import teach

WEBHOOKS = 600


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Partners, producers and one worker."""
    with Stack(print, scale=0.1, extra={"RETRY_DELAYS": "1s"}) as started:
        started.start_servers()
        started.start_simulators()
        started.start_ours("producers", "worker")
        yield started


def second_worker(stack: Stack) -> Child:
    """Start another worker; waits until it has partitions and their table."""
    port = free_port()
    environment = {**stack.environment(), "WORKER_INSTANCE_ID": "local-2", "STREAM_WEB_PORT": str(port)}
    child = stack.children["worker-2"] = Child("worker-2", ["stream", "worker"], environment, stack.folder)
    child.start()
    child.wait_for(f"http://127.0.0.1:{port}/readyz")
    return child


def send(stack: Stack, people: list, chance: random.Random, first: int, size: int) -> None:
    """POST a batch about random people."""
    chosen = [chance.choice(people) for _ in range(size)]
    post(stack, [lead(f"lead-{first + n}", one, phone=typed(one.phone, chance)) for n, one in enumerate(chosen)])


@pytest.mark.timeout(400)
def test_a_worker_that_joins_and_leaves_loses_nothing(stack: Stack) -> None:
    """One worker, two, one again, under load: no event is missing, and only what was under way is asked for twice."""
    chance = random.Random(4)
    people = population(150, 4)
    teach(stack, people)
    third = WEBHOOKS // 3
    send(stack, people, chance, 0, third)
    second = second_worker(stack)
    send(stack, people, chance, third, third)
    assert second.stop() == 0
    send(stack, people, chance, 2 * third, third)
    wanted = {f"lead-{n}" for n in range(WEBHOOKS)}
    events = events_until(stack, lambda events: ids(events) >= wanted, limit=150)
    assert ids(events) == wanted
    asked = [times for key, times in counts(stack)["asked"].items() if key.startswith("diretrix/")]
    assert sum(times - 1 for times in asked) <= 128  # the slots of a worker: at most those were under way


def test_phone_only_and_email_only_of_one_new_person_on_two_workers(stack: Stack) -> None:
    """Two keys of one person at once: at most two Diretrix calls, one Work API call, one party."""
    (someone,) = population(1, 21)
    teach(stack, [someone])
    second_worker(stack)
    by_phone, by_email = lead("phone-only", someone), lead("email-only", someone)
    del by_phone["attributes"]["customer"]["email"]
    del by_email["attributes"]["customer"]["phone"]
    post(stack, [by_phone, by_email])
    events = events_until(stack, lambda events: ids(events) >= {"phone-only", "email-only"})
    assert {event.person.cpf for event in events if event.person is not None} == {someone.cpf}
    counted = call(f"{stack.simulators_url}/_control/counts")["counts"]
    assert counted["diretrix"] <= 2
    assert counted["work"] == 1
    assert asyncio.run(parties(stack.database_url, someone.cpf)) == 1


async def parties(url: str, cpf: str) -> int:
    """How many parties have this CPF."""
    connection = await asyncpg.connect(url)
    try:
        count: int = await connection.fetchval("SELECT count(*) FROM core.parties WHERE cpf_cnpj = $1", cpf)
        return count
    finally:
        await connection.close()
