"""What must hold of the look-up chain, whatever is behind its ports; run on the fakes and on the real parts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol
from uuid import uuid4

import pytest

from stream.domain.choice import Ambiguous, Answered, NobodyKnows, PersonFound, next_step
from stream.domain.contact_facts import ContactFacts
from stream.domain.errors import TransientError
from stream.domain.events import Match, Tier
from stream.domain.identity import Contact, Cpf, Email, Phone
from stream.domain.person import Candidate, person_from_work
from stream.domain.provider import Provider
from stream.local.people import Someone, population
from stream.lookup.chain import LookupChain
from stream.lookup.ports import LookupRequest, LookupResult, PersonReader, PersonStore, PricingPolicy
from stream.providers.specs import provider_specs
from stream.settings import load
from stream.store.periodic import LEASE_S
from tests.support.fakes import NOW
from tests.support.waiting import LIMIT

PRICING = PricingPolicy(
    providers=provider_specs(
        load({"DIRETRIX_PRICE": "0.50", "WORK_API_PRICE": "0.10", "DIRETRIX_DAILY_BUDGET": "unlimited"})
    ),
    max_age=timedelta(days=180),
    unknown_for=timedelta(days=1),
    work_unknown_for=timedelta(days=7),
    lease=LEASE_S,
)


class Clock:
    """The look-up chain's clock."""

    def __init__(self) -> None:
        self.at = NOW

    def __call__(self) -> datetime:
        """Now."""
        return self.at


class Rig(Protocol):
    """One world to look people up in: partners, a database, and any number of workers."""

    clock: Clock
    people: PersonReader
    store: PersonStore

    def know(self, someone: Someone) -> None: ...  # noqa: D102 - both partners know them
    def mix_up(self, someone: Someone, other: Someone | None) -> None: ...  # noqa: D102 - the Work API's record of theirs
    def fail_once(self, partner: str) -> None: ...  # noqa: D102 - with a 500
    def calls(self, partner: str) -> int: ...  # noqa: D102
    def worker(self) -> LookupChain: ...  # noqa: D102 - a chain of a worker of its own
    async def statuses(self, provider: str) -> list[str]: ...  # noqa: D102 - of the ledger, sorted
    async def parties(self, cpf: str) -> int: ...  # noqa: D102


SOMEONE, OTHER = population(2, seed=11)


def contact(someone: Someone, *, by: str = "phone email") -> Contact:
    """Contact of a person, by some of phone, email, cpf."""
    phone = Phone.parse(someone.phone) if "phone" in by else None
    email = Email.parse(someone.email) if "email" in by else None
    cpf = Cpf(someone.cpf) if "cpf" in by else None
    return Contact(phone, email, cpf, next(a for a in (phone, email, cpf) if a is not None).alias)


def typed(someone: Someone) -> tuple[Phone | Email, ...]:
    """Phone and e-mail of a person."""
    both = Phone.parse(someone.phone), Email.parse(someone.email)
    return tuple(one for one in both if one is not None)


def request(who: Contact, name: str = SOMEONE.name) -> LookupRequest:
    """The request of a lead."""
    return LookupRequest(who, name, "lead-1", "c2s", str(uuid4()))


async def resolve(chain: LookupChain, asked: LookupRequest, deadline: float = LIMIT) -> LookupResult:
    """One look-up of whom nothing is known yet."""
    return await chain.resolve(asked, ContactFacts(), deadline)


async def answer(chain: LookupChain, asked: LookupRequest) -> Answered:
    """The answer of one look-up; raises what it failed with."""
    result = await resolve(chain, asked)
    assert (result.answer is None) is (result.failure is not None)
    if result.failure is not None:
        raise result.failure
    assert result.answer is not None
    return result.answer


async def look_up(rig: Rig, asked: LookupRequest) -> Answered:
    """One look-up of a fresh worker."""
    return await answer(rig.worker(), asked)


