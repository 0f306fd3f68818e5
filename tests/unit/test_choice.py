"""The policy of the look-up chain: what answers a lead, and what must be asked for next."""

from __future__ import annotations

import pytest

from stream.domain.choice import Ambiguous, Ask, Complete, NobodyKnows, PersonFound, is_conclusive, next_step
from stream.domain.contact_facts import ContactFacts, KnownPerson
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


def knowing(*people: Candidate, **parts: object) -> ContactFacts:
    return ContactFacts(persons={one.cpf: person(one) for one in people}, **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "whose"), [("Ana Souza", ANA), ("José Carlos Pereira", JOSE)])
def test_a_couple_on_one_phone_is_told_apart_by_the_name(name: str, whose: Candidate) -> None:
    """If two people share a phone, each gets their own data."""
    known = knowing(ANA, JOSE, answers={PHONE.alias: (ANA, JOSE)})
    assert next_step(contact(PHONE), name, known) == PersonFound(person(whose), Match.NAME)


def test_a_lead_without_a_name_gets_the_only_candidate() -> None:
    """A lead without a name gets the only candidate with a warning; of two candidates neither."""
    known = knowing(ANA, answers={PHONE.alias: (ANA,)})
    assert next_step(contact(PHONE), "", known) == PersonFound(person(ANA), Match.NO_NAME)
    known.answers[PHONE.alias] = (ANA, JOSE)
    assert next_step(contact(PHONE), "", known) == Ambiguous((ANA, JOSE))


def test_another_phone_with_a_known_e_mail_is_answered_without_asking() -> None:
    """A person who comes back with another phone and the same e-mail is answered without a paid call."""
    known = knowing(ANA, answers={EMAIL.alias: (ANA,)})
    assert next_step(contact(OTHER_PHONE, EMAIL), "Ana Lima", known) == PersonFound(person(ANA), Match.NAME)


@pytest.mark.parametrize("name", ["Bruno Rocha", ""])
def test_a_listed_alias_answers_only_when_the_name_fits(name: str) -> None:
    """A phone that was only listed beside a person is asked for, unless the lead's name fits."""
    known = knowing(ANA, listed={PHONE.alias: (ANA,)})
    assert next_step(contact(PHONE), "Ana Souza", known) == PersonFound(person(ANA), Match.NAME)
    assert next_step(contact(PHONE), name, known) == Ask(PHONE)


def test_a_typed_cpf_comes_first() -> None:
    """A typed CPF is completed although the phone is known to be another person's."""
    known = knowing(JOSE, answers={PHONE.alias: (JOSE,)})
    assert next_step(contact(PHONE, cpf=Cpf(ANA.cpf)), "Ana", known) == Complete(Candidate("", ANA.cpf), None)
    known.persons[ANA.cpf] = person(ANA)
    assert next_step(contact(PHONE, cpf=Cpf(ANA.cpf)), "Ana Souza", known) == PersonFound(person(ANA), Match.NAME)
    assert next_step(contact(cpf=Cpf(ANA.cpf)), "Bruno Rocha", known) == PersonFound(person(ANA), Match.NAME_DIFFERS)


def test_a_typed_cpf_that_no_source_knows_is_ignored() -> None:
    """The phone is asked for instead; without a phone the answer is nobody."""
    known = ContactFacts(dead_ends={ANA.cpf})
    assert next_step(contact(PHONE, cpf=Cpf(ANA.cpf)), "Ana", known) == Ask(PHONE)
    assert next_step(contact(cpf=Cpf(ANA.cpf)), "Ana", known) == NobodyKnows()


def test_two_answers_that_differ_are_conflicting_and_the_name_decides() -> None:
    """If phone and e-mail name two people, the one whose name fits answers, as conflicting."""
    known = knowing(ANA, JOSE, answers={PHONE.alias: (JOSE,), EMAIL.alias: (ANA,)})
    assert next_step(contact(PHONE, EMAIL), "Ana Souza", known) == PersonFound(person(ANA), Match.CONFLICTING)


