"""The partitioner: all Kafka clients must agree on the partition of a key."""

from __future__ import annotations

from aiokafka.partitioner import murmur2 as theirs
from hypothesis import given
from hypothesis import strategies as st

from stream.kafka.partitioner import murmur2


@given(st.binary(max_size=300))
def test_the_hash_is_that_of_other_clients(key: bytes) -> None:
    """Keys of any length have the hash that other clients compute."""
    assert murmur2(key) == theirs(key) & 0xFFFFFFFF
