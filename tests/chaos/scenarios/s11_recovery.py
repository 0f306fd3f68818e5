"""SIGKILL with a full table, and the time until the first event after it."""

from __future__ import annotations

import asyncio
import random
import time

import psutil

from stream import topics
from stream.domain.contact_facts import ContactFacts, known_person
from stream.domain.identity import contact_of
from stream.domain.leads import Lead, Source
from stream.domain.person import Candidate, person_from_work
from stream.kafka.clients import open_producer, partition_of
from stream.local.people import Someone
from stream.lookup.table_cache import Lifetimes, TableCache
from stream.settings import Settings
from tests.chaos import scenario, verifier
from tests.chaos.rig import Rig
from tests.support.fakes import NOW
from tests.support.system import counts

LONGEST = 5.0  # seconds


class Scenario(scenario.Scenario):
    """A killed static member with a full table soon answers again, and pays for nothing."""

    number, name = 11, "recovery"
    full = {"entries": 50_000, "kills": 5, "per_second": 100}
    processes = ("producers", "worker")

    def play(self, rig: Rig, entries: int, kills: int, per_second: int) -> None:
        """``entries``: of the table; they are recovered from the changelog, as after any restart."""
        rig.stop("worker")
        people = rig.people(entries, taught=False)
        written, known = asyncio.run(_fill(rig.stack.settings(), people, entries))
        del people[known:]  # the load is about those whom the table knows
        rig.note("entries in the changelog", written)
        rig.restart("worker", ready=True)
        used = psutil.Process(rig.stack.children["worker"].pid).cpu_times()
        rig.note("processor time of a worker until it is ready", f"{used.user + used.system:.1f} s")
        times = []
        for _ in range(kills):
            load = rig.load(per_second * 15, per_second=per_second)
            rig.sleep(3)
            rig.kill("worker")
            rig.sleep(rig.chance.uniform(0, 1))
            rig.restart("worker")
            load.wait()
            rig.settle()
            times.append(verifier.recovery(rig.evidence.emissions, rig.evidence.mended[-1:]) or 0.0)
            rig.say(f"first event {times[-1]:.1f} s after the restart")
        rig.note("first event after each restart, s", ", ".join(f"{one:.2f}" for one in times))
        rig.promise(max(times) <= LONGEST, f"the first event came {max(times):.1f} s after a restart")
        asked = counts(rig.stack)["counts"]
        rig.promise(not asked.get("diretrix") and not asked.get("work"), f"known people were paid for: {asked}")


async def _fill(settings: Settings, people: list[Someone], most: int) -> tuple[int, int]:
    """Write the changelog of a worker that has looked people up; returns its entries and their people."""
    latest: dict[tuple[int, bytes], bytes | None] = {}
    lifetimes = Lifetimes(known=86_400, unknown=3_600, capacity=2 * most)
    cache = TableCache(
        {}, lambda partition, key, value: latest.update({(partition, key): value}), lifetimes, random.random
    )
    now, known = time.time(), 0
    for someone in people:
        lead = Lead(Source.C2S, "", None, None, someone.name, someone.phone, someone.email, "", None)
        contact = contact_of(lead, frozenset())
        assert contact.phone is not None
        person = known_person(person_from_work(someone.work(), someone.cpf, NOW))
        answers = {contact.phone.alias: (Candidate(someone.name.upper(), someone.cpf),)}
        partition = partition_of(contact.key.encode(), settings.topic_partitions)
        listed = dict.fromkeys(contact.aliases[1:], answers[contact.phone.alias])
        found = ContactFacts(answers=answers, listed=listed, persons={person.cpf: person})
        cache.remember(partition, found, person, now)
        known += 1
        if len(latest) > most - 10:
            break
    async with open_producer(settings) as producer:
        for (partition, key), value in latest.items():
            await producer.send(topics.CHANGELOG.name, value, key, partition=partition)
    return len(latest), known
