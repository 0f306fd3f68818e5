"""What must hold of the calls that the look-up chain makes. Run on fakes and on real parts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from stream.domain.choice import NobodyKnows, PersonFound, next_step
from stream.domain.errors import TransientError
from stream.domain.events import Match, Tier
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.domain.person import Candidate, person_from_work
from stream.domain.provider import Provider
from tests.support.fakes import NOW
from tests.support.lookup_rig import OTHER, SOMEONE, Rig, contact, look_up, request, resolve, typed


async def one_paid_call_per_alias(rig: Rig) -> None:
    """A known phone is paid for once and its e-mail never. Other workers read the answer from PostgreSQL."""
    rig.know(SOMEONE)
    first = await resolve(rig.worker(), request(contact(SOMEONE)))
    found = first.answer
    assert isinstance(found, PersonFound)
    assert (found.person.cpf, found.match, first.tier) == (SOMEONE.cpf, Match.NAME, Tier.DIRETRIX)
    assert (first.calls[Provider.DIRETRIX], first.calls[Provider.WORK]) == (1, 1)
    second = await resolve(rig.worker(), request(contact(SOMEONE)))
    assert isinstance(second.answer, PersonFound)
    assert (second.tier, second.calls[Provider.DIRETRIX], second.calls[Provider.WORK]) == (Tier.POSTGRES, 0, 0)
    assert (rig.calls("diretrix"), rig.calls("work")) == (1, 1)
    assert await rig.statuses("diretrix") == ["paid"]


async def the_email_is_asked_when_nobody_knows_the_phone(rig: Rig) -> None:
    """The e-mail is asked after an unknown phone, and the unknown phone is free of charge."""
    rig.know(SOMEONE)
    stranger = Phone.parse(OTHER.phone)
    asked = await resolve(rig.worker(), request(Contact(stranger, Email.parse(SOMEONE.email), None, "k")))
    found = asked.answer
    assert isinstance(found, PersonFound)
    assert found.person.cpf == SOMEONE.cpf
    assert (rig.calls("diretrix"), asked.calls[Provider.DIRETRIX]) == (2, 1)
    assert await rig.statuses("diretrix") == ["free", "paid"]


async def after_a_work_api_failure_the_retry_does_not_pay_diretrix(rig: Rig) -> None:
    """Diretrix's answer is stored before the Work API is asked, so a retry does not pay Diretrix again."""
    rig.know(SOMEONE)
    rig.fail_once("work")
    with pytest.raises(TransientError):
        await look_up(rig, request(contact(SOMEONE)))
    again = await resolve(rig.worker(), request(contact(SOMEONE)))
    found = again.answer
    assert isinstance(found, PersonFound)
    assert found.person.complete
    assert again.calls[Provider.DIRETRIX] == 0
    assert (rig.calls("diretrix"), rig.calls("work")) == (1, 2)
    assert await rig.statuses("work") == ["paid", "unsure"]


async def a_failure_is_never_an_answer(rig: Rig) -> None:
    """A partner's failure leaves no answer in the facts and none in the database."""
    rig.know(SOMEONE)
    rig.fail_once("diretrix")
    failed = await resolve(rig.worker(), request(contact(SOMEONE)))
    assert isinstance(failed.failure, TransientError)
    assert not failed.facts.answers
    assert not (await rig.people.find(contact(SOMEONE))).answers
    assert isinstance(await look_up(rig, request(contact(SOMEONE))), PersonFound)
    assert rig.calls("diretrix") == 2


async def an_unknown_phone_is_stored_after_an_answer_and_expires(rig: Rig) -> None:
    """A phone is stored as unknown only after an answer. It is asked again after one day."""
    who = contact(SOMEONE, by="phone")
    rig.fail_once("diretrix")
    with pytest.raises(TransientError):
        await look_up(rig, request(who))
    assert not (await rig.people.find(who)).answers
    assert isinstance(await look_up(rig, request(who)), NobodyKnows)
    (answer,) = (await rig.people.find(who)).answers
    assert answer.candidates == ()
    assert isinstance(await look_up(rig, request(who)), NobodyKnows)
    assert rig.calls("diretrix") == 2
    rig.clock.at += timedelta(days=1, seconds=1)
    assert isinstance(await look_up(rig, request(who)), NobodyKnows)
    assert rig.calls("diretrix") == 3


async def cpf_only_in_postgres_asks_work_and_never_diretrix(rig: Rig) -> None:
    """A party with a CPF and no enrichment costs one Work API call and none of Diretrix."""
    rig.know(SOMEONE)
    phone = Phone.parse(SOMEONE.phone)
    assert phone is not None
    # An answer past its time: what is left of it is the party.
    await rig.store.save_answer(phone, (Candidate(SOMEONE.name, SOMEONE.cpf),), NOW - timedelta(days=900))
    asked = await resolve(rig.worker(), request(contact(SOMEONE)))
    found = asked.answer
    assert isinstance(found, PersonFound)
    assert (found.person.cpf, asked.tier) == (SOMEONE.cpf, Tier.POSTGRES)
    assert (rig.calls("diretrix"), rig.calls("work")) == (0, 1)


