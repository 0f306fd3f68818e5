"""The hostile messages are what they are called."""

from __future__ import annotations

import random

import pytest

from stream.domain.errors import PoisonError
from stream.domain.leads import decode_webhook
from stream.local.people import population
from tests.chaos.hostile import EXPENSIVE, KINDS, RARE, Writer

PEOPLE = population(5, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_called_dead_can_not_be_read(kind: str) -> None:
    """And only that: a kind that changed sides would prove nothing any more."""
    message = KINDS[kind](Writer(random.Random(1), PEOPLE, 8))
    try:
        decode_webhook(message.value)
    except PoisonError:
        assert message.is_dead
    else:
        assert not message.is_dead


def test_every_kind_is_among_them() -> None:
    """Rare kinds come too, and a seed gives the same again."""
    count = RARE * len(EXPENSIVE)
    first, again = (list(Writer(random.Random(3), PEOPLE, 8).messages(count)) for _ in range(2))
    assert {message.kind for message in first} == set(KINDS)
    assert [message.kind for message in first] == [message.kind for message in again]
    assert [message.partition for message in first] == [message.partition for message in again]