def test_when_no_candidate_fits_the_e_mail_is_asked_and_then_the_phone_s_person_taken() -> None:
    """If the phone's name differs, the e-mail is asked for; then the phone's person answers as name_differs."""
    known = knowing(JOSE, answers={PHONE.alias: (JOSE,)})
    assert next_step(contact(PHONE, EMAIL), "Ana Souza", known) == Ask(EMAIL)
    known.answers[EMAIL.alias] = ()
    assert next_step(contact(PHONE, EMAIL), "Ana Souza", known) == PersonFound(person(JOSE), Match.NAME_DIFFERS)


def test_the_e_mail_is_not_asked_while_the_phone_answers() -> None:
    """If the phone's person fits, the e-mail is not asked for."""
    known = ContactFacts(answers={PHONE.alias: (ANA,)})
    assert next_step(contact(PHONE, EMAIL), "Ana Souza", known) == Complete(ANA, Match.NAME)


def test_phone_then_e_mail_then_nobody() -> None:
    """Nobody is the answer only after every alias was asked for."""
    known = ContactFacts()
    who = contact(PHONE, EMAIL)
    assert next_step(who, "Ana", known) == Ask(PHONE)
    known.answers[PHONE.alias] = ()
    assert next_step(who, "Ana", known) == Ask(EMAIL)
    known.answers[EMAIL.alias] = ()
    assert next_step(who, "Ana", known) == NobodyKnows()


def test_a_foreign_phone_is_never_paid_for() -> None:
    """A foreign phone is skipped and the e-mail asked for, because Diretrix knows Brazil only."""
    foreign = Phone.parse("+351912345678")
    assert foreign is not None
    assert next_step(contact(foreign, EMAIL), "Ana", ContactFacts()) == Ask(EMAIL)
    assert next_step(contact(foreign), "Ana", ContactFacts()) == NobodyKnows()


def test_a_stale_person_answers_only_where_allowed() -> None:
    """A stale person is fetched again; it answers, marked as stale, only if ``allow_stale`` is set."""
    known = ContactFacts(answers={PHONE.alias: (ANA,)}, persons={ANA.cpf: person(ANA, stale=True)})
    assert next_step(contact(PHONE), "Ana Souza", known) == Complete(ANA, Match.NAME)
    allowed = next_step(contact(PHONE), "Ana Souza", known, allow_stale=True)
    assert allowed == PersonFound(person(ANA, stale=True), Match.NAME)


# Families, namesakes and recycled numbers: never the wrong person without a warning.

FATHER = Candidate("CARLOS SOUZA", "52998224725")
SON = Candidate("CARLOS SOUZA FILHO", "11144477735")
NAMELESS = Candidate("", "39053344705")


@pytest.mark.parametrize("order", [(FATHER, SON), (SON, FATHER)])
@pytest.mark.parametrize(("name", "whose"), [("Carlos Souza Filho", SON), ("Carlos Souza", FATHER)])
def test_the_best_grade_wins_whatever_the_order(order: tuple[Candidate, ...], name: str, whose: Candidate) -> None:
    """Father and son on one phone each get their own data, in any order of candidates."""
    known = knowing(FATHER, SON, answers={PHONE.alias: order})
    assert next_step(contact(PHONE), name, known) == PersonFound(person(whose), Match.NAME)


def test_two_people_who_fit_as_well_are_answered_with_nobody() -> None:
    """If two people fit equally well, neither answers and no call is paid."""
    namesake = Candidate(ANA.name, JOSE.cpf)
    known = ContactFacts(answers={PHONE.alias: (ANA, namesake)})
    assert next_step(contact(PHONE, EMAIL), "Ana Souza Lima", known) == Ambiguous((ANA, namesake))
    known.answers[PHONE.alias] = (ANA, Candidate("ANA ROCHA", JOSE.cpf))
    assert isinstance(next_step(contact(PHONE), "Ana", known), Ambiguous)
    assert next_step(contact(PHONE), "Ana Rocha", known) == Complete(Candidate("ANA ROCHA", JOSE.cpf), Match.NAME)


