"""Replay: resets the offsets of one of our consumer groups while its members are stopped.

A plan is made and shown first. A consumer with manually assigned partitions then commits the new offsets, which the
broker refuses while the group has members.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from stream.domain.errors import StopError
from stream.kafka.clients import consumer_options, start_client
from stream.ops.groups import members, must_be_empty
from stream.settings import Settings
from stream.topics import GROUPS, WORKER_GROUP


@dataclass(frozen=True, slots=True)
class Bounds:
    """The offsets of a partition and of the group in it; ``committed`` is None if the group has not committed."""

    partition: int
    earliest: int
    latest: int
    committed: int | None

    @property
    def current(self) -> int:
        """The offset that the group reads next."""
        return self.committed if self.committed is not None else self.earliest


@dataclass(frozen=True, slots=True)
class Move:
    """One partition of a plan: the group's offset changes from ``start`` to ``to``.

    ``records``: number of offsets from ``to`` to the end. ``removed``: requested records that retention has removed.
    """

    partition: int
    start: int
    to: int
    records: int
    removed: int

    @property
    def skipped(self) -> int:
        """Records that the group has not read yet, and would never read."""
        return max(self.to - self.start, 0)


class Target(Protocol):
    """Computes the offset that a partition is reset to; None leaves it unchanged."""

    def of(self, bounds: Bounds) -> int | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Shift:
    """Move by a number of records; a negative number moves back."""

    by: int

    def of(self, bounds: Bounds) -> int | None:
        """Relative to the group's present offset."""
        return bounds.current + self.by


@dataclass(frozen=True, slots=True)
class Absolute:
    """Reset every partition to one offset."""

    offset: int

    def of(self, bounds: Bounds) -> int | None:
        """The same in every partition."""
        del bounds
        return self.offset


@dataclass(frozen=True, slots=True)
class PerPartition:
    """Reset partitions to one offset each; partitions that are not named do not change."""

    offsets: dict[int, int]

    def of(self, bounds: Bounds) -> int | None:
        """The offset of this partition, if it is named."""
        return self.offsets.get(bounds.partition)


@dataclass(frozen=True, slots=True)
class Earliest:
    """Reset to offset 0; the plan says how many of the records retention has removed."""

    def of(self, bounds: Bounds) -> int | None:
        """Offset 0."""
        del bounds
        return 0


def plan(bounds: Sequence[Bounds], target: Target, partitions: frozenset[int] | None = None) -> list[Move]:
    """Compute the moves. Each stays within the offsets of its partition and counts the removed records.

    Raises StopError for a partition that the topic does not have.
    """
    named = partitions or frozenset(target.offsets if isinstance(target, PerPartition) else ())
    unknown = named - {one.partition for one in bounds}
    if unknown:
        raise StopError(f"there is no partition {', '.join(map(str, sorted(unknown)))}")
    moves = []
    for one in bounds:
        wanted = target.of(one)
        if wanted is None or (partitions is not None and one.partition not in partitions):
            continue
        to = min(max(wanted, one.earliest), one.latest)
        moves.append(
            Move(one.partition, one.current, to, max(one.latest - to, 0), max(one.earliest - max(wanted, 0), 0))
        )
    return moves


def max_cost(group: str, moves: Sequence[Move], settings: Settings) -> Decimal:
    """The most that reading a plan's records can cost, in the currency of the prices: as if every contact were unknown.

    A lead may need two Diretrix calls (phone and e-mail) and one call of the Work API. Only the worker's group pays.
    """
    if group != WORKER_GROUP:
        return Decimal(0)
    return sum(move.records for move in moves) * (2 * settings.diretrix_price + settings.work_api_price)


def to_csv(group: str, moves: Sequence[Move]) -> str:
    """A plan as CSV text that ``from_csv`` can read."""
    text = io.StringIO()
    writer = csv.DictWriter(text, ["group", *asdict(Move(0, 0, 0, 0, 0))], lineterminator="\n")
    writer.writeheader()
    writer.writerows({"group": group, **asdict(move)} for move in moves)
    return text.getvalue()


