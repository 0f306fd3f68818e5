"""A table full of known people, written by the project's own cache: what a worker has after a busy day.

Run as a process, it prints the memory that ``--entries`` entries take, by look-ups or as recovery brings them back.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from datetime import UTC, datetime

import click
import psutil

from bench.visits import Visit
from stream.domain.contact_facts import ContactFacts, known_person
from stream.domain.person import Candidate, person_from_work
from stream.kafka.clients import partition_of
from stream.local.people import Someone, population
from stream.lookup.table_cache import Lifetimes, TableCache
from stream.settings import load

Changelog = dict[tuple[int, bytes], bytes]  # partition and key


def with_family(people: list[Someone], seed: int) -> list[Someone]:
    """The same people, each with three more phones and another e-mail listed by the Work API."""
    chance = random.Random(seed)
    for one in people:
        one.listed_phones = [f"{one.phone[:2]}9{chance.randint(60_000_000, 99_999_999)}" for _ in range(3)]
        one.emails.append(f"x.{one.email}")
    return people


def work_answer(one: Someone) -> dict[str, object]:
    """The Work API's answer for a person with the most addresses that an event carries."""
    raw = one.work()
    raw["enderecos"] = [{**raw["enderecos"][0], "logradouroNumero": str(number)} for number in (100, 2000, 31)]
    return raw


def fill(table: dict[bytes, bytes], people: list[Someone], entries: int) -> Iterator[tuple[int, bytes, bytes]]:
    """Add people until the table has ``entries`` entries; yields its changelog, one record for each entry."""
    settings = load({})
    written: Changelog = {}

    def publish(partition: int, key: bytes, value: bytes | None) -> None:
        if value is not None:
            written[partition, key] = value

    lifetimes = Lifetimes(
        settings.cache_ttl_known.total_seconds(), settings.cache_ttl_unknown.total_seconds(), settings.cache_capacity
    )
    cache = TableCache(table, publish, lifetimes, random.Random(1).random)
    now = datetime.now(UTC)
    for one in people:
        contact = Visit(now, one, one.phone, one.email, one.name).contact
        partition = partition_of(contact.key.encode(), settings.topic_partitions)
        person = known_person(person_from_work(work_answer(one), one.cpf, now))
        answers = {contact.aliases[0]: (Candidate(one.name, one.cpf),)}
        listed = dict.fromkeys(contact.aliases[1:], (Candidate(one.name, one.cpf),))
        known = ContactFacts(answers=answers, listed=listed, persons={one.cpf: person})
        cache.remember(partition, known, person, now.timestamp())
        yield from ((partition, key, value) for (partition, key), value in written.items())
        written.clear()
        if len(cache) >= entries:
            return
    raise ValueError("too few people")


@click.command()
@click.option("--entries", type=int, default=50_000)
@click.option("--seed", type=int, default=1)
def main(entries: int, seed: int) -> None:
    """Print the bytes of memory that the entries take, and the bytes of their values."""
    people = with_family(population(entries // 4, seed), seed)
    table: dict[bytes, bytes] = {}
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    for _ in fill(table, people, entries):
        pass
    gc.collect()
    print(process.memory_info().rss - before, sum(map(len, table.values())), len(table))


if __name__ == "__main__":
    main()
