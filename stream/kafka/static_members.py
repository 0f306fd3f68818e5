"""Removes static members from a consumer group.

A static member (``WORKER_INSTANCE_ID``) sends no LeaveGroup request when it ends, so that it keeps its partitions and
its table across a restart. After scaling down that would delay the other members until its session expires. aiokafka
0.14 implements only versions of LeaveGroup that know no member names; version 3 does.
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

COORDINATOR_TIMEOUT_S = 10.0  # for retries while the group's coordinator moves or loads
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
        """``members``: each as (member id, None), or as ("", instance id) for a static member."""
        self._group = group
        self._members = list(members)

    def build(self, request_struct_class: type[_LeaveGroupRequest]) -> _LeaveGroupRequest:
        return request_struct_class(self._group, self._members)


async def remove_members(admin: AIOKafkaAdminClient, group: str, names: Sequence[str]) -> dict[str, bool]:
    """Remove static members by their names. Returns for each name whether it was a member.

    Their partitions move to other members at once. A member that is still running joins again with its next heartbeat.
    Raises KafkaError or OSError if the broker refuses or does not answer.
    """
    return {str(name): was_member for _, name, was_member in await leave(admin, group, [("", name) for name in names])}


@stamina.retry(on=RETRIABLE_ERRORS, timeout=COORDINATOR_TIMEOUT_S, attempts=None)
async def leave(
    admin: AIOKafkaAdminClient, group: str, members: Sequence[tuple[str, str | None]]
) -> list[tuple[str, str | None, bool]]:
    """Remove members, each given as (member id, None) or as ("", instance id).

    Returns each as (member id, instance id, whether it was a member).
    """
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
