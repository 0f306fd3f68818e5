"""The matching corpus: leads whose person is known, with what partners would say of their phone and e-mail. Seeded.

It imports nothing of the project: neither how leads are read nor how names are compared.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from bench import rates
from bench.families import Families, Household, Person, pick
from bench.typed_names import Typed, type_name


@dataclass(frozen=True, slots=True)
class Entry:
    """A person under a phone or an e-mail. ``named``: the person whose name the entry has, None if it has no name."""

    cpf: str
    named: Person | None

    @property
    def name(self) -> str:
        """The name as sources write it."""
        return "" if self.named is None else self.named.name.upper()


@dataclass(frozen=True, slots=True)
class Alias:
    """A phone or an e-mail.

    ``asked``: what Diretrix answers, in its order; ``stored``: it was asked before and PostgreSQL has the answer.
    ``listed``: beside whom the Work API listed it. ``scenario``: how ``asked`` came about.
    """

    value: str
    scenario: str
    asked: tuple[Entry, ...]
    stored: bool
    listed: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Lead:
    """One lead. ``person`` wrote it; ``people`` are all who occur, by CPF; ``unknown``: CPFs the Work API lacks."""

    number: int
    kind: str
    typed: Typed
    person: Person
    household: str
    phone: Alias | None
    email: Alias | None
    cpf: str = ""
    people: dict[str, Person] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()

    @property
    def aliases(self) -> tuple[Alias, ...]:
        """The aliases that the lead gave."""
        return tuple(one for one in (self.phone, self.email) if one is not None)


def leads(seed: int, count: int) -> Iterator[Lead]:
    """``count`` leads, the same each time. Each has people of its own."""
    chance = random.Random(seed)
    families = Families(chance)
    for number in range(count):
        yield _lead(number, families, chance)


def _lead(number: int, families: Families, chance: random.Random) -> Lead:
    kind = pick(rates.KINDS, chance)
    household, person, typed = _writer(kind, families, chance)
    gives = chance.random()
    cast = _Cast(person, household, families, chance)
    phone = cast.phone(number) if not rates.ONLY_PHONE <= gives < rates.ONLY_PHONE + rates.ONLY_EMAIL else None
    email = cast.email(number) if gives >= rates.ONLY_PHONE else None
    drawn, spouse = chance.random(), household.spouse(person)
    cpf = person.cpf if drawn < rates.OWN_CPF else ""
    # The rate is of all leads; about two in five writers have a spouse.
    if spouse is not None and drawn > 1 - rates.SPOUSE_CPF / _MARRIED:
        cpf = spouse.cpf
    if cpf:
        cast.meet(cpf)
    unknown = frozenset(one for one in cast.people if chance.random() < rates.WORK_UNKNOWN)
    return Lead(number, kind, typed, person, household.kind, phone, email, cpf, cast.people, unknown)


_MARRIED = 0.42  # share of writers with a spouse in the household


def _writer(kind: str, families: Families, chance: random.Random) -> tuple[Household, Person, Typed]:
    """A household and the member who writes. The rates of ``KINDS`` hold for all leads."""
    while True:
        household = families.household()
        person = chance.choice(household.members)
        typed = type_name(person, kind, chance)
        if typed is not None:
            return household, person, typed


class _Cast:
    """Everybody who occurs around one lead."""

    def __init__(self, person: Person, household: Household, families: Families, chance: random.Random) -> None:
        self._person, self._families, self._chance = person, families, chance
        self._relatives = household.beside(person)
        self._known = {one.cpf: one for one in (person, *self._relatives)}
        self.people: dict[str, Person] = {person.cpf: person}
        self._formers: list[Person] = []

    def meet(self, cpf: str) -> None:
        """Add the person whose CPF was typed."""
        self.people[cpf] = self._known[cpf]

    def phone(self, number: int) -> Alias:
        """The lead's phone, the digits of E.164."""
        value = f"+55{(11, 21, 31, 41, 51, 81)[number % 6]}9{60_000_000 + number % 39_000_000:08d}"
        return self._alias(value, rates.PHONES, rates.LISTED_PHONES)

    def email(self, number: int) -> Alias:
        """The lead's e-mail."""
        return self._alias(f"caixa{number}@example.com.br", rates.EMAILS, rates.LISTED_EMAILS)

    def _alias(self, value: str, scenarios: dict[str, float], listed: dict[str, float]) -> Alias:
        chance = self._chance
        scenario = pick(scenarios, chance)
        asked = [self._in_directory(one) for one in self._owners(scenario)]
        beside = [self._entry(one, one) for one in self._listed(pick(listed, chance))]
        return Alias(value, scenario, tuple(asked), chance.random() < rates.STORED, tuple(beside))

    def _owners(self, scenario: str) -> list[Person]:
        chance, person = self._chance, self._person
        owners = {
            "own": lambda: [person],
            "household": lambda: [person, *self._some_relatives(3)],
            "former": lambda: [person, *self._former(chance.choice((1, 1, 2)))],
            "relative_only": lambda: self._some_relatives(2),
            "former_only": lambda: self._former(chance.choice((1, 1, 2))),
            "nobody": list,
        }[scenario]()
        chance.shuffle(owners)
        return owners

    def _listed(self, scenario: str) -> list[Person]:
        beside = {
            "none": list,
            "own": lambda: [self._person],
            "relative": lambda: self._some_relatives(1),
            "own_and_relative": lambda: [self._person, *self._some_relatives(1)],
            "former": lambda: self._former(1),
        }[scenario]()
        self._chance.shuffle(beside)
        return beside

    def _some_relatives(self, most: int) -> list[Person]:
        count = self._chance.randint(1, min(most, len(self._relatives)))
        return self._chance.sample(self._relatives, count)

    def _former(self, count: int) -> list[Person]:
        """The phone's and the e-mail's former owners are the same people."""
        while len(self._formers) < count:
            self._formers.append(self._families.former_owner(self._person))
        return self._formers[:count]

    def _in_directory(self, one: Person) -> Entry:
        drawn = self._chance.random()
        if drawn < rates.NAMELESS:
            return self._entry(one, None)
        if drawn > 1 - rates.SHORTENED and len(one.surnames) > 1 and not self._is_homonym(one):
            return self._entry(one, replace(one, surnames=one.surnames[1:]))
        return self._entry(one, one.in_directory)

    def _is_homonym(self, one: Person) -> bool:
        """Whether another person has the same name; if it were shortened, chance would tell the two apart."""
        return any(other.name == one.name and other is not one for other in (self._person, *self._formers))

    def _entry(self, one: Person, named: Person | None) -> Entry:
        self.people[one.cpf] = one
        return Entry(one.cpf, named)
