"""Who is this lead? The policy of the look-up chain: from what is known, what to do next (docs/matching.md).

The same pure function serves the table, PostgreSQL and the partners: each step of the chain adds facts, and
the policy says whether that answers the lead, and if not, what must be asked.

Rule 1: a person goes out without a warning only where the lead's name is exact or compatible with theirs.
Rule 2: the best grade wins, never the first candidate; a tie between people is answered with nobody.
Rule 3: an alias that was only *listed* beside a person (families and former owners are among them) answers only where
the name is exact or compatible, and only while no source has named somebody else for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from stream.domain.contact_facts import ContactFacts, KnownPerson
from stream.domain.events import Match
from stream.domain.freshness import Entry
from stream.domain.identity import Contact, Email, Phone
from stream.domain.matching import Grade, Reason, compare, have_common_surname
from stream.domain.person import Candidate


class Ask(msgspec.Struct, frozen=True):
    """Nobody has been asked for this alias yet."""

    alias: Phone | Email


class Complete(msgspec.Struct, frozen=True):
    """The CPF is known and the person is not. ``match`` is None while the candidate has no name to compare."""

    candidate: Candidate
    match: Match | None


class Found(msgspec.Struct, frozen=True):
    """A person answers the lead."""

    person: KnownPerson
    match: Match | None


class Ambiguous(msgspec.Struct, frozen=True):
    """Several people fit equally well: none of them answers the lead, and no more is paid to find out."""

    candidates: tuple[Candidate, ...]


class NobodyKnows(msgspec.Struct, frozen=True):
    """Every alias was asked and nobody knows it."""


Step = Ask | Complete | Found | Ambiguous | NobodyKnows
Answered = Found | Ambiguous | NobodyKnows

_MATCHES = {
    Grade.EXACT: Match.NAME,
    Grade.COMPATIBLE: Match.NAME,
    Grade.WEAK: Match.FIRST_NAME,
    Grade.NONE: Match.NO_NAME,
    Grade.CONTRADICTS: Match.NAME_DIFFERS,
}
# A short name says enough where the person typed the CPF as well.
SURE_WITH_CPF = frozenset({Reason.FIRST_NAME_ONLY, Reason.INITIAL, Reason.NICKNAME})


class _Judged(NamedTuple):
    """A candidate, how well the lead's name fits, and what the event says of it if they answer."""

    grade: Grade
    candidate: Candidate
    match: Match


class _Verdict(NamedTuple):
    """The best of an alias: people who fit equally well, each once.

    ``asked``: a source named them for this alias. ``others``: CPFs that were listed for it.
    """

    grade: Grade
    best: tuple[_Judged, ...]
    asked: bool
    others: frozenset[str]
    is_shared: bool = False  # the alias is listed for another family as well: no evidence for anybody

    def has(self, cpf: str) -> bool:
        return any(one.candidate.cpf == cpf for one in self.best)

    def speaks_against(self, cpf: str) -> bool:
        return not self.has(cpf) and cpf not in self.others


def next_step(contact: Contact, name: str, known: ContactFacts, *, allow_stale: bool = False) -> Step:
    """Decide what answers the lead called ``name``, or what has to be asked for next.

    ``allow_stale``: a person past its time answers too (when asking has failed).
    """
    chosen = _by_form(contact, name, known) or _by_aliases(contact, name, known)
    if not isinstance(chosen, Complete):
        return chosen
    cpf = contact.cpf.digits if contact.cpf is not None else chosen.candidate.cpf
    if cpf != chosen.candidate.cpf and cpf in known.dead_ends and chosen.match is Match.NAME:
        # The typed CPF is nobody's that we know: whoever the phone names may be a namesake.
        chosen = Complete(chosen.candidate, Match.CONFLICTING)
    person = known.persons.get(chosen.candidate.cpf)
    if person is None or (person.stale and not allow_stale):
        return chosen
    return Found(person, chosen.match)


def fast_match(contact: Contact, name: str, entry: Entry) -> Match | None:
    """How the lead called ``name`` fits the one person whom a source named for its surest alias, where that is sure.

    None where there is more to weigh. The short way to what ``next_step`` says of such an entry: most webhooks
    are about people who are known, and no facts have to be gathered for them (a test holds the two together).
    """
    if contact.cpf is not None or entry.person is None or len(entry.candidates) != 1:
        return None
    candidate = entry.candidates[0]
    if candidate.cpf != entry.cpf or contact.area_code_assumed:
        return None
    if any(compare(name, one.name).grade >= Grade.COMPATIBLE for one in entry.listed):
        return None
    judged = _judge(name, candidate, entry.name)
    return judged.match if judged.match is Match.NAME else None


