"""Reads records whose header names are not UTF-8.

Kafka defines header names as UTF-8, but neither the broker nor every client enforces it. aiokafka raises in the middle
of the batch at every fetch, so one such record would block its partition forever. This module reads the rest of the
batch again with aiokafka's Python parser and replaces invalid bytes by U+FFFD.

It uses private parts of aiokafka. The version is pinned, and ``tests/integration/test_header_names.py`` checks them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy

from stream.logs import get_logger

log = get_logger(__name__)


def tolerate_invalid_header_names() -> None:
    """Make every consumer of this process read such records."""
    fetcher.MemoryRecords, fetcher.PartitionRecords = _FetchedRecords, _PartitionRecords


class _FetchedRecords(MemoryRecords):  # type: ignore[misc]
    """Fetched records that keep their bytes, so that they can be read again."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class _PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    _records: Any

    def _unpack_records(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()
        except UnicodeDecodeError:
            log.warning("a header name is not UTF-8", partition=str(self._tp), offset=self.next_fetch_offset)
            self._records = _LenientBatches(self._records.data, self.next_fetch_offset)
            yield from super()._unpack_records()


class _LenientBatches(_MemoryRecordsPy):  # type: ignore[misc]
    def __init__(self, data: bytes, first: int) -> None:
        """Begin with the batch that contains the offset ``first``. aiokafka skips the records before it."""
        super().__init__(data)
        while self.has_next() and _LenientBatch(bytes(self._next_slice)).next_offset <= first:
            self._cache_next()

    def next_batch(self) -> Any:
        batch = _LenientBatch(bytes(self._next_slice))
        self._cache_next()
        return batch


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    _buffer: bytearray

    def __iter__(self) -> Any:
        self._maybe_uncompress()
        self._buffer = _LenientBuffer(self._buffer)
        return self


class _LenientBuffer(bytearray):
    """Bytes whose slices decode without an error. The parser decodes nothing but header names."""

    def __getitem__(self, index: Any) -> Any:
        item = super().__getitem__(index)
        return _LenientText(item) if isinstance(index, slice) else item


class _LenientText(bytes):
    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        del errors
        return super().decode(encoding, "replace")
