"""How second deliveries are counted and published."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.producers_client import Client, event, until


async def test_a_second_delivery_counts_as_a_duplicate_and_is_published(client: Client) -> None:
    """A second delivery counts as a duplicate whatever the spelling of its instant, and is published all the same."""
    await client.c2s(event())
    again = event()
    again["attributes"]["updated_at"] = "2026-01-31 09:00:00 -0300"
    status, answer = await client.c2s(again)
    assert (status, answer["received"], answer["processed"], answer["duplicates"]) == (200, 1, 0, 1)
    assert answer["event_ids"] == [client.broker.webhooks[0].identity]
    later = event()
    later["attributes"]["updated_at"] = "2026-01-31T12:00:01Z"
    assert (await client.c2s(later))[1]["processed"] == 1
    first, second, third = client.broker.webhooks
    assert first.identity == second.identity != third.identity


async def test_a_second_delivery_in_the_same_body_is_a_duplicate(client: Client) -> None:
    """The same delivery twice in an array counts as one processed and one duplicate."""
    status, answer = await client.c2s([event(), event()])
    assert (status, answer["received"], answer["processed"], answer["duplicates"]) == (200, 2, 1, 1)


async def test_of_two_concurrent_deliveries_one_is_a_duplicate(client: Client) -> None:
    """Two concurrent deliveries count as one processed and one duplicate."""
    client.broker.gate.clear()
    both = [asyncio.create_task(client.c2s(event())) for _ in range(2)]
    await until(lambda: client.broker.waiting == 2)
    client.broker.gate.set()
    answers = [(await one)[1] for one in both]
    sums = {name: sum(answer[name] for answer in answers) for name in ("received", "processed", "duplicates")}
    assert sums == {"received": 2, "processed": 1, "duplicates": 1}


async def test_a_delivery_that_was_not_published_makes_no_duplicate(client: Client) -> None:
    """If the first of two concurrent deliveries can't be published, the second counts as processed."""
    client.broker.gate.clear()
    client.broker.failures = 1
    first = asyncio.create_task(client.c2s(event()))
    await until(lambda: client.broker.waiting == 1)
    second = asyncio.create_task(client.c2s(event()))
    await until(lambda: client.broker.waiting == 2)
    client.broker.gate.set()
    assert (await first)[0] == 503
    answer = (await second)[1]
    assert (answer["received"], answer["processed"], answer["duplicates"]) == (1, 1, 0)
    assert (await client.c2s(event()))[1]["duplicates"] == 1


@pytest.mark.parametrize("client", [{"PRODUCER_DUPLICATE_WINDOW": "2"}], indirect=True, ids=["window of 2"])
async def test_the_remembered_deliveries_are_limited(client: Client) -> None:
    """The least recently seen delivery is forgotten first."""
    for lead in ("L1", "L2", "L1", "L3"):
        await client.c2s(event(lead))
    answers = [(await client.c2s(event(lead)))[1]["duplicates"] for lead in ("L1", "L3", "L2")]
    assert answers == [1, 1, 0]
