"""What the producers know of one source's webhook. ``producers.sources`` is the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from producers.intake import Receipt
from producers.items import Part
from producers.presentation import Presentation
from stream.domain.sources.lead import Source

PREFIX = "/api/v1/webhooks/"
Body = tuple[object, Iterator[Part]]  # the secret that came in it (None: none did), and its webhooks
Answer = tuple[int, dict[str, Any], dict[str, str]]  # status, body, headers


@dataclass(frozen=True, slots=True)
class Operation:
    """What openapi.json says of an endpoint.

    ``component``: the name of the payload's schema. ``array_of``: the most payloads in a body that is an array, 0 for
    none. ``extra``: fields of the body beside the payload. ``ok`` and ``unprocessable``: the answers 200 and 422.
    """

    summary: str
    component: str
    ok: Mapping[str, Any]
    unprocessable: Mapping[str, Any]
    array_of: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One webhook.

    ``setting``: the field of ``Settings`` that holds its secrets. ``is_required``: whether the producers refuse to
    start without them; otherwise the webhook is not served then. ``largest_body``: bytes. ``split``: body -> secret and
    webhooks; raises HttpError. ``answer``: what the sender is told. ``answer_seconds``: from the head of the request
    to the answer, for a sender that does not wait as long as the other limits allow.
    """

    source: Source
    path: str
    setting: str
    presentation: Presentation
    largest_body: int
    split: Callable[[bytes], Body]
    answer: Callable[[Receipt], Answer]
    operation: Operation
    answer_seconds: float | None = None
    is_required: bool = False
