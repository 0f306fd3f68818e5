"""The load of the chaos suite has the requested rate."""

from __future__ import annotations

import pytest

from stream.local.people import population
from tests.chaos.load import BEHIND, next_due, posts


@pytest.mark.parametrize("per_second", [5, 50, 1_000])
def test_so_many_webhooks_a_second_however_many_come_in_one_post(per_second: int) -> None:
    """The rate counts webhooks: a single Google lead does not take the time of a whole array."""
    due, webhooks = 0.0, 0
    for _, _, identities in posts(population(20, 1), 1_000, 20, 1, 0):
        webhooks += len(identities)
        due = next_due(due, len(identities), per_second, now=due)
    assert webhooks == 1_000
    assert due == pytest.approx(webhooks / per_second)


def test_what_was_held_up_is_made_up_for_but_not_all_at_once() -> None:
    """After a long outage only the last second's webhooks are posted at once."""
    assert next_due(10.0, 5, 50, now=100.0) == 100.0 - BEHIND
