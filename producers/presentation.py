"""How a sender presents its secret: its place in the request, and the answer to a sender without it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import assert_never

from aiohttp import hdrs, web

REALM = 'Basic realm="lead-stream", charset="UTF-8"'


@dataclass(frozen=True, slots=True)
class HeaderOrUrl:
    """A header. ``parameter``: one of the URL for senders that can't set headers; None: only the header counts.

    URLs are logged by proxies, so a source whose sender sets headers has no parameter.
    """

    header: str
    parameter: str | None = None


@dataclass(frozen=True, slots=True)
class BasicAuth:
    """HTTP Basic (RFC 7617); the configured secret is ``user:password``."""


@dataclass(frozen=True, slots=True)
class BodyField:
    """A field of the body. So the body is read before the secret is verified."""

    name: str


InHead = HeaderOrUrl | BasicAuth
Presentation = InHead | BodyField


def presented(presentation: InHead, request: web.BaseRequest) -> str | None:
    """The secret in the head of a request; None if there is none."""
    match presentation:
        case HeaderOrUrl():
            token = request.headers.get(presentation.header)
            if token is None and presentation.parameter is not None:
                return request.query.get(presentation.parameter)
            return token
        case BasicAuth():
            return _basic(request.headers.get(hdrs.AUTHORIZATION, ""))
        case _:
            assert_never(presentation)


def refusal(presentation: Presentation) -> tuple[str, dict[str, str]]:
    """The message and the headers for a sender with a wrong secret or none."""
    match presentation:
        case HeaderOrUrl():
            in_url = f", or {presentation.parameter} in the URL" if presentation.parameter is not None else ""
            return f"wrong or missing secret; header {presentation.header}{in_url}", {}
        case BasicAuth():
            return "wrong or missing credentials; HTTP Basic", {hdrs.WWW_AUTHENTICATE: REALM}
        case BodyField():
            return f"wrong or missing {presentation.name}", {}
        case _:
            assert_never(presentation)


def guessable_part(presentation: Presentation, secret: str) -> str:
    """The part of a configured secret that an attacker has to guess. Its length is the strength of the secret."""
    match presentation:
        case HeaderOrUrl() | BodyField():
            return secret
        case BasicAuth():
            return secret.partition(":")[2]
        case _:
            assert_never(presentation)


def is_well_formed(presentation: Presentation, secret: str) -> bool:
    """Whether a sender can present a configured secret. HTTP Basic needs ``user:password``."""
    match presentation:
        case HeaderOrUrl() | BodyField():
            return True
        case BasicAuth():
            user, _, password = secret.partition(":")
            return bool(user and password)
        case _:
            assert_never(presentation)


def _basic(header: str) -> str | None:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:  # no base64, or no UTF-8
        return None
