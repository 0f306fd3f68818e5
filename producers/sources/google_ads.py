"""The webhook of Google Ads lead forms. Google does not sign its requests; its key is in the body."""

from __future__ import annotations

from producers.limits import KIB
from producers.presentation import BodyField
from producers.sources import single
from producers.sources.endpoint import PREFIX, Endpoint, Operation, SplitBody
from stream.domain.sources.lead import Source

KEY_FIELD = "google_key"


def split(body: bytes) -> SplitBody:
    """The key and the form. Raises HttpError when the body is not a JSON object."""
    key, form = single.pop_field(body, KEY_FIELD)
    return key, iter((form,))


# Google expects an empty object, reads ``message`` of a 4xx, and retries after a 5xx.
ENDPOINT = Endpoint(
    source=Source.GOOGLE_ADS,
    path=f"{PREFIX}google-ads",
    setting="google_ads_key",
    presentation=BodyField(KEY_FIELD),
    max_body_bytes=64 * KIB,
    split=split,
    answer=single.answer,
    operation=Operation(
        summary="One Google Ads lead form; the key is in the body",
        component="GoogleLead",
        ok=single.OK,
        unprocessable=single.UNPROCESSABLE,
        extra={KEY_FIELD: {"type": "string"}},
    ),
    is_required=True,
)
