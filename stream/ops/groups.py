"""Who is in a consumer group now; some things may only be done to a group without members."""

from __future__ import annotations

import stamina
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from stream.domain.errors import StopError

COORDINATOR_TIMEOUT_S = (
    10.0  # seconds; a broker that never had a group makes room for groups when it is first asked for one
)


@stamina.retry(on=GroupCoordinatorNotAvailableError, timeout=COORDINATOR_TIMEOUT_S, attempts=None)
async def members(admin: AIOKafkaAdminClient, group: str) -> list[str]:
    """The group's members, by the name of a static member and its host; clients' names are all alike."""
    return [
        f"{member[0]} at {member[2]}"  # the id begins with the name of a static member
        for answer in await admin.describe_consumer_groups([group])
        for one in answer.groups
        for member in one[5]
    ]


async def must_be_empty(admin: AIOKafkaAdminClient, group: str) -> None:
    """Raise StopError with the members' names while a group lives."""
    alive = await members(admin, group)
    if alive:
        raise StopError(
            f"{group} is alive, stop it first (a worker with WORKER_INSTANCE_ID is a member for 10 s after its end):"
            f" {'; '.join(alive)}"
        )
