"""The input of the benchmarks, and what the peers do with it."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson

from bench.leads import REPEATS, crowd, known, records, repeats, trace
from bench.peers.event import event
from bench.sides import saying
from stream.domain.events import Answer, Match, Outcome, Tier, encode_event, event_headers, event_id
from stream.domain.identity import contact_of
from stream.domain.leads import decode_webhook


def test_the_peers_write_the_events_that_we_write() -> None:
    """A peer's event has our bytes and headers, except for the time of writing."""
    people = crowd(50, 1)
    for one, person in zip(records(repeats(people, 50, 1)), known(people), strict=True):
        webhook = decode_webhook(one.value)
        contact = contact_of(webhook.lead, frozenset())
        answer = Answer(Outcome.ENRICHED, Tier.CACHE, Match.NAME, person.person.person, person.person.facts)
        now = datetime.now(UTC)
        ours = encode_event(webhook, contact, answer, now), tuple(event_headers(event_id(webhook.lead), now))
        theirs = event(orjson.loads(one.value), orjson.loads(orjson.dumps(person.for_peers())))
        assert saying(theirs[0], tuple(theirs[1])) == saying(*ours)


def test_the_input_is_the_same_for_a_seed_and_as_large_as_production_sends_it() -> None:
    """The same seed gives the same input; a payload has about 600 bytes."""
    people = crowd(200, 1)
    payloads = list(repeats(people, 400, 1))
    assert payloads == list(repeats(crowd(200, 1), 400, 1))
    assert 550 < sum(map(len, payloads)) / len(payloads) < 750


def test_the_trace_has_the_measured_share_of_repeats() -> None:
    """57.53 webhooks in 100 are about people who came before."""
    seen: set[bytes] = set()
    again = 0
    for one in records(trace(crowd(2_000, 1), 3_000, 1)):
        again += one.key in seen
        seen.add(one.key or b"")
    assert abs(again / 3_000 - REPEATS) < 0.03