def from_csv(text: str, group: str) -> PerPartition:
    """Read an exported plan. Raises StopError if ``text`` is no plan or is a plan for another group."""
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
        offsets = {int(row["partition"]): int(row["to"]) for row in rows}
        groups = {row["group"] for row in rows}
    except (KeyError, ValueError, TypeError):
        raise StopError("not an exported plan: it needs the columns group, partition and to") from None
    if groups != {group}:
        raise StopError(f"the plan is for {', '.join(sorted(groups)) or 'no group'}, not for {group}")
    return PerPartition(offsets)


class Replay:
    """Reads the bounds of a group and resets its offsets."""

    def __init__(self, admin: AIOKafkaAdminClient, settings: Settings, group: str) -> None:
        self._admin = admin
        self._settings = settings
        self._group = group
        self._topic = GROUPS[group].name

    async def members(self) -> list[str]:
        """The group's present members."""
        return await members(self._admin, self._group)

    async def bounds(self) -> list[Bounds]:
        """The bounds of each partition."""
        async with _assigned(self._settings, self._group, self._topic) as consumer:
            partitions = sorted(consumer.assignment())
            earliest = await consumer.beginning_offsets(partitions)
            latest = await consumer.end_offsets(partitions)
            return [
                Bounds(one.partition, earliest[one], latest[one], await consumer.committed(one)) for one in partitions
            ]

    async def offsets_at(self, instant: datetime) -> PerPartition:
        """The first offset of each partition at or after ``instant``, by the broker's clock; its end if none is."""
        async with _assigned(self._settings, self._group, self._topic) as consumer:
            partitions = sorted(consumer.assignment())
            times = await consumer.offsets_for_times(dict.fromkeys(partitions, int(instant.timestamp() * 1000)))
            latest = await consumer.end_offsets(partitions)
            return PerPartition(
                {
                    one.partition: found.offset if (found := times[one]) is not None else latest[one]
                    for one in partitions
                }
            )

    async def execute(self, moves: Sequence[Move], *, skip_unread: bool = False) -> None:
        """Commit a plan. Raises StopError with the members' names if the group has members.

        A plan that skips unread records loses them, so it is refused unless ``skip_unread``.
        """
        skipped = {move.partition: move.skipped for move in moves if move.skipped}
        if skipped and not skip_unread:
            raise StopError(
                f"{sum(skipped.values())} unread records would be skipped and never read, in partition"
                f" {', '.join(map(str, skipped))}. Choose an earlier target or other --partitions, or --skip-unread"
            )
        await must_be_empty(self._admin, self._group)
        if not moves:
            return
        async with _assigned(self._settings, self._group, self._topic) as consumer:
            await consumer.commit({TopicPartition(self._topic, move.partition): move.to for move in moves})


class _assigned:  # noqa: N801 - used as a function
    """A consumer with all partitions of a topic assigned manually: it does not join ``group`` but can commit for it."""

    def __init__(self, settings: Settings, group: str, topic: str) -> None:
        self._consumer = AIOKafkaConsumer(**consumer_options(settings), group_id=group, enable_auto_commit=False)
        self._settings = settings
        self._topic = topic

    async def __aenter__(self) -> AIOKafkaConsumer:
        try:
            await start_client(self._consumer, self._settings)
            await self._consumer._client._wait_on_metadata(self._topic)  # noqa: SLF001 - aiokafka has no public way to wait
        except BaseException:
            await self._consumer.stop()
            raise
        partitions = self._consumer.partitions_for_topic(self._topic) or set()
        self._consumer.assign([TopicPartition(self._topic, partition) for partition in sorted(partitions)])
        return self._consumer

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()


def parse_duration(text: str) -> timedelta:
    """Read an ISO 8601 duration such as PT2H30M or P1D. Raises ValueError."""
    found = re.fullmatch(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?", text.strip().upper())
    if found is None or not any(found.groups()):
        raise ValueError("not a duration: write PT2H, PT30M or P1D")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
