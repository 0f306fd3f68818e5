"""Invented people with known names and relatives: households that share surnames, given names and suffixes. Seeded.

The module imports nothing of the code under test. What two people have in common is known because it was generated, not
because their names were compared.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from typing import TypeVar

from bench import rates
from bench.census import GIVEN, PARTICLES, SECOND, SURNAME

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Person:
    """One person. ``given`` and ``surnames`` are as written, each with the particle that stands before it.

    ``surnames`` are the register's; ``other_surnames`` those before or after a marriage that the register does not
    have. ``old_in_directory``: Diretrix has the other ones.
    """

    cpf: str
    sex: str
    given: tuple[str, ...]
    surnames: tuple[str, ...]
    suffix: str = ""
    other_surnames: tuple[str, ...] = ()
    old_in_directory: bool = False

    @property
    def name(self) -> str:
        """The name in the register."""
        return " ".join(filter(None, (*self.given, *self.surnames, self.suffix)))

    @property
    def in_directory(self) -> Person:
        """The name that Diretrix knows."""
        return replace(self, surnames=self.other_surnames) if self.old_in_directory else self


@dataclass(frozen=True, slots=True)
class Household:
    """``members`` may write; ``relatives`` never write, but partners know them."""

    kind: str
    members: tuple[Person, ...]
    relatives: tuple[Person, ...] = ()

    def beside(self, one: Person) -> tuple[Person, ...]:
        """Everybody else in the household."""
        return tuple(other for other in (*self.members, *self.relatives) if other is not one)

    def spouse(self, one: Person) -> Person | None:
        """The person married to ``one``: the first two of a couple or family."""
        if self.kind not in {"couple", "family"} or one not in self.members[:2]:
            return None
        return self.members[1 - self.members.index(one)]


class Families:
    """Creates households one after the other. No two people have the same CPF."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._numbers = itertools.count(1)

    def household(self) -> Household:
        """One household, of a kind drawn by its rate."""
        kind = pick(rates.HOUSEHOLDS, self._chance)
        if kind == "alone":
            one = self.person()
            parent = self._married_in(one.surnames) if self._chance.random() < 0.5 else self.person("M")
            if parent.sex == "M":
                parent = replace(parent, surnames=(*parent.surnames[:-1], one.surnames[-1]))
            return Household(kind, (one,), (parent,))
        if kind == "couple":
            return Household(kind, self._couple())
        if kind == "family":
            return self._family()
        if kind == "namesakes":
            return self._namesakes()
        return Household(kind, tuple(self.person() for _ in range(self._chance.choice((2, 2, 3)))))

    def person(self, sex: str = "") -> Person:
        """A person without a household."""
        sex = sex or self._chance.choice("FM")
        return Person(self._cpf(), sex, self._given(sex), self._surnames())

    def former_owner(self, of: Person) -> Person:
        """The former owner of a number; rarely with the same or nearly the same name."""
        drawn = self._chance.random()
        if drawn < rates.HOMONYM:
            return replace(of, cpf=self._cpf(), other_surnames=(), old_in_directory=False)
        former = self.person()
        if drawn < rates.FORMER_HOMONYM:
            surnames = (*former.surnames[:-1], of.surnames[-1])
            return replace(former, sex=of.sex, given=of.given, surnames=surnames)
        return former

    def _couple(self) -> tuple[Person, Person]:
        husband = self.person("M")
        return husband, self._married_in(husband.surnames)

    def _married_in(self, surnames: tuple[str, ...]) -> Person:
        """A wife. At a rate she has the husband's last surname, which the register may have or not."""
        wife, chance = self.person("F"), self._chance
        if chance.random() >= rates.TAKES_NAME:
            return wife
        own = wife.surnames
        kept = own[:-1] if chance.random() < rates.REPLACES and len(own) > 1 else own
        married = (*kept, surnames[-1])
        before, after = (own, married) if chance.random() < 0.5 else (married, own)
        old = chance.random() < rates.OLD_NAME
        return replace(wife, surnames=after, other_surnames=before, old_in_directory=old)

    def _family(self) -> Household:
        father, mother = self._couple()
        chance = self._chance
        own = mother.other_surnames if chance.random() < 0.5 and mother.other_surnames else mother.surnames
        children: list[Person] = []
        for _ in range(chance.choice((1, 1, 2, 2, 3))):
            child = self.person()
            inherited = self._inherited(own, father.surnames)
            given = child.given
            if chance.random() < rates.SHARED_GIVEN:
                sharing = [one for one in (father, mother, *children) if one.sex == child.sex]
                if sharing:
                    given = self._beginning_as(chance.choice(sharing).given)
            children.append(replace(child, given=given, surnames=inherited))
        return Household("family", (father, mother, *children))

    def _inherited(self, mothers: tuple[str, ...], fathers: tuple[str, ...]) -> tuple[str, ...]:
        """The mother's last surname, then the father's, as Brazilian children mostly have."""
        of_both = (mothers[-1], fathers[-1]) if mothers[-1] != fathers[-1] else (fathers[-1],)
        return (*of_both[:1], fathers[0], *of_both[1:]) if len(fathers) > 1 and self._chance.random() < 0.2 else of_both

    def _beginning_as(self, given: tuple[str, ...]) -> tuple[str, ...]:
        first = given[0]
        seconds = [one for one in SECOND.get(first, (0.0, ()))[1] if (first, one) != given]
        return (first, self._chance.choice(seconds)) if seconds else (first,)

    def _namesakes(self) -> Household:
        """Father and son. A Neto's namesake is the grandfather, a Sobrinho's the uncle; the father is there too."""
        elder, chance = self.person("M"), self._chance
        suffix = pick(rates.SUFFIXES, chance)
        younger = replace(elder, cpf=self._cpf(), suffix=suffix)
        if suffix in {"Neto", "Sobrinho"}:
            father = self.person("M")
            father = replace(father, surnames=(*father.surnames[:-1], elder.surnames[-1]))
            return Household("namesakes", (elder, younger, father))
        if suffix == "Filho" and chance.random() < 0.15:  # three generations of one name
            return Household("namesakes", (elder, younger, replace(elder, cpf=self._cpf(), suffix="Neto")))
        return Household("namesakes", (elder, younger), (self._married_in(elder.surnames),))

    def _given(self, sex: str) -> tuple[str, ...]:
        first = GIVEN[sex](self._chance)
        share, seconds = SECOND.get(first, (0.0, ()))
        return (first, self._chance.choice(seconds)) if self._chance.random() < share else (first,)

    def _surnames(self) -> tuple[str, ...]:
        count = pick(rates.SURNAME_COUNT, self._chance)
        drawn: list[str] = []
        while len(drawn) < count:
            one = SURNAME(self._chance)
            if one not in drawn:
                drawn.append(one)
        return tuple(self._with_particle(one) for one in drawn)

    def _with_particle(self, surname: str) -> str:
        particle, share = PARTICLES.get(surname, ("", 0.0))
        return f"{particle} {surname}" if self._chance.random() < share else surname

    def _cpf(self) -> str:
        digits = [int(digit) for digit in f"{next(self._numbers) * 7_919 % 999_999_937:09d}"]
        for _ in range(2):
            rest = sum(weight * digit for weight, digit in zip(range(len(digits) + 1, 1, -1), digits, strict=True)) % 11
            digits.append(0 if rest < 2 else 11 - rest)
        return "".join(map(str, digits))


def pick(shares: dict[T, float], chance: random.Random) -> T:
    """One of the keys, drawn by its share."""
    return chance.choices(list(shares), list(shares.values()))[0]
