"""How a sender presents its secret: where it stands in a request, and what a sender without it is told."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import assert_never

from aiohttp import hdrs, web

REALM = 'Basic realm="lead-stream", charset="UTF-8"'


@dataclass(frozen=True, slots=True)
class HeaderOrUrl:
    """A header, or a parameter of the subscribed URL for senders that can't set headers."""

    header: str
    parameter: str


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """HTTP Basic (RFC 7617); the configured secret is ``user:password``."""


@dataclass(frozen=True, slots=True)
class BodyField:
    """A field of the body: it is read before the sender has shown the secret."""

    name: str


InHead = HeaderOrUrl | BasicAuth
Presentation = InHead | BodyField


def presented(how: InHead, request: web.BaseRequest) -> str | None:
    """What the head of a request presents as the secret; None: nothing that could be one."""
    match how:
        case HeaderOrUrl():
            token = request.headers.get(how.header)
            return request.query.get(how.parameter) if token is None else token
        case BasicAuth():
            return _basic(request.headers.get(hdrs.AUTHORIZATION, ""))
        case _:
            assert_never(how)


def refusal(how: Presentation) -> tuple[str, dict[str, str]]:
    """The message and the headers for a sender with a wrong secret or none."""
    match how:
        case HeaderOrUrl():
            return f"wrong or missing secret; header {how.header}, or {how.parameter} in the URL", {}
        case BasicAuth():
            return "wrong or missing credentials; HTTP Basic", {hdrs.WWW_AUTHENTICATE: REALM}
        case BodyField():
            return f"wrong or missing {how.name}", {}
        case _:
            assert_never(how)


def guessable_part(how: Presentation, secret: str) -> str:
    """The part of a configured secret that an attacker has to guess: its length is the secret's strength."""
    match how:
        case HeaderOrUrl() | BodyField():
            return secret
        case BasicAuth():
            return secret.partition(":")[2]
        case _:
            assert_never(how)


def is_well_formed(how: Presentation, secret: str) -> bool:
    """Whether a configured secret can be presented at all: ``user:password`` for HTTP Basic."""
    match how:
        case HeaderOrUrl() | BodyField():
            return True
        case BasicAuth():
            user, _, password = secret.partition(":")
            return bool(user and password)
        case _:
            assert_never(how)


def _basic(header: str) -> str | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:  # no base64, or no UTF-8
        return None
