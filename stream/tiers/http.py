"""What an HTTP call's failure means: whether it was carried out, and whether to ask again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from stream import metrics
from stream.domain.errors import PartnerUnavailableError

TOO_MANY = 429
SERVER_ERRORS = 500


@asynccontextmanager
async def partner_errors(partner: str) -> AsyncIterator[None]:
    """Turn aiohttp's errors into ours. Their text may hold the URL, which may hold a token: it is dropped."""
    try:
        yield
    except aiohttp.ClientConnectorError as error:
        metrics.PARTNER_CALLS.labels(partner, "unreachable").inc()
        raise PartnerUnavailableError(f"{partner}: {type(error).__name__}", billed="no") from None
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        metrics.PARTNER_CALLS.labels(partner, "failed").inc()
        raise PartnerUnavailableError(f"{partner}: {type(error).__name__}", billed="unsure") from None


def judge_status(partner: str, response: aiohttp.ClientResponse) -> None:
    """Raise PartnerUnavailableError for a status that is a failure of the other side."""
    status = response.status
    metrics.PARTNER_CALLS.labels(partner, str(status)).inc()
    if status == TOO_MANY:
        raise PartnerUnavailableError(f"{partner}: status 429", billed="no", retry_after=retry_after(response))
    if status >= SERVER_ERRORS or status >= 300:  # noqa: PLR2004 - a redirect is as unexpected as an error
        raise PartnerUnavailableError(f"{partner}: status {status}", billed="unsure")


def retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds of ``Retry-After``, None when it is not there or a date."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.replace(".", "", 1).isdigit() else None


async def json_of(response: aiohttp.ClientResponse) -> Any:
    """The body as JSON, whatever its content type; ValueError when it is none."""
    return await response.json(content_type=None)
