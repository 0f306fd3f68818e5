"""What is known of one contact: the facts that a look-up gathers and that the policy decides on."""

from __future__ import annotations

import msgspec

from stream.domain.person import Candidate, Person


class KnownPerson(msgspec.Struct, frozen=True):
    """A person as events carry it. ``stale``: past its time, good only when nothing fresher is to be had."""

    cpf: str
    name: str
    person: bytes
    facts: str
    complete: bool
    fetched_at: float
    stale: bool = False


def known_person(person: Person, *, stale: bool = False) -> KnownPerson:
    """A person as the policy and the table carry it."""
    return KnownPerson(
        cpf=person.cpf,
        name=person.name,
        person=person.encode(),
        facts=person.facts,
        complete=person.complete,
        fetched_at=person.fetched_at.timestamp(),
        stale=stale,
    )


class ContactFacts(msgspec.Struct):
    """What is known of one contact so far; each step of the look-up chain adds to it.

    ``answers``: what a source answered for an alias, best first; an empty tuple means that nobody knows it.
    ``listed``: people beside whom an alias was seen.  ``persons``: by CPF.  ``dead_ends``: CPFs without a name
    that nobody knows.
    """

    answers: dict[str, tuple[Candidate, ...]] = {}
    listed: dict[str, tuple[Candidate, ...]] = {}
    persons: dict[str, KnownPerson] = {}
    dead_ends: set[str] = set()

    def copy(self) -> ContactFacts:
        """The same facts; what is added to one of the two does not show in the other."""
        return ContactFacts(self.answers.copy(), self.listed.copy(), self.persons.copy(), self.dead_ends.copy())

    def update(self, newer: ContactFacts) -> None:
        """Add ``newer`` facts, which replace those of the same alias or CPF."""
        self.answers.update(newer.answers)
        self.listed.update(newer.listed)
        self.persons.update(newer.persons)
        self.dead_ends.update(newer.dead_ends)
