"""The hash of Kafka's default partitioner: murmur2, as in the Java client. All clients must agree on it.

aiokafka's implementation reads a key byte by byte and takes 2.5 times as long. A test compares the two.
"""

from __future__ import annotations

from struct import unpack

SEED = 0x9747B28C
FACTOR = 0x5BD1E995
MASK_32 = 0xFFFFFFFF


def murmur2(key: bytes) -> int:
    """The murmur2 hash of ``key`` as an unsigned 32-bit integer."""
    tail = len(key) & 3
    hashed = SEED ^ len(key)
    for word in unpack(f"<{len(key) >> 2}I", key[: len(key) - tail]):
        mixed = word * FACTOR & MASK_32
        hashed = (hashed * FACTOR ^ (mixed ^ mixed >> 24) * FACTOR) & MASK_32
    if tail:
        hashed = (hashed ^ int.from_bytes(key[-tail:], "little")) * FACTOR & MASK_32
    hashed = (hashed ^ hashed >> 13) * FACTOR & MASK_32
    return hashed ^ hashed >> 15
