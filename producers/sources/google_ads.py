"""The Google Ads lead form webhook. Google does not sign: its key comes in the body."""

from __future__ import annotations

from producers.limits import KIB
from producers.presentation import BodyField
from producers.sources import single
from producers.sources.endpoint import PREFIX, Body, Endpoint, Operation
from stream.domain.sources.lead import Source

KEY_FIELD = "google_key"


def split(body: bytes) -> Body:
    """The key and the form. Raises HttpError when it is no JSON object."""
    key, form = single.without_field(body, KEY_FIELD)
    return key, iter((form,))


# Google wants an empty object, reads ``message`` of a 4xx, and tries again on 5xx.
ENDPOINT = Endpoint(
    source=Source.GOOGLE_ADS,
    path=f"{PREFIX}google-ads",
    setting="google_ads_key",
    presentation=BodyField(KEY_FIELD),
    largest_body=64 * KIB,
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
