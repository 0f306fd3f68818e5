"""The people of a year of webhooks, named and related as in the matching corpus, with Diretrix's answers about them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench import rates
from bench.families import Families, Household, Person, pick
from bench.typed_names import type_name
from stream.domain.person import Candidate
from stream.local.people import Someone, population

# Assumptions beside those of ``bench.rates``.
WRITES_TOO = 0.25  # of households: a second member writes, some time later
SAME_PHONE = 0.3  # of those: with the first one's phone
RELATIVE_LISTED = 0.5  # of those with a phone of their own: the Work API lists it beside the first one
KEEPS_NAME = 0.7  # of repeats: the name is typed as before (an update of the same lead)


@dataclass(slots=True)
class Resident(Someone):
    """Somebody with a household. ``answers``: what Diretrix says of each phone and e-mail, best first."""

    person: Person | None = None
    household: Household | None = None
    answers: dict[str, list[Candidate]] = field(default_factory=dict)
    typed: str = ""  # as it was typed last


class Residents:
    """Creates them one after the other; relatives of earlier ones are among them."""

    def __init__(self, most: int, seed: int, chance: random.Random) -> None:
        self._chance = chance
        self._families = Families(chance)
        self._unnamed = iter(population(most, seed))
        self._later: list[Resident] = []

    def __iter__(self) -> Iterator[Resident]:
        return self

    def __next__(self) -> Resident:
        """The next new resident."""
        if self._later and self._chance.random() < WRITES_TOO:
            return self._later.pop(self._chance.randrange(len(self._later)))
        household = self._families.household()
        first, *others = self._chance.sample(household.members, len(household.members))
        one = self._resident(first, household)
        if others and self._chance.random() < WRITES_TOO:
            self._relative(one, self._resident(others[0], household))
        return one

    def _relative(self, one: Resident, other: Resident) -> None:
        drawn = self._chance.random()
        if drawn < SAME_PHONE:
            other.phones[0] = one.phone
            both = {candidate.cpf: candidate for candidate in (*one.answers[one.phone], _candidate(other))}
            one.answers[one.phone] = other.answers[one.phone] = list(both.values())
        elif drawn < SAME_PHONE + (1 - SAME_PHONE) * RELATIVE_LISTED:
            one.listed_phones.append(other.phone)
        self._later.append(other)

    def _resident(self, person: Person, household: Household) -> Resident:
        like = next(self._unnamed)
        one = Resident(
            name=person.name,
            cpf=person.cpf,
            sex=person.sex,
            phones=like.phones,
            emails=like.emails,
            birth_date=like.birth_date,
            mother=like.mother,
            income=like.income,
            job=like.job,
            city=like.city,
            person=person,
            household=household,
        )
        self.ask(one, one.phone)
        self.ask(one, one.email)
        return one

    def ask(self, one: Resident, alias: str) -> None:
        """Draw Diretrix's answer for one of their phones or e-mails. Unknown ones have a rate of their own."""
        assert one.person is not None
        assert one.household is not None
        shares = rates.EMAILS if "@" in alias else rates.PHONES
        scenario = pick({name: share for name, share in shares.items() if name != "nobody"}, self._chance)
        relatives = one.household.beside(one.person)
        people = {
            "own": lambda: [one.person],
            "household": lambda: [one.person, self._chance.choice(relatives)],
            "former": lambda: [one.person, self._families.former_owner(one.person)],
            "relative_only": lambda: [self._chance.choice(relatives)],
            "former_only": lambda: [self._families.former_owner(one.person)],
        }[scenario]()
        self._chance.shuffle(people)
        one.answers[alias] = [Candidate(person.in_directory.name.upper(), person.cpf) for person in people]

    def type(self, one: Resident, *, again: bool) -> str:
        """The name as typed this time."""
        assert one.person is not None
        if again and self._chance.random() < KEEPS_NAME:
            return one.typed
        typed = None
        while typed is None:
            typed = type_name(one.person, pick(rates.KINDS, self._chance), self._chance)
        one.typed = typed.text
        return one.typed


def _candidate(one: Resident) -> Candidate:
    return Candidate(one.name.upper(), one.cpf)
