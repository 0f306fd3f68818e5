"""Who is this lead? The policy of the look-up chain decides the next step from the known facts (docs/matching.md).

The same pure function serves the table, PostgreSQL and the partners. Each step of the chain adds facts. The policy
then says whether they answer the lead and, if not, which alias to ask for or which CPF to complete.

Rule 1: a person is sent without a warning only if the lead's name is exact or compatible with the person's.
Rule 2: the best grade wins, never the first candidate. If several people tie, the answer is nobody.
Rule 3: an alias that was only *listed* beside a person may belong to a relative or a former owner. It answers only if
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
    """Ask a source for this alias: none was asked yet."""

    alias: Phone | Email


class Complete(msgspec.Struct, frozen=True):
    """Fetch the person of a known CPF. ``match`` is None while the candidate has no name to compare."""

    candidate: Candidate
    match: Match | None


class PersonFound(msgspec.Struct, frozen=True):
    """A person answers the lead."""

    person: KnownPerson
    match: Match | None


class Ambiguous(msgspec.Struct, frozen=True):
    """Several people fit equally well: none of them answers the lead, and no further call is paid for."""

    candidates: tuple[Candidate, ...]


class NobodyKnows(msgspec.Struct, frozen=True):
    """Every alias was asked for, and no source knows it."""


Step = Ask | Complete | PersonFound | Ambiguous | NobodyKnows
Answered = PersonFound | Ambiguous | NobodyKnows

_MATCHES = {
    Grade.EXACT: Match.NAME,
    Grade.COMPATIBLE: Match.NAME,
    Grade.WEAK: Match.FIRST_NAME,
    Grade.NONE: Match.NO_NAME,
    Grade.CONTRADICTS: Match.NAME_DIFFERS,
}
# With a typed CPF, a short name is a sure match.
_SURE_WITH_CPF = frozenset({Reason.FIRST_NAME_ONLY, Reason.INITIAL, Reason.NICKNAME})


class _GradedCandidate(NamedTuple):
    """A candidate, how well the lead's name fits, and the ``match`` of the event if this candidate answers."""

    grade: Grade
    candidate: Candidate
    match: Match


class _AliasVerdict(NamedTuple):
    """The best candidates of one alias: people who fit equally well, each once.

    ``asked``: a source named them for this alias. ``others``: CPFs that were only listed for it.
    """

    grade: Grade
    best: tuple[_GradedCandidate, ...]
    asked: bool
    others: frozenset[str]
    is_shared: bool = False  # the alias is listed for another family as well, so it is evidence for nobody

    def has(self, cpf: str) -> bool:
        return any(one.candidate.cpf == cpf for one in self.best)

    def contradicts(self, cpf: str) -> bool:
        return not self.has(cpf) and cpf not in self.others


def next_step(contact: Contact, name: str, known: ContactFacts, *, allow_stale: bool = False) -> Step:
    """Decide what answers the lead called ``name``, or what to ask for next.

    ``allow_stale``: a stale person answers too, because asking has failed.
    """
    chosen = _by_typed_cpf(contact, name, known) or _by_aliases(contact, name, known)
    if not isinstance(chosen, Complete):
        return chosen
    cpf = contact.cpf.digits if contact.cpf is not None else chosen.candidate.cpf
    if cpf != chosen.candidate.cpf and cpf in known.dead_ends and chosen.match is Match.NAME:
        # No source knows the typed CPF, so the person whom the phone names may be a namesake.
        chosen = Complete(chosen.candidate, Match.CONFLICTING)
    person = known.persons.get(chosen.candidate.cpf)
    if person is None or (person.stale and not allow_stale):
        return chosen
    return PersonFound(person, chosen.match)


def fast_match(contact: Contact, name: str, entry: Entry) -> Match | None:
    """Match the lead called ``name`` with the only candidate of its primary entry. None unless the match is sure.

    A faster way to the result of ``next_step``: most webhooks are about known people, and this gathers no facts for
    them. A test holds the two together.
    """
    if contact.cpf is not None or entry.person is None or len(entry.candidates) != 1:
        return None
    candidate = entry.candidates[0]
    if candidate.cpf != entry.cpf or contact.area_code_assumed:
        return None
    if any(compare(name, one.name).grade >= Grade.COMPATIBLE for one in entry.listed):
        return None
    graded = _grade_candidate(name, candidate, entry.name)
    return graded.match if graded.match is Match.NAME else None