def is_sure(step: Step, contact: Contact, known: ContactFacts) -> bool:
    """Whether what the table knows answers a lead as PostgreSQL would.

    It has to know all aliases of the lead, and whoever was only listed for one is PostgreSQL's to answer with.
    """
    if not isinstance(step, Found | Ambiguous | NobodyKnows):
        return False
    cpf = contact.cpf.digits if contact.cpf is not None else ""
    if isinstance(step, Found) and step.person.cpf == cpf and step.match is not Match.NAME_DIFFERS:
        return True  # the CPF was typed; where its name differs, a known owner of the phone may fit better
    aliases = [one.alias for one in (contact.phone, contact.email) if one is not None]
    is_whole = all(alias in known.answers or alias in known.listed for alias in aliases)
    if not is_whole or (cpf and cpf not in known.dead_ends):
        return False
    asked = [one.cpf for alias in aliases for one in known.answers.get(alias, ())]
    return not isinstance(step, Found) or step.person.cpf in asked


def _by_form(contact: Contact, name: str, known: ContactFacts) -> Complete | None:
    """A CPF that the person typed names the person, unless nobody knows it.

    It also gives way where that person's name contradicts the lead's and a known owner of the phone or e-mail fits.
    """
    cpf = contact.cpf
    if cpf is None or cpf.digits in known.dead_ends:
        return None
    person = known.persons.get(cpf.digits)
    if person is None:
        return Complete(Candidate("", cpf.digits), None)
    candidate = Candidate(person.name, cpf.digits)
    grade, reason = compare(name, person.name)
    if grade is Grade.CONTRADICTS and _strong(_verdicts(contact, name, known)):
        return None
    return Complete(candidate, Match.NAME if reason in SURE_WITH_CPF else _MATCHES[grade])


def _by_aliases(contact: Contact, name: str, known: ContactFacts) -> Step:
    verdicts = _verdicts(contact, name, known)
    strong = _strong(verdicts)
    if strong:
        return _choose(strong, verdicts)
    for grade in (Grade.WEAK, Grade.NONE):
        of_grade = [verdict for verdict in verdicts if verdict.grade is grade]
        if of_grade:
            return _choose(of_grade, verdicts)
    unasked = next((alias for alias in _askable(contact) if alias.alias not in known.answers), None)
    if unasked is not None:
        return Ask(unasked)
    first = next((verdict.best[0] for verdict in verdicts if verdict.asked), None)
    return Complete(first.candidate, Match.NAME_DIFFERS) if first is not None else NobodyKnows()


def _verdicts(contact: Contact, name: str, known: ContactFacts) -> list[_Verdict]:
    """What each alias says, the surest first; of what is only listed nothing but a name that fits."""
    verdicts = []
    for alias in (contact.phone, contact.email):
        if alias is None:
            continue
        answered, listed = _usable(known.answers, alias, known), _usable(known.listed, alias, known)
        if isinstance(alias, Phone) and contact.area_code_assumed:
            answered, listed = (), (*answered, *listed)  # whoever it belongs to, the lead did not type this number
        if answered:
            verdicts.append(_contested(_weigh(name, answered, known, asked=True), name, listed, known))
        elif listed:
            verdict = _weigh(name, listed, known, asked=False)
            if verdict.grade >= Grade.COMPATIBLE:
                verdicts.append(verdict._replace(is_shared=_is_shared(verdict, listed)))
    return verdicts


def _is_shared(verdict: _Verdict, listed: tuple[Candidate, ...]) -> bool:
    """Whether an alias is listed for another family as well: an agency's e-mail, a number that was passed on."""
    others = [one.name for one in listed if one.name and not verdict.has(one.cpf)]
    return any(not have_common_surname(one.candidate.name, other) for one in verdict.best for other in others)


def _usable(
    people: dict[str, tuple[Candidate, ...]], alias: Phone | Email, known: ContactFacts
) -> tuple[Candidate, ...]:
    """The candidates of an alias without those of whom there is a CPF and nothing else to be had."""
    return tuple(one for one in people.get(alias.alias, ()) if one.name or one.cpf not in known.dead_ends)


