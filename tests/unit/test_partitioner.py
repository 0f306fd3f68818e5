"""Where keys lie: all clients must say the same."""

from __future__ import annotations

from aiokafka.partitioner import murmur2 as theirs
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.partitioner import murmur2


@given(st.binary(max_size=300))
def test_a_key_is_hashed_as_the_other_clients_hash_it(key: bytes) -> None:
    """Of any length: a contact lies where another system's client looks for it."""
    assert murmur2(key) == theirs(key) & 0xFFFFFFFF