def is_conclusive(step: Step, contact: Contact, known: ContactFacts) -> bool:
    """Whether the table's answer is the one that PostgreSQL would give.

    It is if the table knows all aliases of the lead and a source named the person for one of them. A person who was
    only listed is left to PostgreSQL.
    """
    if not isinstance(step, PersonFound | Ambiguous | NobodyKnows):
        return False
    cpf = contact.cpf.digits if contact.cpf is not None else ""
    if isinstance(step, PersonFound) and step.person.cpf == cpf and step.match is not Match.NAME_DIFFERS:
        return True  # the CPF was typed; if the name differs, a known owner of the phone may fit better
    aliases = [one.alias for one in (contact.phone, contact.email) if one is not None]
    is_whole = all(alias in known.answers or alias in known.listed for alias in aliases)
    if not is_whole or (cpf and cpf not in known.dead_ends):
        return False
    asked = [one.cpf for alias in aliases for one in known.answers.get(alias, ())]
    return not isinstance(step, PersonFound) or step.person.cpf in asked


def _by_typed_cpf(contact: Contact, name: str, known: ContactFacts) -> Complete | None:
    """A CPF that the lead typed decides who the person is.

    It does not if no source knows the CPF, or if its person's name contradicts the lead's and a known owner of the
    phone or e-mail fits.
    """
    cpf = contact.cpf
    if cpf is None or cpf.digits in known.dead_ends:
        return None
    person = known.persons.get(cpf.digits)
    if person is None:
        return Complete(Candidate("", cpf.digits), None)
    candidate = Candidate(person.name, cpf.digits)
    grade, reason = compare(name, person.name)
    if grade is Grade.CONTRADICTS and _with_fitting_name(_alias_verdicts(contact, name, known)):
        return None
    return Complete(candidate, Match.NAME if reason in _SURE_WITH_CPF else _MATCHES[grade])


def _by_aliases(contact: Contact, name: str, known: ContactFacts) -> Step:
    verdicts = _alias_verdicts(contact, name, known)
    fitting = _with_fitting_name(verdicts)
    if fitting:
        return _choose(fitting, verdicts)
    for grade in (Grade.WEAK, Grade.NONE):
        of_grade = [verdict for verdict in verdicts if verdict.grade is grade]
        if of_grade:
            return _choose(of_grade, verdicts)
    unasked = next((alias for alias in _askable(contact) if alias.alias not in known.answers), None)
    if unasked is not None:
        return Ask(unasked)
    first = next((verdict.best[0] for verdict in verdicts if verdict.asked), None)
    return Complete(first.candidate, Match.NAME_DIFFERS) if first is not None else NobodyKnows()


def _alias_verdicts(contact: Contact, name: str, known: ContactFacts) -> list[_AliasVerdict]:
    """The verdict of each alias, the surest first. Listed evidence counts only with a name that fits."""
    verdicts = []
    for alias in (contact.phone, contact.email):
        if alias is None:
            continue
        answered, listed = _usable(known.answers, alias, known), _usable(known.listed, alias, known)
        if isinstance(alias, Phone) and contact.area_code_assumed:
            answered, listed = (), (*answered, *listed)  # the lead did not type this number: listed evidence at most
        if answered:
            verdicts.append(
                _with_listed_rivals(_grade_candidates(name, answered, known, asked=True), name, listed, known)
            )
        elif listed:
            verdict = _grade_candidates(name, listed, known, asked=False)
            if verdict.grade >= Grade.COMPATIBLE:
                verdicts.append(verdict._replace(is_shared=_is_shared(verdict, listed)))
    return verdicts


def _is_shared(verdict: _AliasVerdict, listed: tuple[Candidate, ...]) -> bool:
    """Whether an alias is listed for another family too: an agency's e-mail, a number with a new owner."""
    others = [one.name for one in listed if one.name and not verdict.has(one.cpf)]
    return any(not have_common_surname(one.candidate.name, other) for one in verdict.best for other in others)


def _usable(
    people: dict[str, tuple[Candidate, ...]], alias: Phone | Email, known: ContactFacts
) -> tuple[Candidate, ...]:
    """The candidates of an alias, without those whose name is not known and can't be learned."""
    return tuple(one for one in people.get(alias.alias, ()) if one.name or one.cpf not in known.dead_ends)


