"""Sends one request to a partner, and says of each failure whether the request may have been billed."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from stream import metrics
from stream.domain.errors import Billed, PartnerUnavailableError

TOO_MANY_REQUESTS = 429
KNOWN_STATUSES = frozenset(int(status) for status in HTTPStatus)
FIRST_UNEXPECTED_STATUS = 300  # a redirect is as unexpected as an error
CONNECT_TIMEOUT_S = 5.0  # a request without a connection was not sent

# If the partner closes an idle connection, the next call on it fails like a call that was reset after it was carried
# out. So every call has its own connection.
# Answers are small, so no compressed answer is asked for.
REQUEST_HEADERS = {"Connection": "close", "Accept-Encoding": "identity"}
NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ClientConnectorCertificateError, aiohttp.ConnectionTimeoutError)


def partner_session() -> aiohttp.ClientSession:
    """Return a session without aiohttp's limit of 100 connections: the guards limit the calls.

    It stores no cookies, with which a partner could fill the memory.
    """
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())


class ConnectionLostError(aiohttp.ClientError):
    """The connection broke after the request may have been sent."""


@asynccontextmanager
async def sent_once(
    partner: str, session: aiohttp.ClientSession, method: str, url: URL, *, seconds: float, **options: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send one request exactly once, within ``seconds``. ``options`` are aiohttp's.

    Raise PartnerUnavailableError with ``billed`` "no" if the request was not sent, "unsure" if it may have been.
    """
    options["headers"] = {**REQUEST_HEADERS, **options.get("headers", {})}
    timeout = aiohttp.ClientTimeout(total=seconds, connect=CONNECT_TIMEOUT_S)
    async with (
        partner_errors(partner),
        session.request(
            method, url, timeout=timeout, allow_redirects=False, middlewares=(_no_resend,), **options
        ) as response,
    ):
        metrics.PARTNER_CALLS.labels(partner, status_label(response.status)).inc()
        yield response


def status_label(status: int) -> str:
    """Return a status as a metric label. Unknown statuses share labels: a partner can't create new ones at will."""
    return str(status) if status in KNOWN_STATUSES else f"other {status // 100}xx"


async def _no_resend(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from resending a GET after a reset: the first one may have been billed."""
    try:
        return await send(request)
    except NEVER_SENT:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionLostError(type(error).__name__) from None


@asynccontextmanager
async def partner_errors(partner: str) -> AsyncIterator[None]:
    """Turn aiohttp's errors into ours, without their text: it may contain the URL, and the URL a token."""
    try:
        yield
    except NEVER_SENT as error:
        metrics.PARTNER_CALLS.labels(partner, "unreachable").inc()
        raise PartnerUnavailableError(f"{partner}: {type(error).__name__}", billed=Billed.NO) from None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        metrics.PARTNER_CALLS.labels(partner, "failed").inc()
        raise PartnerUnavailableError(f"{partner}: {type(error).__name__}", billed=Billed.UNSURE) from None


def with_segments(base: URL, *parts: str) -> URL:
    """Append each part to ``base`` as one path segment. Reserved characters, "/" and "+" too, are percent-encoded."""
    return URL("/".join([str(base).rstrip("/"), *(quote(part, safe="") for part in parts)]), encoded=True)


def raise_for_status(partner: str, response: aiohttp.ClientResponse) -> None:
    """Raise PartnerUnavailableError if the status is not a success. The caller has handled the expected ones."""
    status = response.status
    if status >= FIRST_UNEXPECTED_STATUS:
        wait = retry_after(response.headers.get("Retry-After", ""), datetime.now(UTC))
        billed = Billed.NO if status == TOO_MANY_REQUESTS else Billed.UNSURE
        raise PartnerUnavailableError(f"{partner}: status {status_label(status)}", billed=billed, retry_after=wait)


def retry_after(text: str, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` (seconds or a date) asks for, None if it is missing or unreadable."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = _seconds_until(text, now)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(date: str, now: datetime) -> float:
    try:
        then = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return math.nan
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now.timestamp()
