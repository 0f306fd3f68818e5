"""The demo's day: who writes, and what must come out. One table says both.

``expected`` names the outcome, the tier of a first answer and what the lead stands for; repeats of a person
are always answered by the table.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from stream.domain.sources.lead import Source
from stream.local.people import Someone, population, typed

PEOPLE = 30
REPEATS_PER_FIRST = 42 / 31  # as measured: 73 webhooks of 31 people
PLACEHOLDER_PHONE = "(11) 99999-9999"


@dataclass(frozen=True, slots=True)
class Webhook:
    """One POST of the day. ``first``: the first of its person. ``tier``: None where nothing is looked up."""

    source: Source
    body: dict[str, Any]
    why: str
    outcome: str
    tier: str | None
    first: bool
    calls: int = 0
    told: bool = True
    duplicate: bool = False


@dataclass(slots=True)
class Day:
    """The webhooks in order, and who is known where before the day begins."""

    webhooks: list[Webhook] = field(default_factory=list)
    partners: list[Someone] = field(default_factory=list)
    in_postgres: list[Someone] = field(default_factory=list)
    cpf_in_postgres: list[Someone] = field(default_factory=list)
    waves: list[int] = field(default_factory=list)  # webhooks of each wave; the next waits for its events


class Writer:
    """Writes webhooks as each source sends them; ``senders`` adds the secret."""

    def __init__(self, seed: int, *, plain: bool = False) -> None:
        """``plain``: phones in one spelling, as digits."""
        self.chance = random.Random(seed)
        self._plain = plain
        self._number = 0
        self._time = datetime(2026, 1, 5, 9, tzinfo=UTC) + timedelta(days=seed)

    def phone(self, national: str) -> str:
        """A phone as somebody types it; "" stays."""
        return national if self._plain or not national else typed(national, self.chance)

    def c2s(self, name: str, phone: str, email: str) -> dict[str, Any]:
        """A lead of C2S, a lead id of its own."""
        self._number += 1
        self._time += timedelta(seconds=self.chance.randint(5, 300))
        customer = {key: value for key, value in (("name", name), ("phone", phone), ("email", email)) if value}
        return {
            "id": f"lead-{self._number}",
            "hook_action": "on_create_lead",
            "attributes": {
                "updated_at": self._time.isoformat(),
                "customer": customer,
                "product": {"description": "Apartamento 2 dormitórios", "prop_ref": f"AP{self._number:04d}"},
                "lead_status": {"alias": "novo", "name": "Novo"},
                "unknown_field": {"kept": True},
            },
        }

    def google(self, columns: dict[str, str], *, is_test: bool = False) -> dict[str, Any]:
        """A lead form of Google."""
        self._number += 1
        return {
            "lead_id": f"google-{self._number}",
            "api_version": "1.0",
            "form_id": 40000000001,
            "campaign_id": 12345678901,
            "is_test": is_test,
            "user_column_data": [
                {"column_id": name, "column_name": name.title(), "string_value": value}
                for name, value in columns.items()
            ],
        }

    def portal(self, one: Someone, origin: str, *, in_two_parts: bool) -> dict[str, Any]:
        """A lead of Grupo OLX. ``in_two_parts``: the phone has its area code in a field of its own."""
        self._number += 1
        self._time += timedelta(seconds=self.chance.randint(5, 300))
        whole = self.phone(one.phone)
        phone = {"ddd": one.phone[:2], "phone": one.phone[2:]} if in_two_parts else {"phoneNumber": whole}
        return {
            "leadOrigin": origin,
            "timestamp": self._time.isoformat(),
            "originLeadId": f"olx-{self._number}",
            "originListingId": f"{87_000_000 + self._number}",
            "clientListingId": f"AP{self._number:04d}",
            "name": one.name,
            "email": one.email,
            **phone,
            "message": "Olá, tenho interesse neste imóvel.",
            "temperature": "Alta",
            "transaction_type": "SELL",
        }


def story(seed: int) -> Day:
    """The day: about 30 people, the measured share of repeats, and every case that matters."""
    people = population(PEOPLE, seed)
    day, write = Day(), Writer(seed)
    plain, special = people[:18], people[18:]
    only_email, only_phone, moved, form, known, cpf_only, husband, wife, nobody, tester, visitor, stranger = special
    wife.phones = husband.phones
    day.partners = [*plain, only_email, only_phone, moved, form, cpf_only, husband, wife, visitor]
    day.in_postgres, day.cpf_in_postgres = [known], [cpf_only]

    first = [_c2s(write, one, "a new person", "diretrix", calls=1) for one in plain]
    first += [
        _c2s(write, only_email, "only an e-mail", "diretrix", calls=1, phone=""),
        _c2s(write, only_phone, "only a phone", "diretrix", calls=1, email=""),
        _c2s(write, moved, "will come back with another phone", "diretrix", calls=1),
        _google(write, form, "a CPF in the form", "form", cpf=form.cpf),
        _c2s(write, known, "already in PostgreSQL", "postgres"),
        _c2s(write, cpf_only, "only the CPF in PostgreSQL", "postgres"),
        _c2s(write, husband, "a couple's phone: he", "diretrix", calls=1, email=""),
        _c2s(write, nobody, "unknown to every tier", "diretrix", outcome="not_found", told=False),
        _test_lead(write, tester),
        _placeholder(write),
        _portal(write, visitor, "ZAP", "a new person of a portal", "diretrix", calls=1, in_two_parts=True),
        _portal(write, stranger, "Grupo OLX", "of a portal, unknown to every tier", "diretrix", outcome="not_found"),
    ]
    repeats = [_c2s(write, write.chance.choice(plain), "comes back", "cache", first=False) for _ in range(34)]
    other_phone = f"{moved.phone[:-4]}8642"
    repeats += [
        # Another phone is another key and so another partition, whose table does not know the e-mail: PostgreSQL does.
        _c2s(write, moved, "another phone, known by e-mail and name", "postgres", first=False, phone=other_phone),
        # His call named her too: her CPF is known, only the Work API is asked.
        _c2s(write, wife, "a couple's phone: she", "postgres", email="", first=False),
        _c2s(write, known, "known to PostgreSQL, again", "cache", first=False),
        _portal(write, visitor, "VivaReal", "comes back by another portal", "cache", first=False),
        _c2s(write, nobody, "unknown, again", "cache", outcome="not_found", told=False, first=False),
    ]
    again = first[0]
    repeats.append(
        Webhook(
            again.source,
            again.body,
            "a duplicate delivery",
            "enriched",
            "cache",
            first=False,
            told=False,
            duplicate=True,
        )
    )
    write.chance.shuffle(repeats)
    day.webhooks = [*first, *repeats]
    day.waves = [len(first), len(repeats)]
    return day


def trace(seed: int, *, plain: bool = False) -> Day:
    """The measured trace: 73 webhooks of 31 new people, phone and e-mail in each, in the order of the day."""
    people = population(31, seed)
    write = Writer(seed, plain=plain)
    order = people + [write.chance.choice(people) for _ in range(42)]
    write.chance.shuffle(order)
    seen: set[str] = set()
    day = Day(partners=people)
    for one in order:
        new = one.cpf not in seen
        seen.add(one.cpf)
        tier = "diretrix" if new else "cache"
        why = "a new person" if new else "comes back"
        day.webhooks.append(_c2s(write, one, why, tier, calls=int(new), first=new))
    day.waves = [len(day.webhooks)]
    return day


def _c2s(  # noqa: PLR0913 - a row of the table
    write: Writer,
    one: Someone,
    why: str,
    tier: str,
    *,
    outcome: str = "enriched",
    calls: int = 0,
    told: bool = True,
    first: bool = True,
    phone: str | None = None,
    email: str | None = None,
) -> Webhook:
    number = write.phone(one.phone if phone is None else phone)
    body = write.c2s(one.name, number, one.email if email is None else email)
    return Webhook(Source.C2S, body, why, outcome, tier, first=first, calls=calls, told=told)


def _google(write: Writer, one: Someone, why: str, tier: str, *, cpf: str) -> Webhook:
    body = write.google({"FULL_NAME": one.name, "PHONE_NUMBER": f"+55{one.phone}", "EMAIL": one.email, "CPF": cpf})
    return Webhook(Source.GOOGLE_ADS, body, why, "enriched", tier, first=True)


def _portal(  # noqa: PLR0913 - a row of the table
    write: Writer,
    one: Someone,
    origin: str,
    why: str,
    tier: str,
    *,
    outcome: str = "enriched",
    calls: int = 0,
    first: bool = True,
    in_two_parts: bool = False,
) -> Webhook:
    body = write.portal(one, origin, in_two_parts=in_two_parts)
    return Webhook(Source.GRUPO_OLX, body, why, outcome, tier, first=first, calls=calls)


def _test_lead(write: Writer, one: Someone) -> Webhook:
    body = write.google({"FULL_NAME": one.name, "PHONE_NUMBER": f"+55{one.phone}"}, is_test=True)
    return Webhook(Source.GOOGLE_ADS, body, "a test lead of Google", "test", None, first=True, told=False)


def _placeholder(write: Writer) -> Webhook:
    body = write.c2s("Fulano", PLACEHOLDER_PHONE, "")
    return Webhook(Source.C2S, body, "a placeholder for a phone", "no_contact", None, first=True, told=False)