def _with_fitting_name(verdicts: Iterable[_AliasVerdict]) -> list[_AliasVerdict]:
    """The verdicts whose name fits. A listed person whose name fits as well counts as much as an asked one."""
    fitting = [verdict for verdict in verdicts if verdict.grade >= Grade.COMPATIBLE]
    asked = max((verdict.grade for verdict in fitting if verdict.asked), default=None)
    if asked is None:
        return [verdict for verdict in fitting if not verdict.is_shared]
    rivals = [verdict._replace(grade=asked) for verdict in fitting if not verdict.asked and verdict.grade >= asked]
    return [verdict for verdict in fitting if verdict.asked] + rivals


def _grade_candidates(
    name: str, candidates: tuple[Candidate, ...], known: ContactFacts, *, asked: bool
) -> _AliasVerdict:
    """The verdict of one alias: the candidates whom the name fits best."""
    by_cpf: dict[str, _GradedCandidate] = {}
    for candidate in candidates:
        person = known.persons.get(candidate.cpf)
        graded = _grade_candidate(name, candidate, person.name if person is not None else "")
        if candidate.cpf not in by_cpf or graded.grade > by_cpf[candidate.cpf].grade:
            by_cpf[candidate.cpf] = graded
    best = max(one.grade for one in by_cpf.values())
    return _AliasVerdict(best, tuple(one for one in by_cpf.values() if one.grade is best), asked, frozenset())


def _with_listed_rivals(
    verdict: _AliasVerdict, name: str, listed: tuple[Candidate, ...], known: ContactFacts
) -> _AliasVerdict:
    """The verdict of an asked alias together with the people listed for it.

    The number may have passed to a namesake. So a listed person whom the name fits as well ties with the asked one.
    """
    others = tuple(one for one in listed if not verdict.has(one.cpf))
    verdict = verdict._replace(others=frozenset(one.cpf for one in others))
    if not others or verdict.grade < Grade.COMPATIBLE:
        return verdict
    rival = _grade_candidates(name, others, known, asked=False)
    return verdict._replace(best=verdict.best + rival.best) if rival.grade >= verdict.grade else verdict


def _grade_candidate(name: str, candidate: Candidate, person_name: str) -> _GradedCandidate:
    """Compare a lead's name with the candidate's name and, if the person is known, with the registered name.

    The better grade counts for the choice. The warning follows the registered name, which is complete, unless the
    candidate's name contradicts the lead's.
    """
    grade = compare(name, candidate.name).grade
    if not person_name or person_name == candidate.name:
        return _GradedCandidate(grade, candidate, _MATCHES[grade])
    registered = compare(name, person_name).grade
    if not candidate.name:
        return _GradedCandidate(registered, candidate, _MATCHES[registered])
    least = Grade.CONTRADICTS if grade is Grade.CONTRADICTS else registered
    return _GradedCandidate(max(grade, registered), candidate, _MATCHES[least])


def _choose(strongest: list[_AliasVerdict], verdicts: list[_AliasVerdict]) -> Complete | Ambiguous:
    """Choose the one person whom all verdicts of the best grade name. Ambiguous if there is none, or several."""
    grade = max(verdict.grade for verdict in strongest)
    best = [verdict for verdict in strongest if verdict.grade is grade]
    named_by_all = [one for one in best[0].best if all(verdict.has(one.candidate.cpf) for verdict in best)]
    if len(named_by_all) != 1:
        people = {one.candidate.cpf: one.candidate for verdict in best for one in verdict.best}
        return Ambiguous(tuple(people.values()))
    chosen = named_by_all[0]
    # Two aliases name two people and the lead's name decided: the event says so.
    others = [one for one in verdicts if one.asked and one.grade >= Grade.WEAK] if not best[0].asked else strongest
    others = _surer_than(best[0], verdicts) + others
    is_conflicting = grade >= Grade.COMPATIBLE and any(other.contradicts(chosen.candidate.cpf) for other in others)
    return Complete(chosen.candidate, Match.CONFLICTING if is_conflicting else chosen.match)


def _surer_than(chosen: _AliasVerdict, verdicts: list[_AliasVerdict]) -> list[_AliasVerdict]:
    """The verdicts of the aliases that are surer than the chosen one's."""
    return list(itertools.takewhile(lambda one: one.best != chosen.best, verdicts))


def _askable(contact: Contact) -> list[Phone | Email]:
    """The aliases worth a paid call: no foreign number, which Diretrix can't know, and no assumed area code."""
    asks_phone = contact.phone is not None and contact.phone.is_brazilian
    phone = [contact.phone] if asks_phone and not contact.area_code_assumed else []
    return [alias for alias in (*phone, contact.email) if alias is not None]
