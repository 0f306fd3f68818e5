"""Where Kafka's default partitioner puts a key: murmur2, as Java has it and every client must.

aiokafka's own takes a key apart byte by byte, in two and a half times the time (a test holds the two together).
"""

from __future__ import annotations

from struct import unpack

SEED = 0x9747B28C
FACTOR = 0x5BD1E995
MASK_32 = 0xFFFFFFFF  # 32 bits


def murmur2(key: bytes) -> int:
    """The hash, without a sign."""
    tail = len(key) & 3
    hashed = SEED ^ len(key)
    for word in unpack(f"<{len(key) >> 2}I", key[: len(key) - tail]):
        mixed = word * FACTOR & MASK_32
        hashed = (hashed * FACTOR ^ (mixed ^ mixed >> 24) * FACTOR) & MASK_32
    if tail:
        hashed = (hashed ^ int.from_bytes(key[-tail:], "little")) * FACTOR & MASK_32
    hashed = (hashed ^ hashed >> 13) * FACTOR & MASK_32
    return hashed ^ hashed >> 15