async def one_paid_call_per_alias(rig: Rig) -> None:
    """A phone that is known is paid for once, its e-mail not at all, and other workers read the answer."""
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
    """An unknown phone leads to the e-mail's person, and the unknown phone is free of charge."""
    rig.know(SOMEONE)
    stranger = Phone.parse(OTHER.phone)
    asked = await resolve(rig.worker(), request(Contact(stranger, Email.parse(SOMEONE.email), None, "k")))
    found = asked.answer
    assert isinstance(found, PersonFound)
    assert found.person.cpf == SOMEONE.cpf
    assert (rig.calls("diretrix"), asked.calls[Provider.DIRETRIX]) == (2, 1)
    assert await rig.statuses("diretrix") == ["free", "paid"]


async def work_down_then_a_retry_pays_nothing(rig: Rig) -> None:
    """Diretrix's answer is stored before the Work API is asked: what failed there pays Diretrix once."""
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
    """A partner that fails leaves no answer behind: not among the facts, not in the database."""
    rig.know(SOMEONE)
    rig.fail_once("diretrix")
    failed = await resolve(rig.worker(), request(contact(SOMEONE)))
    assert isinstance(failed.failure, TransientError)
    assert not failed.facts.answers
    assert not (await rig.people.find(contact(SOMEONE))).answers
    assert isinstance(await look_up(rig, request(contact(SOMEONE))), PersonFound)
    assert rig.calls("diretrix") == 2


async def unknown_is_remembered_after_the_answer_only_and_for_its_time(rig: Rig) -> None:
    """Nobody's phone is stored as unknown once it was answered, asks nothing for a day, and is asked again after."""
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
    """A party with a CPF and no enrichment is completed by the Work API; Diretrix is not paid."""
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
    """A CPF that was typed names the person: one Work call, none of Diretrix, and the tier is the form."""
    rig.know(SOMEONE)
    asked = await resolve(rig.worker(), request(contact(SOMEONE, by="phone email cpf")))
    found = asked.answer
    assert isinstance(found, PersonFound)
    assert (found.person.cpf, asked.tier) == (SOMEONE.cpf, Tier.FORM)
    assert (rig.calls("diretrix"), rig.calls("work")) == (0, 1)


async def a_cpf_that_nobody_knows_falls_back_to_the_phone(rig: Rig) -> None:
    """A typed CPF unknown to the Work API is a dead end; the phone still finds the person."""
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


async def a_person_too_old_is_refreshed_through_work(rig: Rig) -> None:
    """An enrichment past its age is asked for again by CPF, never by phone, and the fresh one is stored."""
    rig.know(SOMEONE)
    await _store_old(rig)
    for _ in range(2):
        found = await look_up(rig, request(contact(SOMEONE)))
        assert isinstance(found, PersonFound)
        assert not found.person.stale
        assert found.person.fetched_at == NOW.timestamp()
    assert (rig.calls("diretrix"), rig.calls("work")) == (0, 1)


async def a_refresh_that_fails_leaves_the_stale_person(rig: Rig) -> None:
    """When the refresh fails, the old person is among the facts and answers as stale."""
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
    """The lease keeps two workers that complete the same CPF at once to one call."""
    rig.know(SOMEONE)
    who = contact(SOMEONE, by="cpf")
    answers = await asyncio.gather(*(look_up(rig, request(who)) for _ in range(2)))
    assert all(isinstance(one, PersonFound) for one in answers)
    assert rig.calls("work") == 1


async def two_workers_refresh_an_old_person_once(rig: Rig) -> None:
    """Whoever waited for the lease takes the fresh record that was stored meanwhile."""
    rig.know(SOMEONE)
    await _store_old(rig)
    answers = await asyncio.gather(*(look_up(rig, request(contact(SOMEONE))) for _ in range(3)))
    assert all(isinstance(one, PersonFound) and not one.person.stale for one in answers)
    assert rig.calls("work") == 1


