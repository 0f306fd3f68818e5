"""The day of the demo: its webhooks, each with the outcome, the tier and the paid calls that it must have."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from stream.domain.sources.lead import Source
from stream.local.people import Someone, population, typed

PEOPLE = 30
ORDINARY_PEOPLE = 18  # the others play one case each
ORDINARY_REPEATS = 34  # about the measured share: 73 webhooks of 31 people
PLACEHOLDER_PHONE = "(11) 99999-9999"


@dataclass(frozen=True, slots=True)
class Webhook:
    """One POST of the day and its expected result.

    ``why``: the case that it stands for. ``tier``: the tier that answers, None if nothing is looked up. ``first``: the
    first of its person. ``calls``: paid Diretrix calls. ``told``: whether the CRM is told something. ``duplicate``: a
    second delivery.
    """

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
    """The webhooks in order, and the people who are known to partners and database before the day begins."""

    webhooks: list[Webhook] = field(default_factory=list)
    partners: list[Someone] = field(default_factory=list)
    in_postgres: list[Someone] = field(default_factory=list)
    cpf_in_postgres: list[Someone] = field(default_factory=list)
    waves: list[int] = field(default_factory=list)  # numbers of webhooks; a wave waits for the events of the previous


class Writer:
    """Writes webhooks as each source sends them. ``senders.request`` adds the secret."""

    def __init__(self, seed: int, *, plain: bool = False) -> None:
        """``plain``: all phones as digits, in one spelling."""
        self.chance = random.Random(seed)
        self._plain = plain
        self._number = 0
        self._time = datetime(2026, 1, 5, 9, tzinfo=UTC) + timedelta(days=seed)

    def phone(self, national: str) -> str:
        """A phone as somebody may type it; "" for no phone."""
        return national if self._plain or not national else typed(national, self.chance)

    def c2s(self, name: str, phone: str, email: str) -> dict[str, Any]:
        """A lead of C2S, with a new lead id."""
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


@dataclass(frozen=True, slots=True)
class Cast:
    """The people of the day. Each of those with a name of its own plays one case."""

    ordinary: list[Someone]
    only_email: Someone
    only_phone: Someone
    new_phone: Someone
    cpf_in_form: Someone
    in_postgres: Someone
    cpf_in_postgres: Someone
    husband: Someone
    wife: Someone
    unknown: Someone
    tester: Someone
    portal_visitor: Someone
    portal_unknown: Someone

    @classmethod
    def of(cls, people: list[Someone]) -> Cast:
        """Give the cases to the last people of a population. Husband and wife share their phones."""
        cast = cls(people[:ORDINARY_PEOPLE], *people[ORDINARY_PEOPLE:])
        cast.wife.phones = cast.husband.phones
        return cast

    def known_to_partners(self) -> list[Someone]:
        """The people whom the simulated partners know."""
        cases = (self.only_email, self.only_phone, self.new_phone, self.cpf_in_form, self.cpf_in_postgres)
        return [*self.ordinary, *cases, self.husband, self.wife, self.portal_visitor]


def story(seed: int) -> Day:
    """The day: about 30 people, the measured share of repeats, and every case that matters."""
    cast, write = Cast.of(population(PEOPLE, seed)), Writer(seed)
    first = _first_webhooks(write, cast)
    repeats = [*_repeats(write, cast), _second_delivery(first[0])]
    write.chance.shuffle(repeats)
    return Day(
        webhooks=[*first, *repeats],
        partners=cast.known_to_partners(),
        in_postgres=[cast.in_postgres],
        cpf_in_postgres=[cast.cpf_in_postgres],
        waves=[len(first), len(repeats)],
    )


def _first_webhooks(write: Writer, cast: Cast) -> list[Webhook]:
    """The first webhook of each person."""
    visitor, stranger = cast.portal_visitor, cast.portal_unknown
    return [
        *(_c2s(write, one, "a new person", "diretrix", calls=1) for one in cast.ordinary),
        _c2s(write, cast.only_email, "only an e-mail", "diretrix", calls=1, phone=""),
        _c2s(write, cast.only_phone, "only a phone", "diretrix", calls=1, email=""),
        _c2s(write, cast.new_phone, "will come back with another phone", "diretrix", calls=1),
        _google(write, cast.cpf_in_form, "a CPF in the form", "form", cpf=cast.cpf_in_form.cpf),
        _c2s(write, cast.in_postgres, "already in PostgreSQL", "postgres"),
        _c2s(write, cast.cpf_in_postgres, "only the CPF in PostgreSQL", "postgres"),
        _c2s(write, cast.husband, "a couple's phone: he", "diretrix", calls=1, email=""),
        _c2s(write, cast.unknown, "unknown to every tier", "diretrix", outcome="not_found", told=False),
        _test_lead(write, cast.tester),
        _placeholder(write),
        _portal(write, visitor, "ZAP", "a new person of a portal", "diretrix", calls=1, in_two_parts=True),
        _portal(write, stranger, "Grupo OLX", "of a portal, unknown to every tier", "diretrix", outcome="not_found"),
    ]


def _repeats(write: Writer, cast: Cast) -> list[Webhook]:
    """Later webhooks of the same people."""
    ordinary = [
        _c2s(write, write.chance.choice(cast.ordinary), "comes back", "cache", first=False)
        for _ in range(ORDINARY_REPEATS)
    ]
    other_phone = f"{cast.new_phone.phone[:-4]}8642"
    return [
        *ordinary,
        # Another phone is another key and so another partition, whose table does not know the e-mail: PostgreSQL does.
        _c2s(
            write, cast.new_phone, "another phone, known by e-mail and name", "postgres", first=False, phone=other_phone
        ),
        # His call named her too: her CPF is known, only the Work API is asked.
        _c2s(write, cast.wife, "a couple's phone: she", "postgres", email="", first=False),
        _c2s(write, cast.in_postgres, "known to PostgreSQL, again", "cache", first=False),
        _portal(write, cast.portal_visitor, "VivaReal", "comes back by another portal", "cache", first=False),
        _c2s(write, cast.unknown, "unknown, again", "cache", outcome="not_found", told=False, first=False),
    ]


def _second_delivery(webhook: Webhook) -> Webhook:
    """The same delivery again: the table answers it, and the CRM is told nothing."""
    return replace(webhook, why="a duplicate delivery", tier="cache", first=False, calls=0, told=False, duplicate=True)


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
