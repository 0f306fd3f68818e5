"""The counts of the chaos suite: what it must find, and what is no fault."""

from __future__ import annotations

from tests.chaos import verifier
from tests.chaos.evidence import Arrival, Call, DeadLetter, Emission, Evidence


def arrival(offset: int, event_id: str, *, key: str = "a", moved: bool = False) -> Arrival:
    return Arrival((0, offset), event_id, key, moved)


def event(
    event_id: str, *, key: str = "a", outcome: str = "enriched", revision: str = "1", at: float = 0.0
) -> Emission:
    return Emission((0, 0), event_id, revision, key, outcome, at)


def letter(event_id: str, origin: tuple[int, int] | None = None) -> DeadLetter:
    return DeadLetter(origin, event_id, "enrich", "not JSON")


def call(reserved_at: float, settled_at: float | None, status: str = "paid", alias: str = "p:1") -> Call:
    return Call("diretrix", alias, status, reserved_at, settled_at)


def test_what_arrived_and_has_no_end_is_missing() -> None:
    """``pending`` is no end, a dead letter is one; a webhook that was answered 200 and never arrived is missing."""
    evidence = Evidence(
        arrivals=[arrival(0, "ended"), arrival(1, "parked"), arrival(2, "dead"), arrival(3, "lost")],
        emissions=[event("ended"), event("parked", outcome="pending")],
        letters=[letter("dead")],
        answered={"ended", "never seen"},
    )
    assert verifier.missing(evidence) == {"parked", "lost", "never seen"}


def test_an_unreadable_record_needs_the_dead_letter_of_its_own_place() -> None:
    """Records without an identity are told apart by their place."""
    evidence = Evidence(arrivals=[arrival(0, ""), arrival(1, "")], letters=[letter("", (0, 1))])
    assert verifier.missing(evidence) == {"0/0"}


def test_a_repeat_is_the_same_event_with_the_same_revision() -> None:
    """``pending`` and ``enriched`` of one webhook are two different events."""
    assert verifier.repeated([event("x", revision="p"), event("x"), event("x"), event("y")]) == 1


def test_a_webhook_that_overtook_an_earlier_one_of_its_contact_is_found() -> None:
    """An event out of order is found within one contact only."""
    arrivals = [arrival(0, "1"), arrival(1, "2"), arrival(2, "3", key="b")]
    assert verifier.out_of_order(arrivals, [event("3", key="b"), event("2"), event("1")]) == 1
    assert verifier.out_of_order(arrivals, [event("1"), event("3", key="b"), event("2")]) == 0


def test_what_is_emitted_again_or_was_parked_or_moved_is_not_out_of_order() -> None:
    """Repeats after a crash, parked webhooks and rerouted ones are not out of order."""
    arrivals = [arrival(0, "1"), arrival(1, "2"), arrival(2, "3")]
    assert verifier.out_of_order(arrivals, [event("1"), event("2"), event("1"), event("2"), event("3")]) == 0
    assert verifier.out_of_order(arrivals, [event("1", outcome="pending"), event("2"), event("1"), event("3")]) == 0
    moved = [arrival(0, "1"), arrival(1, "2"), arrival(2, "1", moved=True)]
    assert verifier.out_of_order(moved, [event("2"), event("1")]) == 0


def test_a_commit_beyond_a_record_without_an_end_is_found() -> None:
    """Records from the committed offset on, parked ones and dead letters are no fault."""
    evidence = Evidence(
        arrivals=[arrival(0, "ended"), arrival(1, "lost"), arrival(2, "parked"), arrival(3, ""), arrival(4, "next")],
        emissions=[event("ended")],
        letters=[letter("", (0, 3))],
        parked={"parked"},
    )
    assert [one.event_id for one in verifier.beyond({0: 4}, evidence)] == ["lost"]


def test_a_commit_beyond_a_re_routed_record_is_right_once_its_copy_lies_there() -> None:
    """The commit must not pass the copy, whoever wrote the header of the original."""
    for forged in (False, True):
        first, copy = arrival(0, "x", moved=forged), Arrival((1, 0), "x", "a", moved=True, at=1.0)
        evidence = Evidence(arrivals=[copy, first])
        assert verifier.beyond({0: 1}, evidence) == []
        assert verifier.beyond({0: 1, 1: 1}, evidence) == [copy]


def test_a_call_that_was_under_way_at_a_kill_or_is_unsure_may_be_made_again() -> None:
    """A call that was settled long before the kill may not be made again."""
    under_way = [call(1.0, 2.0), call(5.0, 6.0)]
    assert verifier.paid_again(under_way, kills=[1.5]) == ([under_way[0]], [])
    assert verifier.paid_again(under_way, kills=[4.0]) == ([], [under_way[0]])
    assert verifier.paid_again([call(1.0, None, "reserved"), call(5.0, 6.0)], kills=[])[1] == []
    assert verifier.paid_again([call(1.0, 2.0, "unsure"), call(5.0, 6.0)], kills=[])[1] == []


def test_a_free_call_and_another_alias_are_not_paid_again() -> None:
    """A free call, and a call for another alias, is no repeat."""
    calls = [call(1.0, 2.0, "free"), call(5.0, 6.0), call(1.0, 2.0, alias="p:2")]
    assert verifier.paid_again(calls, kills=[]) == ([], [])


def test_a_fact_that_the_crm_holds_twice_is_found() -> None:
    """The same text twice in one lead is found, and an unknown lead, unless its creation is unconfirmed."""
    evidence = Evidence(
        messages=[{"lead": "1", "body": "x"}, {"lead": "1", "body": "x"}, {"lead": "2", "body": "x"}],
        leads=[{"id": "crm-1"}, {"id": "crm-2"}, {"id": "crm-3"}],
        recorded_leads={"crm-1"},
        unconfirmed_leads=1,
    )
    assert verifier.written_twice(evidence) == 2


def test_recovery_is_the_longest_time_from_a_repair_to_the_first_event() -> None:
    """A repair that was undone before an event came does not count by itself."""
    events = [event("1", at=9.0), event("2", at=12.0), event("3", at=31.5)]
    assert verifier.recovery(events, mended=[10.0, 30.0, 31.0]) == 2.0
    assert verifier.recovery(events, mended=[40.0]) is None
