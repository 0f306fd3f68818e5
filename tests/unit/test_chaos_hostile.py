"""The hostile records have the effect that their kind names."""

from __future__ import annotations

import random

import pytest

from stream.domain.errors import PoisonError
from stream.domain.leads import decode_webhook
from stream.local.people import population
from tests.chaos.hostile import EXPENSIVE, KINDS, RARE, Writer

PEOPLE = population(5, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_only_dead_records_can_not_be_read(kind: str) -> None:
    """A record with ``is_dead`` raises PoisonError, and no other one does."""
    message = KINDS[kind](Writer(random.Random(1), PEOPLE, 8))
    try:
        decode_webhook(message.value)
    except PoisonError:
        assert message.is_dead
    else:
        assert not message.is_dead


def test_every_kind_is_among_them() -> None:
    """Rare kinds occur too, and the same seed gives the same records."""
    count = RARE * len(EXPENSIVE)
    first, again = (list(Writer(random.Random(3), PEOPLE, 8).messages(count)) for _ in range(2))
    assert {message.kind for message in first} == set(KINDS)
    assert [message.kind for message in first] == [message.kind for message in again]
    assert [message.partition for message in first] == [message.partition for message in again]
