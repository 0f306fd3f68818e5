"""Writes a record with a header name that is not UTF-8, as clients in C can."""

from __future__ import annotations

import struct

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

MARK, ODD = b"MARK", b"\xff\xfe\xfd\xfc"
CRC_AT, CRC_FROM = 17, 21  # in a record batch: where its checksum stands, and from where it counts


async def send_odd_header(producer: AIOKafkaProducer, topic: str, partition: int, *values: bytes) -> None:
    """Send one batch in which the second of ``values`` has the header. ``producer`` must not be idempotent."""
    batch = producer.create_batch()
    for number, value in enumerate(values):
        headers = [(MARK.decode(), b"1")] if number == 1 else []
        batch.append(timestamp=None, key=b"key", value=value, headers=headers)
    batch.close()
    whole = bytearray(batch._build()).replace(MARK, ODD)  # noqa: SLF001 - no client of ours would write it
    whole[CRC_AT:CRC_FROM] = struct.pack(">I", calc_crc32c(memoryview(bytes(whole[CRC_FROM:]))))
    batch._buffer = whole  # noqa: SLF001
    await (await producer.send_batch(batch, topic, partition=partition))
