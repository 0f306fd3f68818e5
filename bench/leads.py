"""Seeded input: people, the webhooks that C2S would send about them, and a table that knows them already.

A payload has about 600 bytes and the fields that production sends, with phones and names as people type them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from producers.records import RawWebhook, Record, webhook_record
from stream.domain.contact_facts import ContactFacts, KnownPerson, known_person
from stream.domain.events import Outcome, revision
from stream.domain.identity import Contact, contact_of
from stream.domain.person import Candidate, person_from_work
from stream.domain.sources.c2s import read_lead as lead_from_c2s
from stream.domain.sources.lead import Source
from stream.kafka.clients import partition_of
from stream.local.people import Someone, population, typed
from stream.lookup.table_cache import Lifetimes, TableCache
from stream.settings import load

REPEATS = 0.5753  # share of webhooks about contacts that were seen before: 42 of 73, measured
BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
_PLACES = ("Vila Mariana, São Paulo - SP", "Batel, Curitiba - PR", "Boa Viagem, Recife - PE", "Moema, São Paulo - SP")
_SOURCES = ("ZAP Imóveis", "Viva Real", "Site", "Facebook Leads")
_SELLERS = ("Marcos Teixeira", "Patrícia Nunes", "Rodrigo Prado")


def payload(someone: Someone, number: int, chance: random.Random) -> dict[str, Any]:
    """Webhook ``number`` of ``someone``; each is a delivery of its own."""
    place, rooms = chance.choice(_PLACES), chance.randint(1, 4)
    return {
        "id": f"{chance.getrandbits(64):016x}{number:08x}",
        "type": "lead",
        "hook_action": chance.choice(("on_create_lead", "on_update_lead", "on_close_lead")),
        "attributes": {
            "updated_at": _instant(number, chance),
            "customer": {
                "name": as_typed(someone.name, chance),
                "email": someone.email,
                "phone": typed(someone.phone, chance),
            },
            "product": {
                "description": f"Apartamento {rooms} dormitórios, {place}",
                "prop_ref": f"AP{chance.randint(1, 9999):04d}",
                "price": f"{chance.randint(180, 2400)}000.00",
            },
            "lead_status": {"alias": "em_negociacao", "name": "Em negociação"},
            "lead_source": {"name": chance.choice(_SOURCES)},
            "seller": {"name": chance.choice(_SELLERS), "company": "Imobiliária Exemplo"},
            "messages": [{"created_at": "2026-01-31T11:59:00Z", "message": "Gostaria de agendar uma visita."}],
        },
    }


def _instant(number: int, chance: random.Random) -> str:
    at = BEGIN + timedelta(seconds=number)
    return chance.choice((at.isoformat(), at.strftime("%Y-%m-%d %H:%M:%S +0000"), at.strftime("%Y-%m-%d %H:%M:%S.%f")))


def as_typed(name: str, chance: random.Random) -> str:
    """A name as its owner types it: whole, in small letters or capitals, or without the middle."""
    words = name.split()
    return chance.choice((name, name.upper(), name.lower(), f"{words[0]} {words[-1]}"))


def repeats(people: Sequence[Someone], count: int, seed: int) -> Iterator[bytes]:
    """Payloads of ``count`` webhooks: first everybody once, then people who come back; JSON as it is received."""
    chance = random.Random(seed)
    for number in range(count):
        someone = people[number] if number < len(people) else chance.choice(people)
        yield orjson.dumps(payload(someone, number, chance))


def trace(people: Sequence[Someone], count: int, seed: int) -> Iterator[bytes]:
    """Payloads of ``count`` webhooks with the measured share of repeats, while there are new people."""
    chance = random.Random(seed)
    seen = 0
    for number in range(count):
        is_new = seen == 0 or (seen < len(people) and chance.random() >= REPEATS)
        someone = people[seen] if is_new else people[chance.randrange(seen)]
        seen += is_new
        yield orjson.dumps(payload(someone, number, chance))


def records(payloads: Iterator[bytes], received_at: datetime | None = None) -> list[Record]:
    """The records that the producers would publish for them, received now or at ``received_at``."""
    received_at = received_at or datetime.now(UTC)
    return [
        webhook_record(Source.C2S, RawWebhook(raw, orjson.loads(raw)), received_at, frozenset()) for raw in payloads
    ]


@dataclass(frozen=True, slots=True)
class Known:
    """A known contact: in our table, or in a peer's state."""

    contact: Contact
    person: KnownPerson

    def for_peers(self) -> dict[str, Any]:
        """A peer's state under the contact's key: the fields that an event needs."""
        return {
            "key": self.contact.key,
            "revision": revision(Outcome.ENRICHED, self.person.facts),
            "person": orjson.Fragment(self.person.person),
        }


def known(people: Sequence[Someone]) -> list[Known]:
    """What the partners would have answered for them."""
    now = datetime.now(UTC)
    chance = random.Random(0)
    return [
        Known(
            contact_of(lead_from_c2s(payload(one, number, chance)), frozenset()),
            known_person(person_from_work(one.work(), one.cpf, now)),
        )
        for number, one in enumerate(people)
    ]


def entries(everybody: Sequence[Known], partitions: int) -> list[tuple[int, bytes, bytes]]:
    """The table's changelog (partition, key, value) after ``everybody`` was looked up; made by the table itself."""
    table: dict[bytes, bytes] = {}
    settings = load({})
    lifetimes = Lifetimes(settings.cache_ttl_known.total_seconds(), 3600, 10**9)
    cache = TableCache(table, lambda *_: None, lifetimes, random.Random(0).random)
    now = datetime.now(UTC).timestamp()
    for one in everybody:
        candidates = (Candidate(one.person.name, one.person.cpf),)
        answers = {alias: candidates for alias in one.contact.aliases if not alias.startswith("c:")}
        learned = ContactFacts(answers=answers, persons={one.person.cpf: one.person})
        partition = partition_of(one.contact.key.encode(), partitions)
        cache.remember(partition, learned, one.person, now)
    return [(int(key.split(b"/", 1)[0]), key, value) for key, value in table.items()]


def crowd(count: int, seed: int) -> list[Someone]:
    """``count`` people."""
    return population(count, seed)
