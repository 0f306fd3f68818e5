"""What must hold of the person that the look-up chain chooses. Run on fakes and on real parts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from stream.domain.choice import Ambiguous, NobodyKnows, PersonFound
from stream.domain.events import Match
from stream.domain.identity import Contact, Cpf, Email
from stream.domain.person import Candidate, person_from_work
from tests.support.fakes import NOW
from tests.support.lookup_rig import OTHER, SOMEONE, Rig, contact, look_up, request, resolve, typed


async def another_persons_record_is_refused(rig: Rig) -> None:
    """The Work API's answer about another CPF is neither stored nor used: the candidate answers for a day."""
    rig.know(SOMEONE)
    rig.mix_up(SOMEONE, OTHER)
    for calls in (1, 1):
        found = await look_up(rig, request(contact(SOMEONE)))
        assert isinstance(found, PersonFound)
        assert (found.person.cpf, found.person.complete, found.match) == (SOMEONE.cpf, False, Match.NAME)
        assert rig.calls("work") == calls
    stored = await rig.people.find_by_cpf(Cpf(SOMEONE.cpf))
    assert stored is not None
    assert stored.raw is None
    assert await rig.parties(OTHER.cpf) == 0
    rig.mix_up(SOMEONE, SOMEONE)
    rig.clock.at += timedelta(days=1, seconds=1)
    found = await look_up(rig, request(contact(SOMEONE)))
    assert isinstance(found, PersonFound)
    assert found.person.complete
    assert (rig.calls("diretrix"), rig.calls("work")) == (1, 2)


async def a_stored_record_of_another_is_refused_too(rig: Rig) -> None:
    """A row that was stored under the wrong CPF is ignored: the Work API is asked."""
    rig.know(SOMEONE)
    wrong = person_from_work(OTHER.work(), SOMEONE.cpf, NOW)
    await rig.store.save_person(typed(SOMEONE), wrong, OTHER.work(), "lead-0", NOW)
    found = await look_up(rig, request(contact(SOMEONE)))
    assert isinstance(found, PersonFound)
    assert (found.person.cpf, found.person.name.upper()) == (SOMEONE.cpf, SOMEONE.name.upper())
    assert rig.calls("work") == 1


async def a_cpf_that_work_does_not_know_is_not_asked_for_a_week(rig: Rig) -> None:
    """PostgreSQL remembers for all workers that the Work API does not know a CPF."""
    rig.know(SOMEONE)
    rig.mix_up(SOMEONE, None)
    for day in range(9):
        found = await look_up(rig, request(contact(SOMEONE)))
        assert isinstance(found, PersonFound)
        assert not found.person.complete
        assert rig.calls("work") == 1 + (day >= 7)
        rig.clock.at += timedelta(days=1)
    assert rig.calls("diretrix") == 1


async def an_expired_owner_is_asked_for_again(rig: Rig) -> None:
    """Numbers are recycled: an expired owner's row is no answer, and Diretrix is asked."""
    rig.know(SOMEONE)
    phone = typed(SOMEONE)[0]
    await rig.store.save_answer(phone, (Candidate(OTHER.name.upper(), OTHER.cpf),), NOW - timedelta(days=181))
    asked = await resolve(rig.worker(), request(contact(SOMEONE, by="phone")))
    found = asked.answer
    assert isinstance(found, PersonFound)
    assert (found.person.cpf, found.match) == (SOMEONE.cpf, Match.NAME)
    assert [one.cpf for one in asked.facts.answers[phone.alias]] == [SOMEONE.cpf]
    assert rig.calls("diretrix") == 1


async def a_phone_listed_beside_the_father_answers_with_its_owner(rig: Rig) -> None:
    """The son's phone is in the father's record, and still the son's lead is answered with its owner."""
    father = replace(SOMEONE, name="Carlos Souza", listed_phones=[OTHER.phone])
    son = replace(OTHER, name="Carlos Souza Filho")
    rig.know(father)
    assert isinstance(await look_up(rig, request(contact(father), father.name)), PersonFound)
    rig.know(son)
    for _ in range(2):
        found = await look_up(rig, request(contact(son, by="phone"), son.name))
        assert isinstance(found, PersonFound)
        assert (found.person.cpf, found.match) == (son.cpf, Match.NAME)
    assert rig.calls("diretrix") == 2


async def an_alias_that_the_name_does_not_prove_is_not_stored(rig: Rig) -> None:
    """A lead whose name differs does not add its contact to the person, because other services read the table."""
    rig.know(SOMEONE)
    email = typed(OTHER)[1]
    stranger = Contact(typed(SOMEONE)[0], Email.parse(OTHER.email), None, "k")
    found = await look_up(rig, request(stranger, "Zulmira Xavier"))
    assert isinstance(found, PersonFound)
    assert (found.person.cpf, found.match) == (SOMEONE.cpf, Match.NAME_DIFFERS)
    assert not (await rig.people.find(Contact(None, Email.parse(OTHER.email), None, email.alias))).known
    again = request(Contact(typed(SOMEONE)[0], Email.parse(OTHER.email), None, "k"))
    assert isinstance(await look_up(rig, again), PersonFound)


async def a_cpf_without_a_name_that_work_does_not_know_ends_the_look_up(rig: Rig) -> None:
    """It costs one call of each provider and is answered with nobody."""
    rig.know(replace(SOMEONE, name=""))
    rig.mix_up(SOMEONE, None)
    for _ in range(2):
        assert isinstance(await look_up(rig, request(contact(SOMEONE, by="phone"))), NobodyKnows)
    assert (rig.calls("diretrix"), rig.calls("work")) == (1, 1)


async def two_people_on_one_phone_and_no_name_are_nobody(rig: Rig) -> None:
    """A tie costs one Diretrix call and attaches nobody. A name decides it from what is stored."""
    mate = replace(OTHER, phones=[SOMEONE.phone])
    rig.know(SOMEONE)
    rig.know(mate)
    step = await look_up(rig, request(contact(SOMEONE, by="phone"), ""))
    assert isinstance(step, Ambiguous)
    assert {one.cpf for one in step.candidates} == {SOMEONE.cpf, mate.cpf}
    assert (rig.calls("diretrix"), rig.calls("work")) == (1, 0)
    for someone in (SOMEONE, mate):
        found = await look_up(rig, request(contact(SOMEONE, by="phone"), someone.name))
        assert isinstance(found, PersonFound)
        assert (found.person.cpf, found.match) == (someone.cpf, Match.NAME)
    assert (rig.calls("diretrix"), rig.calls("work")) == (1, 2)


IDENTITY_SCENARIOS: list[Callable[[Rig], Awaitable[None]]] = [
    another_persons_record_is_refused,
    a_stored_record_of_another_is_refused_too,
    a_cpf_that_work_does_not_know_is_not_asked_for_a_week,
    an_expired_owner_is_asked_for_again,
    a_phone_listed_beside_the_father_answers_with_its_owner,
    an_alias_that_the_name_does_not_prove_is_not_stored,
    a_cpf_without_a_name_that_work_does_not_know_ends_the_look_up,
    two_people_on_one_phone_and_no_name_are_nobody,
]
