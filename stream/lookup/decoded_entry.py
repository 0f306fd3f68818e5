"""A table entry that was decoded lately, with the answers that it has given."""

from __future__ import annotations

import msgspec

from stream.domain.choice import fast_match
from stream.domain.events import Answer, Match, Outcome, Tier
from stream.domain.freshness import Entry
from stream.domain.identity import Contact

MAX_NAMES = 16  # lead names whose answers an entry remembers


class DecodedEntry(msgspec.Struct, eq=False):
    """An entry of the table, and what it answered to each lead name."""

    expires_at: float  # the entry's own: copied, because every hit reads it
    entry: Entry
    answers: dict[str, Answer | None] = {}
    last_answer: Answer | None = None  # shared by all names with the same match

    def answer(self, contact: Contact, name: str) -> Answer | None:
        """Return what this entry answers as a contact's primary entry; None if the table must look at more entries.

        The answer depends on the name only: either all contacts with this primary alias have a CPF, or none has.
        """
        if contact.area_code_assumed:
            return None
        answers = self.answers
        if name in answers:
            return answers[name]
        match = fast_match(contact, name, self.entry)
        if len(answers) >= MAX_NAMES:
            answers.clear()
        answers[name] = None if match is None else self._enriched_answer(match)
        return answers[name]

    def _enriched_answer(self, match: Match) -> Answer:
        if self.last_answer is None or self.last_answer.match is not match:
            self.last_answer = Answer(Outcome.ENRICHED, Tier.CACHE, match, self.entry.person, self.entry.facts)
        return self.last_answer
