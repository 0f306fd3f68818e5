"""Partners that are down, or that answer our writing with webhooks of their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stream.local.people import population
from stream.local.stack import Stack
from tests.support.system import call, counts, crm, events_until, faults, ids, lead, post, teach, wait_until


@pytest.fixture
def stack() -> Iterator[Stack]:
    """Partners, producers and a worker that parks early and tries again soon."""
    extra = {"RETRY_DELAYS": "1s", "LOG_LEVEL": "INFO", "LOOKUP_DEADLINE": "5s"}
    with Stack(print, scale=0.05, extra=extra) as started:
        started.start_servers()
        started.start_simulators()
        started.start_ours("producers", "worker")
        yield started


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