def test_the_other_alias_settles_a_tie_where_it_is_known() -> None:
    """Of two namesakes on the phone, the one whom the known e-mail names too answers without a paid call."""
    known = knowing(ANA, answers={PHONE.alias: (ANA, Candidate(ANA.name, JOSE.cpf)), EMAIL.alias: (ANA,)})
    assert next_step(contact(PHONE, EMAIL), "Ana Souza Lima", known) == PersonFound(person(ANA), Match.NAME)


def test_a_first_name_alone_is_warned_of() -> None:
    """A first name alone gets the only candidate as first_name; a listed phone is asked for."""
    known = knowing(ANA, answers={PHONE.alias: (JOSE, ANA)})
    assert next_step(contact(PHONE), "Ana", known) == PersonFound(person(ANA), Match.FIRST_NAME)
    assert next_step(contact(PHONE), "Ana", knowing(ANA, listed={PHONE.alias: (ANA,)})) == Ask(PHONE)


def test_a_listed_alias_gives_way_to_its_asked_owner() -> None:
    """A phone listed beside the father answers with the son once a source named the son for it."""
    known = knowing(FATHER, SON, answers={PHONE.alias: (SON,)}, listed={PHONE.alias: (FATHER,)})
    assert next_step(contact(PHONE), "Carlos Souza Filho", known) == PersonFound(person(SON), Match.NAME)
    other = knowing(FATHER, answers={PHONE.alias: (JOSE,)}, listed={PHONE.alias: (FATHER,)})
    assert next_step(contact(PHONE), "Carlos Souza", other) == Complete(JOSE, Match.NAME_DIFFERS)


def test_a_namesake_listed_for_an_asked_alias_can_t_be_told_from_its_owner() -> None:
    """If the name fits a listed person as well as the asked one, the answer is ambiguous."""
    former, owner = Candidate("ANA LIMA ROCHA", ANA.cpf), Candidate("ANA DIAS ROCHA", JOSE.cpf)
    known = knowing(former, owner, answers={PHONE.alias: (former,)}, listed={PHONE.alias: (owner,)})
    assert next_step(contact(PHONE), "Ana Rocha", known) == Ambiguous((former, owner))
    assert next_step(contact(PHONE), "Ana Lima Rocha", known) == PersonFound(person(former), Match.NAME)


def test_a_candidate_without_a_name_is_compared_once_the_person_has_one() -> None:
    """A candidate without a name is completed first; then the Work API's name is compared."""
    known = ContactFacts(answers={PHONE.alias: (NAMELESS,)})
    assert next_step(contact(PHONE), "Ana Souza", known) == Complete(NAMELESS, Match.NO_NAME)
    for name, match in (("Ana Souza", Match.NAME), ("Bruno Rocha", Match.NAME_DIFFERS)):
        known.persons[NAMELESS.cpf] = person(Candidate("ANA SOUZA", NAMELESS.cpf))
        assert next_step(contact(PHONE), name, known) == PersonFound(known.persons[NAMELESS.cpf], match)


def test_a_nameless_candidate_whom_the_work_api_does_not_know_is_no_answer() -> None:
    """The next alias is asked for instead."""
    known = ContactFacts(answers={PHONE.alias: (NAMELESS,)}, dead_ends={NAMELESS.cpf})
    assert next_step(contact(PHONE, EMAIL), "Ana Souza", known) == Ask(EMAIL)
    assert next_step(contact(PHONE), "Ana Souza", known) == NobodyKnows()


def test_a_typed_cpf_whose_record_has_no_name_is_warned_of() -> None:
    """Without a name to compare, the match is no_name."""
    nameless = person(NAMELESS)
    known = ContactFacts(persons={NAMELESS.cpf: nameless})
    assert next_step(contact(cpf=Cpf(NAMELESS.cpf)), "Ana", known) == PersonFound(nameless, Match.NO_NAME)


