"""Takes static members out of a consumer group, at once.

A worker with a name of its own (``WORKER_INSTANCE_ID``) sends no LeaveGroup when it ends, so that a restart
keeps its partitions and its table. Who scales down wants the opposite: without this the others wait for the
session to run out. aiokafka 0.14 speaks the versions of LeaveGroup that know no names; version 3 does.
"""

from __future__ import annotations

from collections.abc import Sequence

import stamina
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
    UnknownMemberIdError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int16, Int32, Schema, String

COORDINATOR_TIMEOUT_S = 10.0  # seconds; a coordinator that moves or wakes up is asked again
RETRIABLE_ERRORS = (GroupCoordinatorNotAvailableError, GroupLoadInProgressError, NotCoordinatorForGroupError)


class _LeaveGroupResponse(Response):  # type: ignore[misc]
    API_KEY = 13
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("error_code", Int16),
        (
            "members",
            Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")), ("error_code", Int16)),
        ),
    )


class _LeaveGroupRequest(RequestStruct):  # type: ignore[misc]
    API_KEY = 13
    API_VERSION = 3
    RESPONSE_TYPE = _LeaveGroupResponse
    SCHEMA = Schema(
        ("group", String("utf-8")),
        ("members", Array(("member_id", String("utf-8")), ("group_instance_id", String("utf-8")))),
    )


class _LeaveGroup(Request[_LeaveGroupRequest]):  # type: ignore[misc]
    API_KEY = 13

    def __init__(self, group: str, members: Sequence[tuple[str, str | None]]) -> None:
        """``members``: each by its id, or by "" and the name of a static member."""
        self._group = group
        self._members = list(members)

    def build(self, request_struct_class: type[_LeaveGroupRequest]) -> _LeaveGroupRequest:
        return request_struct_class(self._group, self._members)


async def remove_members(admin: AIOKafkaAdminClient, group: str, names: Sequence[str]) -> dict[str, bool]:
    """Remove static members by their names; tells of each whether it was one. Their partitions move at once.

    A member that is alive is not hurt: it joins again with its next heartbeat. Raises KafkaError or OSError when
    the broker refuses or can't be asked.
    """
    return {str(name): was_member for _, name, was_member in await leave(admin, group, [("", name) for name in names])}


@stamina.retry(on=RETRIABLE_ERRORS, timeout=COORDINATOR_TIMEOUT_S, attempts=None)
async def leave(
    admin: AIOKafkaAdminClient, group: str, members: Sequence[tuple[str, str | None]]
) -> list[tuple[str, str | None, bool]]:
    """Remove members, each given by its id, or by "" and its name; returns with each whether it was one."""
    coordinator = await admin.find_coordinator(group)
    answer = await admin._send_request_to_node(coordinator, _LeaveGroup(group, members))  # noqa: SLF001 - as its own methods do
    _check(answer.error_code, group)
    left = []
    for member, name, code in answer.members:
        was_member = for_code(code) is not UnknownMemberIdError
        if was_member:
            _check(code, name or member)
        left.append((member, name, was_member))
    return left


def _check(code: int, of: str) -> None:
    if code:
        raise for_code(code)(of)
