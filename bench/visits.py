"""Traces of webhooks: who writes when. Seeded, with simulated times and invented people.

The share of repeats, 42 of 73, was measured. How long people stay away, how often they come with another phone or
e-mail, and how many no partner knows are assumptions; this module names them.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bench.residents import Resident, Residents
from stream.domain.identity import Contact, Email, Phone
from stream.local.people import Someone, population

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
REPEATS = 42 / 73  # measured
# Assumptions.
UNKNOWN = 0.08  # people whom no partner knows
ONLY_PHONE, ONLY_EMAIL = 0.12, 0.08  # people who give only one of both
OTHER_PHONE, OTHER_EMAIL = 0.08, 0.06  # repeats that bring another one
LISTED = 0.6  # of the other ones, those that the Work API lists beside the person


@dataclass(frozen=True, slots=True)
class Visit:
    """One webhook: who, when, and what was typed ("" if not given)."""

    at: datetime
    someone: Someone
    phone: str
    email: str
    name: str

    @property
    def contact(self) -> Contact:
        """The contact as the worker would read it."""
        phone, email = Phone.parse(self.phone), Email.parse(self.email)
        key = phone.e164 if phone is not None else email.address if email is not None else ""
        return Contact(phone, email, None, key)


def measured(seed: int) -> list[Visit]:
    """The measured trace: 73 webhooks of 31 new people within a day, with phone and e-mail in each."""
    return [Visit(at, one, one.phone, one.email, one.name) for at, one, _ in _day(seed)]


def moved(seed: int) -> list[Visit]:
    """The same people and order, but two repeats in three bring another phone, another e-mail, or both.

    Half of the other ones are listed by the Work API; who brings both anew and unlisted is known by nobody.
    """
    chance = random.Random(seed)
    others = _Others(chance, listed=0.5)
    visits = []
    for at, one, repeats in _day(seed):
        brings = chance.choice(["", "", "phone", "phone", "email", "phone email"]) if repeats else ""
        phone = others.phone(one) if "phone" in brings else one.phone
        email = others.email(one) if "email" in brings else one.email
        visits.append(Visit(at, one, phone, email, one.name))
    return visits


def _day(seed: int) -> Iterator[tuple[datetime, Someone, bool]]:
    chance = random.Random(seed)
    people = population(31, seed)
    order = people + [chance.choice(people) for _ in range(42)]
    chance.shuffle(order)
    seen: set[str] = set()
    at = BEGIN
    for one in order:
        at += timedelta(seconds=chance.randint(60, 1800))
        yield at, one, one.cpf in seen
        seen.add(one.cpf)


def year(seed: int, webhooks: int, length: timedelta, longest_gap: timedelta) -> list[Visit]:
    """``webhooks`` spread over ``length``; a repeat comes one minute to ``longest_gap`` after a visit of its person.

    People, their relatives and how they type their names are the matching corpus's (``bench.residents``).
    Gaps are spread evenly over the orders of magnitude: as many between 1 and 10 minutes as between 10 and 100.
    """
    chance = random.Random(seed)
    people = Residents(int(webhooks * (1 - REPEATS) * 1.3) + 300, seed, chance)
    others = _Others(chance, LISTED, people.ask)
    times = sorted(chance.random() * length.total_seconds() for _ in range(webhooks))
    given: dict[str, tuple[str, str]] = {}
    came: list[Resident] = []
    visits = []
    for second in times:
        longest = min(longest_gap.total_seconds(), second)
        gap = 60 * (max(longest, 60) / 60) ** chance.random()
        back = bisect_right(times, second - gap, 0, len(came)) - 1
        is_repeat = back >= 0 and chance.random() < REPEATS
        if is_repeat:
            one = came[back]
            phone, email = _again(one, given[one.cpf], chance, others)
        else:
            one = next(people)
            one.known = chance.random() >= UNKNOWN
            phone, email = given[one.cpf] = _first(one, chance)
        came.append(one)
        name = people.type(one, again=is_repeat)
        visits.append(Visit(BEGIN + timedelta(seconds=second), one, phone, email, name))
    return visits


def _first(one: Someone, chance: random.Random) -> tuple[str, str]:
    gives = chance.random()
    if gives < ONLY_PHONE:
        return one.phone, ""
    return ("", one.email) if gives < ONLY_PHONE + ONLY_EMAIL else (one.phone, one.email)


def _again(one: Someone, gave: tuple[str, str], chance: random.Random, others: _Others) -> tuple[str, str]:
    phone, email = gave
    if phone and chance.random() < OTHER_PHONE:
        phone = others.phone(one)
    if email and chance.random() < OTHER_EMAIL:
        email = others.email(one)
    return phone, email


class _Others:
    """The other phone and e-mail of each person: always the same. Diretrix knows them, the Work API lists some.

    ``ask``: draws what Diretrix says of one, where it names others too.
    """

    def __init__(
        self, chance: random.Random, listed: float, ask: Callable[[Resident, str], None] | None = None
    ) -> None:
        self._chance = chance
        self._listed = listed
        self._ask = ask
        self._phones: dict[str, str] = {}
        self._emails: dict[str, str] = {}

    def phone(self, one: Someone) -> str:
        """Another number, in another range than the first numbers."""
        if one.cpf not in self._phones:
            self._phones[one.cpf] = f"{one.phone[:2]}95{one.phone[4:7]}{one.phone[-4:]}"
            if self._chance.random() < self._listed:
                one.listed_phones.append(self._phones[one.cpf])
            self._drawn(one, self._phones[one.cpf])
        return self._phones[one.cpf]

    def email(self, one: Someone) -> str:
        """Another address."""
        if one.cpf not in self._emails:
            self._emails[one.cpf] = f"x.{one.email}"
            if self._chance.random() < self._listed:
                one.emails.append(self._emails[one.cpf])
            self._drawn(one, self._emails[one.cpf])
        return self._emails[one.cpf]

    def _drawn(self, one: Someone, alias: str) -> None:
        if self._ask is not None and isinstance(one, Resident):
            self._ask(one, alias)