def test_a_registered_name_that_contradicts_is_warned_of() -> None:
    """If the registered name contradicts the lead's, the person answers as name_differs."""
    registered = person(Candidate("JOSEFINA SOUZA LIMA", ANA.cpf))
    known = ContactFacts(answers={PHONE.alias: (ANA,)}, persons={ANA.cpf: registered})
    assert next_step(contact(PHONE), "Ana Souza", known) == PersonFound(registered, Match.NAME_DIFFERS)


def test_an_unknown_typed_cpf_makes_the_phone_s_owner_doubtful() -> None:
    """The phone's owner answers as conflicting if no source knows the typed CPF."""
    known = knowing(ANA, answers={PHONE.alias: (ANA,)}, dead_ends={JOSE.cpf})
    assert next_step(contact(PHONE, cpf=Cpf(JOSE.cpf)), "Ana Souza", known) == PersonFound(
        person(ANA), Match.CONFLICTING
    )
    known.dead_ends = {ANA.cpf}
    assert next_step(contact(PHONE, cpf=Cpf(ANA.cpf)), "Ana Souza", known) == PersonFound(person(ANA), Match.NAME)


def test_a_typed_cpf_of_another_person_gives_way_to_a_known_owner_who_fits() -> None:
    """The phone's known owner answers if the name fits them and contradicts the CPF's person; nothing is asked."""
    known = knowing(JOSE, ANA, answers={PHONE.alias: (ANA,)})
    typed = contact(PHONE, cpf=Cpf(JOSE.cpf))
    assert next_step(typed, "Ana Souza", known) == PersonFound(person(ANA), Match.NAME)
    assert next_step(typed, "Bruno Rocha", known) == PersonFound(person(JOSE), Match.NAME_DIFFERS)
    assert next_step(typed, "José", known) == PersonFound(person(JOSE), Match.NAME), "a CPF and a first name are enough"


def test_an_assumed_area_code_is_a_guess() -> None:
    """A number with an assumed area code is never asked for, and answers only a name that fits."""
    guess = Contact(PHONE, None, None, "key", area_code_assumed=True)
    assert next_step(guess, "Ana Souza", ContactFacts()) == NobodyKnows()
    known = knowing(ANA, answers={PHONE.alias: (ANA,)})
    assert next_step(guess, "Ana Souza", known) == PersonFound(person(ANA), Match.NAME)
    assert next_step(guess, "", known) == next_step(guess, "Bruno Rocha", known) == NobodyKnows()


def test_only_what_is_sure_is_answered_while_an_alias_was_not_looked_up() -> None:
    """If the table does not know an alias, its answer is not conclusive: PostgreSQL may have a sure one."""
    known = knowing(ANA, answers={PHONE.alias: (ANA,)})
    both = contact(PHONE, EMAIL)
    for name in ("Ana Souza", "Ana"):
        assert not is_conclusive(next_step(both, name, known), both, known)
        assert is_conclusive(next_step(contact(PHONE), name, known), contact(PHONE), known)
    known.listed[EMAIL.alias] = ()  # looked up, and nobody there
    assert is_conclusive(next_step(both, "Ana Souza", known), both, known)
    assert is_conclusive(next_step(both, "Ana", known), both, known)


def test_who_was_only_listed_is_not_answered_from_the_table() -> None:
    """A person who was only listed is not conclusive: only PostgreSQL knows whether the alias has an owner."""
    known = knowing(ANA, listed={PHONE.alias: (ANA,)})
    step = next_step(contact(PHONE), "Ana Souza", known)
    assert step == PersonFound(person(ANA), Match.NAME)
    assert not is_conclusive(step, contact(PHONE), known)


def test_an_alias_that_is_listed_for_another_family_is_no_evidence() -> None:
    """An e-mail that is listed for several families answers nobody; the phone is asked for."""
    known = knowing(ANA, listed={EMAIL.alias: (ANA, JOSE)})
    assert next_step(contact(PHONE, EMAIL), "Ana Souza", known) == Ask(PHONE)
    husband = Candidate("BRUNO DIAS LIMA", JOSE.cpf)
    known.listed[EMAIL.alias] = (ANA, husband)
    assert next_step(contact(PHONE, EMAIL), "Ana Souza", known) == PersonFound(person(ANA), Match.NAME)
