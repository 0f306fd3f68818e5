"""The description of one source's webhook. ``producers.sources`` is the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from producers.intake import Receipt
from producers.presentation import Presentation
from producers.records import RawWebhook
from stream.domain.sources.lead import Source

PREFIX = "/api/v1/webhooks/"
SplitBody = tuple[object, Iterator[RawWebhook]]  # the secret in the body (None: there is none), and its webhooks
Answer = tuple[int, dict[str, Any], dict[str, str]]  # status, body, headers


@dataclass(frozen=True, slots=True)
class Operation:
    """The part of openapi.json that describes an endpoint.

    ``component``: the name of the payload's schema. ``max_array_items``: payloads in a body that is an array; 0: the
    body is no array. ``extra``: fields of the body beside the payload. ``ok``, ``unprocessable``: the answers 200, 422.
    """

    summary: str
    component: str
    ok: Mapping[str, Any]
    unprocessable: Mapping[str, Any]
    max_array_items: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One webhook endpoint.

    ``setting``: the field of ``Settings`` that holds its secrets. ``is_required``: True, and the producers do not start
    without them; False, and the webhook is not served without them. ``split``: splits a body into secret and webhooks;
    raises HttpError. ``answer``: makes the answer from the receipt. ``answer_seconds``: the time from the head of the
    request to the answer, for a sender that waits less than the other limits allow.
    """

    source: Source
    path: str
    setting: str
    presentation: Presentation
    max_body_bytes: int
    split: Callable[[bytes], SplitBody]
    answer: Callable[[Receipt], Answer]
    operation: Operation
    answer_seconds: float | None = None
    is_required: bool = False
