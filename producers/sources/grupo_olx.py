"""The webhook of Grupo OLX (ZAP, VivaReal, OLX): HTTP Basic, one lead in a body, an answer within 5 seconds."""

from __future__ import annotations

from producers.http_error import HttpError
from producers.limits import KIB
from producers.presentation import BasicAuth
from producers.records import RawWebhook
from producers.sources import single
from producers.sources.endpoint import PREFIX, Endpoint, Operation, SplitBody
from producers.sources.raw_webhook import raw_webhook_of
from stream.domain.sources.lead import Source
from stream.domain.typed_text import text_of

LISTING_FIELD = "clientListingId"
# Grupo OLX takes any 2xx for a match with a property, so such a lead is refused. The reader accepts it, so its dead
# letter can be redriven.
MISSING_LISTING = "the advertiser's code of the property is required"


def split(body: bytes) -> SplitBody:
    """No secret, which is in the head, and the lead. Raises HttpError when the body is not a JSON object."""
    try:
        lead = raw_webhook_of(body.strip(), strict=True)
    except (ValueError, RecursionError):
        raise HttpError(400, "not JSON") from None
    if not lead.fault:
        if not isinstance(lead.payload, dict):
            raise HttpError(400, single.NOT_AN_OBJECT)
        if not text_of(lead.payload.get(LISTING_FIELD)):
            lead = RawWebhook(lead.raw, lead.payload, MISSING_LISTING, LISTING_FIELD)
    return None, iter((lead,))


ENDPOINT = Endpoint(
    source=Source.GRUPO_OLX,
    path=f"{PREFIX}grupo-olx",
    setting="grupo_olx_credentials",
    presentation=BasicAuth(),
    max_body_bytes=64 * KIB,
    split=split,
    answer=single.answer,
    operation=Operation(
        summary="One lead of ZAP, VivaReal or OLX",
        component="GrupoOlxLead",
        ok=single.OK,
        unprocessable=single.UNPROCESSABLE,
        extra={
            LISTING_FIELD: {"description": "The advertiser's own code of the property; a lead without it is refused."}
        },
    ),
    answer_seconds=4.0,  # Grupo OLX waits 5 s
)