async def phone_only_and_email_only_at_once_are_one_party(rig: Rig) -> None:
    """One person under two keys at once costs at most two Diretrix calls and one Work call, and is one party."""
    rig.know(SOMEONE)
    asked = [request(contact(SOMEONE, by=by)) for by in ("phone", "email")]
    answers = await asyncio.gather(*(look_up(rig, one) for one in asked))
    assert {one.person.cpf for one in answers if isinstance(one, PersonFound)} == {SOMEONE.cpf}
    assert rig.calls("diretrix") <= 2
    assert rig.calls("work") == 1
    assert await rig.parties(SOMEONE.cpf) == 1


async def another_persons_record_is_refused(rig: Rig) -> None:
    """The Work API's answer about another CPF is neither stored nor said: the candidate answers for a day."""
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
    """A row that an earlier version stored under the wrong CPF is as good as none: the Work API is asked."""
    rig.know(SOMEONE)
    wrong = person_from_work(OTHER.work(), SOMEONE.cpf, NOW)
    await rig.store.save_person(typed(SOMEONE), wrong, OTHER.work(), "lead-0", NOW)
    found = await look_up(rig, request(contact(SOMEONE)))
    assert isinstance(found, PersonFound)
    assert (found.person.cpf, found.person.name.upper()) == (SOMEONE.cpf, SOMEONE.name.upper())
    assert rig.calls("work") == 1


async def a_cpf_that_work_does_not_know_is_not_asked_for_a_week(rig: Rig) -> None:
    """Every worker and every day asked anew: PostgreSQL remembers it for them all."""
    rig.know(SOMEONE)
    rig.mix_up(SOMEONE, None)
    for day in range(9):
        found = await look_up(rig, request(contact(SOMEONE)))
        assert isinstance(found, PersonFound)
        assert not found.person.complete
        assert rig.calls("work") == 1 + (day >= 7)
        rig.clock.at += timedelta(days=1)
    assert rig.calls("diretrix") == 1


async def an_owner_past_their_time_is_asked_for_again(rig: Rig) -> None:
    """A recycled number: after its age the former owner's row is no answer any more, and Diretrix is asked."""
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
    """The son's own phone is in the father's record: the son's lead asks who owns it."""
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


async def what_a_lead_did_not_prove_is_not_stored(rig: Rig) -> None:
    """A lead whose name differs leaves no contact of its own behind: other services read the table."""
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
    """Diretrix gave a CPF alone and the Work API knows nothing of it: one call of each, and nobody."""
    rig.know(replace(SOMEONE, name=""))
    rig.mix_up(SOMEONE, None)
    for _ in range(2):
        assert isinstance(await look_up(rig, request(contact(SOMEONE, by="phone"))), NobodyKnows)
    assert (rig.calls("diretrix"), rig.calls("work")) == (1, 1)


async def two_people_on_one_phone_and_no_name_are_nobody(rig: Rig) -> None:
    """A tie costs one Diretrix call, no Work call, and attaches nobody; a name settles it from what is stored."""
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


SCENARIOS: list[Callable[[Rig], Awaitable[None]]] = [
    one_paid_call_per_alias,
    the_email_is_asked_when_nobody_knows_the_phone,
    work_down_then_a_retry_pays_nothing,
    a_failure_is_never_an_answer,
    unknown_is_remembered_after_the_answer_only_and_for_its_time,
    cpf_only_in_postgres_asks_work_and_never_diretrix,
    a_cpf_in_the_form_asks_work_and_never_diretrix,
    a_cpf_that_nobody_knows_falls_back_to_the_phone,
    a_person_too_old_is_refreshed_through_work,
    a_refresh_that_fails_leaves_the_stale_person,
    two_workers_with_one_cpf_make_one_work_call,
    two_workers_refresh_an_old_person_once,
    phone_only_and_email_only_at_once_are_one_party,
    another_persons_record_is_refused,
    a_stored_record_of_another_is_refused_too,
    a_cpf_that_work_does_not_know_is_not_asked_for_a_week,
    an_owner_past_their_time_is_asked_for_again,
    a_phone_listed_beside_the_father_answers_with_its_owner,
    what_a_lead_did_not_prove_is_not_stored,
    a_cpf_without_a_name_that_work_does_not_know_ends_the_look_up,
    two_people_on_one_phone_and_no_name_are_nobody,
]
