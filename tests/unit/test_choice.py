"""The policy of the ladder: what answers a lead, and what must be asked for next."""

from __future__ import annotations

import pytest

from stream.domain.choice import Ask, Complete, Found, Knowledge, KnownPerson, NobodyKnows, next_step
from stream.domain.events import Match
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.domain.person import Candidate

ANA = Candidate("ANA SOUZA LIMA", "52998224725")
JOSE = Candidate("JOSE CARLOS PEREIRA", "11144477735")
PHONE = Phone("+5511987654321")
OTHER_PHONE = Phone("+5511976543210")
EMAIL = Email("ana@example.com.br")


def person(candidate: Candidate, *, stale: bool = False) -> KnownPerson:
    return KnownPerson(candidate.cpf, candidate.name, b"{}", "facts", complete=True, fetched_at=0.0, stale=stale)


def contact(phone: Phone | None = None, email: Email | None = None, cpf: Cpf | None = None) -> Contact:
    return Contact(phone, email, cpf, "key")


def knowing(*people: Candidate, **parts: object) -> Knowledge:
    return Knowledge(persons={one.cpf: person(one) for one in people}, **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "whose"), [("Ana Souza", ANA), ("José Carlos Pereira", JOSE)])
def test_a_couple_on_one_phone_is_told_apart_by_the_name(name: str, whose: Candidate) -> None:
    """Whoever of two people on one phone writes gets their own data."""
    known = knowing(ANA, JOSE, answers={PHONE.alias: (ANA, JOSE)})
    assert next_step(contact(PHONE), name, known) == Found(person(whose), Match.NAME)


def test_a_lead_without_a_name_gets_the_best_candidate() -> None:
    """No name contradicts nobody: the partner's first candidate answers, and the event says so."""
    known = knowing(ANA, answers={PHONE.alias: (ANA, JOSE)})
    assert next_step(contact(PHONE), "", known) == Found(person(ANA), Match.NO_NAME)


def test_another_phone_with_a_known_e_mail_is_answered_without_asking() -> None:
    """Somebody who comes back with another phone and the same e-mail is answered without a paid call."""
    known = knowing(ANA, answers={EMAIL.alias: (ANA,)})
    assert next_step(contact(OTHER_PHONE, EMAIL), "Ana Lima", known) == Found(person(ANA), Match.NAME)


@pytest.mark.parametrize("name", ["Bruno Rocha", ""])
def test_a_listed_alias_answers_only_when_the_name_fits(name: str) -> None:
    """A phone that was only listed beside a person is no answer for others nor for the nameless: it is asked for."""
    known = knowing(ANA, listed={PHONE.alias: (ANA,)})
    assert next_step(contact(PHONE), "Ana Souza", known) == Found(person(ANA), Match.NAME)
    assert next_step(contact(PHONE), name, known) == Ask(PHONE)


def test_a_form_cpf_comes_before_everything() -> None:
    """A CPF that was typed is completed although the phone is known as somebody else's."""
    known = knowing(JOSE, answers={PHONE.alias: (JOSE,)})
    assert next_step(contact(PHONE, cpf=Cpf(ANA.cpf)), "Ana", known) == Complete(Candidate("", ANA.cpf), None)
    known.persons[ANA.cpf] = person(ANA)
    assert next_step(contact(PHONE, cpf=Cpf(ANA.cpf)), "Ana Souza", known) == Found(person(ANA), Match.NAME)
    assert next_step(contact(cpf=Cpf(ANA.cpf)), "Bruno Rocha", known) == Found(person(ANA), Match.NAME_DIFFERS)


def test_a_form_cpf_that_nobody_knows_gives_way_to_the_aliases() -> None:
    """A dead end is left: the phone is asked for, and without a phone nobody knows."""
    known = Knowledge(dead_ends={ANA.cpf})
    assert next_step(contact(PHONE, cpf=Cpf(ANA.cpf)), "Ana", known) == Ask(PHONE)
    assert next_step(contact(cpf=Cpf(ANA.cpf)), "Ana", known) == NobodyKnows()


def test_two_answers_that_differ_are_conflicting_and_the_name_decides() -> None:
    """The phone is José's, the e-mail is Ana's, Ana writes: she answers, marked as conflicting."""
    known = knowing(ANA, JOSE, answers={PHONE.alias: (JOSE,), EMAIL.alias: (ANA,)})
    assert next_step(contact(PHONE, EMAIL), "Ana Souza", known) == Found(person(ANA), Match.CONFLICTING)


def test_when_no_candidate_fits_the_e_mail_is_asked_and_then_the_phone_s_person_taken() -> None:
    """A name that differs is worth one more question; without a better answer the event says that it differs."""
    known = knowing(JOSE, answers={PHONE.alias: (JOSE,)})
    assert next_step(contact(PHONE, EMAIL), "Ana Souza", known) == Ask(EMAIL)
    known.answers[EMAIL.alias] = ()
    assert next_step(contact(PHONE, EMAIL), "Ana Souza", known) == Found(person(JOSE), Match.NAME_DIFFERS)


def test_the_e_mail_is_not_asked_while_the_phone_answers() -> None:
    """With a phone whose person fits, the e-mail costs nothing."""
    known = Knowledge(answers={PHONE.alias: (ANA,)})
    assert next_step(contact(PHONE, EMAIL), "Ana Souza", known) == Complete(ANA, Match.NAME)


def test_phone_then_e_mail_then_nobody() -> None:
    """Unknown everywhere is said only after every alias was answered."""
    known = Knowledge()
    who = contact(PHONE, EMAIL)
    assert next_step(who, "Ana", known) == Ask(PHONE)
    known.answers[PHONE.alias] = ()
    assert next_step(who, "Ana", known) == Ask(EMAIL)
    known.answers[EMAIL.alias] = ()
    assert next_step(who, "Ana", known) == NobodyKnows()


def test_a_foreign_phone_is_never_paid_for() -> None:
    """Diretrix knows Brazil only: a foreign number is skipped, its e-mail is asked for."""
    foreign = Phone.parse("+351912345678")
    assert foreign is not None
    assert next_step(contact(foreign, EMAIL), "Ana", Knowledge()) == Ask(EMAIL)
    assert next_step(contact(foreign), "Ana", Knowledge()) == NobodyKnows()


def test_a_stale_person_answers_only_where_allowed() -> None:
    """Past its time a person is refreshed; when asking failed it answers, marked as stale."""
    known = Knowledge(answers={PHONE.alias: (ANA,)}, persons={ANA.cpf: person(ANA, stale=True)})
    assert next_step(contact(PHONE), "Ana Souza", known) == Complete(ANA, Match.NAME)
    allowed = next_step(contact(PHONE), "Ana Souza", known, allow_stale=True)
    assert allowed == Found(person(ANA, stale=True), Match.NAME)
