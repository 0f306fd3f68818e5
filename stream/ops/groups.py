"""The members of a consumer group. Some operations require a group without members."""

from __future__ import annotations

import stamina
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError

from stream.domain.errors import StopError

COORDINATOR_TIMEOUT_S = 10.0  # a new broker creates its topic of groups at the first request


@stamina.retry(on=GroupCoordinatorNotAvailableError, timeout=COORDINATOR_TIMEOUT_S, attempts=None)
async def members(admin: AIOKafkaAdminClient, group: str) -> list[str]:
    """The group's members as "member id at host". A client id would not tell them apart."""
    return [
        f"{member[0]} at {member[2]}"  # the id begins with the name of a static member
        for answer in await admin.describe_consumer_groups([group])
        for one in answer.groups
        for member in one[5]
    ]


async def must_be_empty(admin: AIOKafkaAdminClient, group: str) -> None:
    """Raise StopError with the members' names if the group has members."""
    alive = await members(admin, group)
    if alive:
        raise StopError(
            f"{group} has members; stop them first"
            f" (a worker with WORKER_INSTANCE_ID is a member for 10 s after its end): {'; '.join(alive)}"
        )
