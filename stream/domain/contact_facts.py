"""What is known about one contact: the facts that a look-up gathers and from which the policy decides."""

from __future__ import annotations

import msgspec

from stream.domain.person import Candidate, Person


class KnownPerson(msgspec.Struct, frozen=True):
    """A person as events carry it. ``stale``: past its lifetime, so it answers only if nothing fresher can be had."""

    cpf: str
    name: str
    person: bytes
    facts: str
    complete: bool
    fetched_at: float
    stale: bool = False


def known_person(person: Person, *, stale: bool = False) -> KnownPerson:
    """Convert a person to the form that the policy and the table use."""
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
    """What is known about one contact so far; each step of the look-up chain adds to it.

    ``answers``: by alias, the candidates that a source named, best first; an empty tuple if no source knows the alias.
    ``listed``: by alias, the people beside whom it was seen.  ``persons``: by CPF.  ``dead_ends``: CPFs that came
    without a name and that no provider knows.
    """

    answers: dict[str, tuple[Candidate, ...]] = {}
    listed: dict[str, tuple[Candidate, ...]] = {}
    persons: dict[str, KnownPerson] = {}
    dead_ends: set[str] = set()

    def copy(self) -> ContactFacts:
        """Return the same facts as an independent object."""
        return ContactFacts(self.answers.copy(), self.listed.copy(), self.persons.copy(), self.dead_ends.copy())

    def update(self, newer: ContactFacts) -> None:
        """Add ``newer`` facts. They replace the facts of the same alias or CPF."""
        self.answers.update(newer.answers)
        self.listed.update(newer.listed)
        self.persons.update(newer.persons)
        self.dead_ends.update(newer.dead_ends)
