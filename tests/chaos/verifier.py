"""Counts how the promises were kept. Pure: the same evidence gives the same counts.

A webhook's *end* is an event that is not ``pending``, or a dead letter. A record below the committed offset must have
an end, be parked or have been moved: if the worker is killed then, no worker reads the record again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from tests.chaos.evidence import Arrival, Call, DeadLetter, Emission, Evidence

PENDING = "pending"
SETTLING = 1.0  # seconds between a call that was settled and its answer being stored
NOT_BILLED = frozenset({"free"})
UNKNOWN_END = frozenset({"reserved", "unsure"})


def ended(emissions: Iterable[Emission], letters: Iterable[DeadLetter]) -> set[str]:
    """Ids of the webhooks that have an end."""
    ids = {event.event_id for event in emissions if event.outcome != PENDING}
    return ids | {letter.event_id for letter in letters if letter.event_id}


def missing(evidence: Evidence) -> set[str]:
    """Ids that arrived, or were answered 200, and have no end; unreadable records by ``partition/offset``."""
    there = ended(evidence.emissions, evidence.letters)
    wanted = evidence.answered | {arrival.event_id for arrival in evidence.arrivals if arrival.event_id}
    dead = {letter.origin for letter in evidence.letters}
    unread = {
        "/".join(map(str, arrival.place))
        for arrival in evidence.arrivals
        if not arrival.event_id and arrival.place not in dead
    }
    return (wanted - there) | unread


def repeated(emissions: Iterable[Emission]) -> int:
    """Events whose (event_id, revision) occurred before, which consumers drop."""
    seen = Counter((event.event_id, event.revision) for event in emissions)
    return sum(times - 1 for times in seen.values())


def out_of_order(arrivals: Iterable[Arrival], emissions: Iterable[Emission]) -> int:
    """Webhooks whose first event came before an earlier one's of the contact; parked and moved webhooks are exempt.

    Only the first event counts: a webhook that is read again after a crash emits again.
    """
    emissions, arrivals = list(emissions), list(arrivals)
    exempt = {event.event_id for event in emissions if event.outcome == PENDING}
    exempt |= {arrival.event_id for arrival in arrivals if arrival.moved}
    turns: dict[str, tuple[str, int]] = {}
    counts: Counter[str] = Counter()
    for arrival in arrivals:
        if arrival.event_id and arrival.event_id not in turns:
            turns[arrival.event_id] = (arrival.key, counts[arrival.key])
            counts[arrival.key] += 1
    newest: dict[str, int] = defaultdict(lambda: -1)
    seen: set[str] = set()
    overtaken = 0
    for event in emissions:
        if event.event_id in seen or event.event_id in exempt or event.event_id not in turns:
            continue
        seen.add(event.event_id)
        key, turn = turns[event.event_id]
        overtaken += turn < newest[key]
        newest[key] = max(newest[key], turn)
    return overtaken


def beyond(committed: Mapping[int, int], evidence: Evidence) -> list[Arrival]:
    """Records below the committed offset of their partition that have no end, are not parked and were not moved.

    ``committed`` must be read before the events.
    """
    safe = ended(evidence.emissions, evidence.letters) | evidence.parked
    dead = {letter.origin for letter in evidence.letters}
    copies: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in evidence.arrivals:
        if arrival.moved:
            copies[arrival.event_id].append(arrival)
    return [
        arrival
        for arrival in evidence.arrivals
        if arrival.place[1] < committed.get(arrival.place[0], 0)
        and arrival.place not in dead
        and arrival.event_id not in safe
        and not any(_is_copy(copy, arrival) for copy in copies[arrival.event_id])
    ]


def _is_copy(copy: Arrival, arrival: Arrival) -> bool:
    """Whether ``copy`` is ``arrival``, moved. It must be later, because anybody may write a header that says so."""
    return copy.place != arrival.place and copy.at >= arrival.at


def paid_again(calls: Iterable[Call], kills: Iterable[float]) -> tuple[list[Call], list[Call]]:
    """Calls whose alias or CPF was asked for again: those that are excused, and those that break a promise.

    A call is excused if it may never have been answered: under way when a worker was killed, or ``unsure``.
    """
    instants = sorted(kills)
    excused, wrong = [], []
    by_alias: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in calls:
        if call.status not in NOT_BILLED:
            by_alias[call.provider, call.alias].append(call)
    for there in by_alias.values():
        there.sort(key=lambda call: call.reserved_at)
        for call in there[:-1]:
            is_excused = call.status in UNKNOWN_END or _was_under_way(call, instants)
            (excused if is_excused else wrong).append(call)
    return excused, wrong


def _was_under_way(call: Call, kills: list[float]) -> bool:
    until = call.settled_at if call.settled_at is not None else float("inf")
    return bisect_right(kills, until + SETTLING) > bisect_right(kills, call.reserved_at)


def written_twice(evidence: Evidence) -> int:
    """Messages that the CRM has twice for one lead, and leads that it has although we did not record them.

    A lead whose creation is unconfirmed may exist without a record of ours.
    """
    messages = Counter((message["lead"], message["body"]) for message in evidence.messages)
    unknown = sum(lead["id"] not in evidence.recorded_leads for lead in evidence.leads)
    return sum(times - 1 for times in messages.values()) + max(0, unknown - evidence.unconfirmed_leads)


def recovery(emissions: Iterable[Emission], mended: Iterable[float]) -> float | None:
    """The longest time from a repair to the first event after it, in seconds; None if there was no repair.

    If the next failure came before an event, the repair is counted with the next one.
    """
    times = sorted(event.at for event in emissions)
    repairs = sorted(mended)
    longest = None
    for number, repair in enumerate(repairs):
        index = bisect_right(times, repair)
        if index == len(times):
            continue
        following = repairs[number + 1] if number + 1 < len(repairs) else float("inf")
        if times[index] < following:
            longest = max(longest or 0.0, times[index] - repair)
    return longest
