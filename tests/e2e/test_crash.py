"""A worker that is killed loses nothing."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from stream.local.people import population, typed
from stream.local.simulators import population_body
from stream.local.stack import Stack
from tests.e2e.system import call, counts, crm, events_until, faults, ids, lead, post, wait_until

WEBHOOKS = 2_000
KILLS = 10
PEOPLE = 400
SLOTS = 32
PATIENCE = 150.0  # seconds; on a busy machine ten restarts take their time


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Partners, producers and a worker that parks early and tries again soon."""
    extra = {"LOOKUP_SLOTS": str(SLOTS), "RETRY_DELAYS": "1s", "LOG_LEVEL": "INFO", "LOOKUP_DEADLINE": "5s"}
    with Stack(print, scale=0.05, extra=extra) as started:
        started.start_servers()
        started.start_simulators()
        started.start_ours("producers", "worker")
        yield started


def teach(stack: Stack, people: list) -> None:
    """Tell the partners who is known."""
    import json

    call(f"{stack.simulators_url}/_control/people", json.loads(population_body(people)), "PUT")


@pytest.mark.timeout(400)
def test_ten_kills_in_the_middle_of_2000_webhooks_lose_none(stack: Stack) -> None:
    """Every webhook has its event, and nobody is paid for twice but those under way at a kill."""
    chance = random.Random(11)
    people = population(PEOPLE, 11)
    teach(stack, people)
    worker = stack.children["worker"]
    sent = 0
    for kill in range(KILLS):
        size = WEBHOOKS // KILLS
        batch = [chance.choice(people) for _ in range(size)]
        webhooks = [lead(f"lead-{sent + n}", one, phone=typed(one.phone, chance)) for n, one in enumerate(batch)]
        answer = post(stack, webhooks)
        assert answer["processed"] == size, answer
        sent += size
        time.sleep(chance.uniform(0.1, 1.5))  # not a wait: the kill must come at no particular moment
        worker.kill()
        print(f"kill {kill + 1}")
        worker.start()
    worker.wait_for(f"{stack.worker_url}/readyz", limit=PATIENCE)
    wanted = {f"lead-{n}" for n in range(WEBHOOKS)}
    events = events_until(stack, lambda events: ids(events) >= wanted, limit=PATIENCE)

    assert ids(events) == wanted
    asked = Counter({key: times for key, times in counts(stack)["asked"].items() if key.startswith("diretrix/")})
    again = sum(times - 1 for times in asked.values())
    assert again <= KILLS * SLOTS
    print(f"{len(events)} events, {len(asked)} people asked for, {again} asked for again")


def test_a_partner_that_is_down_parks_webhooks_and_they_come_back(stack: Stack) -> None:
    """While Diretrix is down consumers get ``pending``, hits go on, and when it is back each webhook is answered."""
    known, new = population(2, 5)
    teach(stack, [known, new])
    post(stack, [lead("known-1", known)])
    events_until(stack, lambda events: "known-1" in ids(events))
    faults(stack, diretrix={"status": 500})
    post(stack, [lead("new-1", new), lead("known-2", known)])
    events = events_until(stack, lambda events: {event.lead.id for event in events} >= {"new-1", "known-2"})
    assert {event.lead.id: event.outcome for event in events} == {
        "known-1": "enriched",
        "new-1": "pending",
        "known-2": "enriched",
    }
    faults(stack)
    events = events_until(stack, lambda events: "new-1" in ids(events))
    last = [event for event in events if event.lead.id == "new-1"][-1]
    assert (last.outcome, last.tier, last.match) == ("enriched", "diretrix", "name")


def test_the_crm_answering_our_messages_with_webhooks_ends_after_one_message(stack: Stack) -> None:
    """C2S sends on_update_lead for what we write: the same facts are not written again."""
    (someone,) = population(1, 9)
    teach(stack, [someone])
    customers = {"echo-1": {"name": someone.name, "phone": someone.phone, "email": someone.email}}
    body = {
        "by_alias": {someone.phone: [someone.candidate()]},
        "work": {someone.cpf: someone.work()},
        "customers": customers,
    }
    call(f"{stack.simulators_url}/_control/people", body, "PUT")
    hook = {"url": f"{stack.producers_url}/api/v1/webhooks/c2s", "token": "demo-webhook-token"}
    call(f"{stack.simulators_url}/_control/webhooks", hook, "PUT")
    stack.start_ours("crm-sync")
    post(stack, [lead("echo-1", someone)])
    wait_until(lambda: counts(stack)["counts"].get("echoes", 0) >= 1, "the CRM's own webhook")
    events = events_until(stack, lambda events: len(events) >= 2)
    assert [event.lead.hook_action for event in events] == ["on_create_lead", "on_update_lead"]
    # A second message would be written by now if the CRM sync had not seen that its facts were told.
    post(stack, [lead("echo-2", someone)])
    wait_until(
        lambda: any(message["lead"] == "echo-2" for message in crm(stack)["messages"]), "the next lead's message"
    )
    assert [message["lead"] for message in crm(stack)["messages"]].count("echo-1") == 1