async def a_cpf_in_the_form_asks_work_and_never_diretrix(rig: Rig) -> None:
    """A typed CPF costs one Work API call and none of Diretrix, and the tier is the form."""
    rig.know(SOMEONE)
    asked = await resolve(rig.worker(), request(contact(SOMEONE, by="phone email cpf")))
    found = asked.answer
    assert isinstance(found, PersonFound)
    assert (found.person.cpf, asked.tier) == (SOMEONE.cpf, Tier.FORM)
    assert (rig.calls("diretrix"), rig.calls("work")) == (0, 1)


async def a_cpf_that_nobody_knows_falls_back_to_the_phone(rig: Rig) -> None:
    """After a typed CPF that the Work API does not know, the phone still finds the person."""
    rig.know(SOMEONE)
    found = await look_up(rig, request(Contact(Phone.parse(SOMEONE.phone), None, Cpf(OTHER.cpf), "k")))
    assert isinstance(found, PersonFound)
    assert found.person.cpf == SOMEONE.cpf
    assert (rig.calls("diretrix"), rig.calls("work")) == (1, 2)


async def _store_old(rig: Rig) -> None:
    old = NOW - timedelta(days=200)
    phone = Phone.parse(SOMEONE.phone)
    assert phone is not None
    await rig.store.save_answer(phone, (Candidate(SOMEONE.name, SOMEONE.cpf),), old)
    person = person_from_work(SOMEONE.work(), SOMEONE.cpf, old)
    await rig.store.save_person(typed(SOMEONE), person, SOMEONE.work(), "lead-0", old)


async def a_stale_person_is_refreshed_through_the_work_api(rig: Rig) -> None:
    """A stale person is refreshed by CPF, never by phone, and the fresh one is stored."""
    rig.know(SOMEONE)
    await _store_old(rig)
    for _ in range(2):
        found = await look_up(rig, request(contact(SOMEONE)))
        assert isinstance(found, PersonFound)
        assert not found.person.stale
        assert found.person.fetched_at == NOW.timestamp()
    assert (rig.calls("diretrix"), rig.calls("work")) == (0, 1)


async def a_refresh_that_fails_leaves_the_stale_person(rig: Rig) -> None:
    """After a failed refresh the facts still have the old person, who answers as stale."""
    rig.know(SOMEONE)
    await _store_old(rig)
    rig.fail_once("work")
    asked = request(contact(SOMEONE))
    failed = await resolve(rig.worker(), asked)
    assert isinstance(failed.failure, TransientError)
    step = next_step(asked.contact, asked.name, failed.facts, allow_stale=True)
    assert isinstance(step, PersonFound)
    assert (step.person.stale, step.person.cpf) == (True, SOMEONE.cpf)
    assert rig.calls("diretrix") == 0


async def two_workers_with_one_cpf_make_one_work_call(rig: Rig) -> None:
    """The lease limits two workers that complete the same CPF at the same time to one call."""
    rig.know(SOMEONE)
    who = contact(SOMEONE, by="cpf")
    answers = await asyncio.gather(*(look_up(rig, request(who)) for _ in range(2)))
    assert all(isinstance(one, PersonFound) for one in answers)
    assert rig.calls("work") == 1


async def two_workers_refresh_an_old_person_once(rig: Rig) -> None:
    """A worker that waited for the lease uses the record that was stored meanwhile."""
    rig.know(SOMEONE)
    await _store_old(rig)
    answers = await asyncio.gather(*(look_up(rig, request(contact(SOMEONE))) for _ in range(3)))
    assert all(isinstance(one, PersonFound) and not one.person.stale for one in answers)
    assert rig.calls("work") == 1


async def phone_only_and_email_only_at_once_are_one_party(rig: Rig) -> None:
    """One person under two keys costs at most two Diretrix calls and one Work API call, and is one party."""
    rig.know(SOMEONE)
    asked = [request(contact(SOMEONE, by=by)) for by in ("phone", "email")]
    answers = await asyncio.gather(*(look_up(rig, one) for one in asked))
    assert {one.person.cpf for one in answers if isinstance(one, PersonFound)} == {SOMEONE.cpf}
    assert rig.calls("diretrix") <= 2
    assert rig.calls("work") == 1
    assert await rig.parties(SOMEONE.cpf) == 1


CALL_SCENARIOS: list[Callable[[Rig], Awaitable[None]]] = [
    one_paid_call_per_alias,
    the_email_is_asked_when_nobody_knows_the_phone,
    after_a_work_api_failure_the_retry_does_not_pay_diretrix,
    a_failure_is_never_an_answer,
    an_unknown_phone_is_stored_after_an_answer_and_expires,
    cpf_only_in_postgres_asks_work_and_never_diretrix,
    a_cpf_in_the_form_asks_work_and_never_diretrix,
    a_cpf_that_nobody_knows_falls_back_to_the_phone,
    a_stale_person_is_refreshed_through_the_work_api,
    a_refresh_that_fails_leaves_the_stale_person,
    two_workers_with_one_cpf_make_one_work_call,
    two_workers_refresh_an_old_person_once,
    phone_only_and_email_only_at_once_are_one_party,
]