def _strong(verdicts: Iterable[_Verdict]) -> list[_Verdict]:
    """Those with a name that fits. What was only listed counts as much as an answer where the name fits as well."""
    strong = [verdict for verdict in verdicts if verdict.grade >= Grade.COMPATIBLE]
    asked = max((verdict.grade for verdict in strong if verdict.asked), default=None)
    if asked is None:
        return [verdict for verdict in strong if not verdict.is_shared]
    rivals = [verdict._replace(grade=asked) for verdict in strong if not verdict.asked and verdict.grade >= asked]
    return [verdict for verdict in strong if verdict.asked] + rivals


def _weigh(name: str, candidates: tuple[Candidate, ...], known: ContactFacts, *, asked: bool) -> _Verdict:
    """The candidates of one alias whom the name fits best."""
    by_cpf: dict[str, _Judged] = {}
    for candidate in candidates:
        person = known.persons.get(candidate.cpf)
        judged = _judge(name, candidate, person.name if person is not None else "")
        if candidate.cpf not in by_cpf or judged.grade > by_cpf[candidate.cpf].grade:
            by_cpf[candidate.cpf] = judged
    best = max(one.grade for one in by_cpf.values())
    return _Verdict(best, tuple(one for one in by_cpf.values() if one.grade is best), asked, frozenset())


def _contested(verdict: _Verdict, name: str, listed: tuple[Candidate, ...], known: ContactFacts) -> _Verdict:
    """The verdict of an asked alias beside the people listed for it.

    A number's owner may have left it to a namesake: whom the name fits as well can't be told from the owner.
    """
    others = tuple(one for one in listed if not verdict.has(one.cpf))
    verdict = verdict._replace(others=frozenset(one.cpf for one in others))
    if not others or verdict.grade < Grade.COMPATIBLE:
        return verdict
    rival = _weigh(name, others, known, asked=False)
    return verdict._replace(best=verdict.best + rival.best) if rival.grade >= verdict.grade else verdict


def _judge(name: str, candidate: Candidate, person_name: str) -> _Judged:
    """Hold a lead's name against a candidate's and, where the person is known, against the registered one.

    Either name makes somebody a candidate for the lead; only whom neither makes less than sure goes unwarned.
    """
    grade = compare(name, candidate.name).grade
    if not person_name or person_name == candidate.name:
        return _Judged(grade, candidate, _MATCHES[grade])
    registered = compare(name, person_name).grade
    if not candidate.name:
        return _Judged(registered, candidate, _MATCHES[registered])
    least = Grade.CONTRADICTS if grade is Grade.CONTRADICTS else registered  # the registered name has all its words
    return _Judged(max(grade, registered), candidate, _MATCHES[least])


def _choose(strongest: list[_Verdict], verdicts: list[_Verdict]) -> Complete | Ambiguous:
    """Of aliases that say as much: the one person whom all of them name, or the best grade; else nobody."""
    grade = max(verdict.grade for verdict in strongest)
    best = [verdict for verdict in strongest if verdict.grade is grade]
    named_by_all = [one for one in best[0].best if all(verdict.has(one.candidate.cpf) for verdict in best)]
    if len(named_by_all) != 1:
        people = {one.candidate.cpf: one.candidate for verdict in best for one in verdict.best}
        return Ambiguous(tuple(people.values()))
    chosen = named_by_all[0]
    # Two answers, two people, and the name has settled it: the consumer is told.
    others = [one for one in verdicts if one.asked and one.grade >= Grade.WEAK] if not best[0].asked else strongest
    others = _before(best[0], verdicts) + others
    is_conflicting = grade >= Grade.COMPATIBLE and any(other.speaks_against(chosen.candidate.cpf) for other in others)
    return Complete(chosen.candidate, Match.CONFLICTING if is_conflicting else chosen.match)


def _before(chosen: _Verdict, verdicts: list[_Verdict]) -> list[_Verdict]:
    """The verdicts of surer aliases than the chosen one's."""
    return list(itertools.takewhile(lambda one: one.best != chosen.best, verdicts))


def _askable(contact: Contact) -> list[Phone | Email]:
    """Diretrix knows no foreign numbers, and a number with an area code that we assumed is a guess: not paid for."""
    asks_phone = contact.phone is not None and contact.phone.is_brazilian
    phone = [contact.phone] if asks_phone and not contact.area_code_assumed else []
    return [alias for alias in (*phone, contact.email) if alias is not None]
