"""How many parked webhooks return for a partner that was down."""

from __future__ import annotations

from datetime import timedelta

import pytest

from stream.domain.availability import MAX_HOLD, TRIAL_PAUSE_SECONDS, Availability, PartnerGate, partner_of
from stream.domain.parking import MAX_LATE


class World:
    """A partner whose state the test sets, and a clock."""

    def __init__(self) -> None:
        self.at = 1_000.0
        self.is_ = Availability.AVAILABLE
        self.gate = PartnerGate(lambda _: self.is_, lambda: self.at)

    def taken(self, wanted: int = 1_000) -> int:
        """How many of those who want to return may."""
        return sum(self.gate.take("diretrix") for _ in range(wanted))


@pytest.fixture
def world() -> World:
    return World()


def test_all_come_back_for_a_partner_that_can_be_asked(world: World) -> None:
    """If the partner can be asked there is no limit."""
    assert (world.gate.room("diretrix"), world.taken()) == (None, 1_000)


def test_none_comes_back_for_a_partner_that_is_down(world: World) -> None:
    """While the partner is down no webhook returns, however long that takes."""
    world.is_ = Availability.UNAVAILABLE
    for _ in range(100):
        assert (world.gate.room("diretrix"), world.taken()) == (0, 0)
        world.at += TRIAL_PAUSE_SECONDS


def test_one_webhook_tries_whether_a_partner_is_up(world: World) -> None:
    """If the trial fails, the next one is one webhook again. If it succeeds, all return."""
    for _ in range(3):
        world.is_ = Availability.TRIAL
        assert world.taken() == 1
        world.is_ = Availability.UNAVAILABLE
        assert world.taken() == 0
        world.at += TRIAL_PAUSE_SECONDS
    world.is_ = Availability.TRIAL
    assert world.taken() == 1
    world.is_ = Availability.AVAILABLE
    assert world.taken() == 1_000


def test_each_trial_without_a_result_doubles(world: World) -> None:
    """While another worker has the result, each trial lets twice as many return; ``room`` alone uses none."""
    world.is_ = Availability.TRIAL
    seen = []
    for _ in range(5):
        seen.append(world.taken())
        assert world.taken() == 0
        world.at += TRIAL_PAUSE_SECONDS
    assert seen == [1, 2, 4, 8, 16]
    world.gate.room("diretrix")
    world.at += 10 * TRIAL_PAUSE_SECONDS
    assert world.taken() == 32


def test_partners_do_not_wait_for_each_other() -> None:
    """Webhooks parked for one partner return while another one is down."""
    down = {"work": Availability.UNAVAILABLE}
    gate = PartnerGate(lambda name: down.get(name, Availability.AVAILABLE), lambda: 0.0)
    assert (gate.take("work"), gate.take("diretrix"), gate.take("")) == (False, True, True)


@pytest.mark.parametrize(
    ("reason", "partner"),
    [
        ("diretrix: the breaker is open", "diretrix"),
        ("work: status 503: odd", "work"),
        ("database: OSError", "database"),
        ("queue", ""),
        ("", ""),
    ],
)
def test_a_reason_names_its_partner(reason: str, partner: str) -> None:
    """The partner is the text before the colon; a text that is no partner can always be asked."""
    assert partner_of(reason) == partner


def test_webhooks_return_while_their_retry_headers_are_trusted() -> None:
    """MAX_HOLD is below MAX_LATE, or the age would be counted anew each time; a shorter hold is used."""
    assert MAX_HOLD < MAX_LATE
    assert PartnerGate(lambda _: Availability.TRIAL, lambda: 0.0, timedelta(days=1)).max_hold == MAX_HOLD
    assert PartnerGate(lambda _: Availability.TRIAL, lambda: 0.0, timedelta(minutes=1)).max_hold == timedelta(minutes=1)
