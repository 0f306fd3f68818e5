"""What an HTTP call's failure means: whether it was carried out, and whether to ask again."""

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

TOO_MANY = 429
KNOWN_STATUSES = frozenset(int(status) for status in HTTPStatus)
UNEXPECTED = 300  # and above: a redirect is as unexpected as an error
CONNECT_LIMIT = 5.0  # seconds until there is a connection; what ends before that was not sent

# A connection that the other side closes while it idles fails the next call in a way that can't be told from a
# reset after the request was carried out. So every call has a connection of its own.
# Nor is a compressed answer asked for: it would be unpacked within limits (``body``), and no answer is that large.
HEADERS = {"Connection": "close", "Accept-Encoding": "identity"}
NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ClientConnectorCertificateError, aiohttp.ConnectionTimeoutError)


def partner_session() -> aiohttp.ClientSession:
    """A session without a limit of its own, which is 100 connections: how many calls go at once is for the guards.

    It keeps no cookies: a partner could fill the memory with them.
    """
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar())


class ConnectionLostError(aiohttp.ClientError):
    """The connection broke after the request may have been sent."""


@asynccontextmanager
async def sent_once(
    partner: str, session: aiohttp.ClientSession, method: str, url: URL, *, seconds: float, **options: Any
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send one request, once, within ``seconds``. ``options`` are aiohttp's.

    Raises PartnerUnavailableError: ``billed`` "no" where nothing was sent, "unsure" where it may have been.
    """
    options["headers"] = {**HEADERS, **options.get("headers", {})}
    timeout = aiohttp.ClientTimeout(total=seconds, connect=CONNECT_LIMIT)
    async with (
        partner_errors(partner),
        session.request(
            method, url, timeout=timeout, allow_redirects=False, middlewares=(_never_again,), **options
        ) as response,
    ):
        metrics.PARTNER_CALLS.labels(partner, status_label(response.status)).inc()
        yield response


def status_label(status: int) -> str:
    """A status as a metric's label: a partner can't make labels of whatever numbers it likes."""
    return str(status) if status in KNOWN_STATUSES else f"other {status // 100}xx"


async def _never_again(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a GET once more after a reset, as it does by itself: the first may be billed."""
    try:
        return await send(request)
    except NEVER_SENT:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise ConnectionLostError(type(error).__name__) from None


@asynccontextmanager
async def partner_errors(partner: str) -> AsyncIterator[None]:
    """Turn aiohttp's errors into ours. Their text may hold the URL, which may hold a token: it is dropped."""
    try:
        yield
    except NEVER_SENT as error:
        metrics.PARTNER_CALLS.labels(partner, "unreachable").inc()
        raise PartnerUnavailableError(f"{partner}: {type(error).__name__}", billed=Billed.NO) from None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        metrics.PARTNER_CALLS.labels(partner, "failed").inc()
        raise PartnerUnavailableError(f"{partner}: {type(error).__name__}", billed=Billed.UNSURE) from None


def segment(base: URL, *parts: str) -> URL:
    """``base`` and one path segment a part: what a segment can't hold is percent-encoded, "/" and "+" too."""
    return URL("/".join([str(base).rstrip("/"), *(quote(part, safe="") for part in parts)]), encoded=True)


def judge_status(partner: str, response: aiohttp.ClientResponse) -> None:
    """Raise PartnerUnavailableError for a status that is a failure of the other side."""
    status = response.status
    if status >= UNEXPECTED:
        wait = retry_after(response.headers.get("Retry-After", ""), datetime.now(UTC))
        billed = Billed.NO if status == TOO_MANY else Billed.UNSURE
        raise PartnerUnavailableError(f"{partner}: status {status_label(status)}", billed=billed, retry_after=wait)


def retry_after(text: str, now: datetime) -> float | None:
    """Seconds that a ``Retry-After`` asks for, as seconds or as a date; None where it is missing or unreadable."""
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
