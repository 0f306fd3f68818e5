"""The Grupo OLX webhook (ZAP, VivaReal, OLX): HTTP Basic, one lead in a body, an answer within 5 seconds."""

from __future__ import annotations

from producers.http_error import HttpError
from producers.items import Part
from producers.limits import KIB
from producers.presentation import BasicAuth
from producers.sources import single
from producers.sources.endpoint import PREFIX, Body, Endpoint, Operation
from producers.sources.parts import part_of
from stream.domain.sources.lead import Source
from stream.domain.typed_text import text_of

LISTING = "clientListingId"
# They take any 2xx for a match with a property. The dead letter can be redriven: the lead itself is a good one.
NO_LISTING = "the advertiser's code of the property is required"


def split(body: bytes) -> Body:
    """The lead. Raises HttpError when the body is no JSON object."""
    try:
        lead = part_of(body.strip(), strict=True)
    except (ValueError, RecursionError):
        raise HttpError(400, "not JSON") from None
    if not lead.fault:
        if not isinstance(lead.payload, dict):
            raise HttpError(400, single.NO_OBJECT)
        if not text_of(lead.payload.get(LISTING)):
            lead = Part(lead.raw, lead.payload, NO_LISTING, LISTING)
    return None, iter((lead,))


ENDPOINT = Endpoint(
    source=Source.GRUPO_OLX,
    path=f"{PREFIX}grupo-olx",
    setting="grupo_olx_credentials",
    presentation=BasicAuth(),
    largest_body=64 * KIB,
    split=split,
    answer=single.answer,
    operation=Operation(
        summary="One lead of ZAP, VivaReal or OLX",
        component="GrupoOlxLead",
        ok=single.OK,
        unprocessable=single.UNPROCESSABLE,
        extra={LISTING: {"description": "The advertiser's own code of the property; a lead without it is refused."}},
    ),
    answer_seconds=4.0,  # they wait 5 s
)
