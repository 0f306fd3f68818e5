"""Contact2Sale: the CRM's own webhooks, one for each change of one of its leads."""

from __future__ import annotations

from typing import Any

from stream.domain.instants import parse_instant, utc_isoformat
from stream.domain.sources.fields import ID_SCHEMA, optional_object, required_id, required_object
from stream.domain.sources.lead import Lead, Source
from stream.domain.sources.spec import ExistsInCrm, SourceSpec
from stream.domain.typed_text import phone_of, text_of, texts_of

PAYLOAD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["id", "attributes"],
    "properties": {
        "id": ID_SCHEMA,
        "hook_action": {"description": "on_create_lead, on_update_lead, on_close_lead."},
        "attributes": {
            "type": "object",
            "required": ["updated_at"],
            "properties": {
                "updated_at": {
                    "type": "string",
                    "minLength": 1,
                    "description": "RFC 3339, or YYYY-MM-DD HH:MM:SS[.ffffff] with +hhmm or without (UTC). "
                    "With the id, the delivery's identity.",
                },
                "customer": {
                    "anyOf": [{"type": "object"}, {"type": "null"}, {"type": "array", "maxItems": 0}],
                    "description": "name, email, phone, each optional, as typed.",
                },
                "product": {"description": "description, prop_ref, price."},
            },
        },
    },
}


def read_lead(payload: dict[str, Any]) -> Lead:
    """Read a C2S event; raises PoisonError."""
    attributes = required_object(payload.get("attributes"), "attributes")
    customer = optional_object(attributes.get("customer"), "attributes.customer")
    product = attributes.get("product")
    return Lead(
        Source.C2S,
        required_id(payload.get("id"), "id"),
        utc_isoformat(parse_instant(attributes.get("updated_at"), "attributes.updated_at")),
        text_of(payload.get("hook_action")) or None,
        text_of(customer.get("name")),
        phone_of(customer.get("phone")),
        texts_of(customer.get("email")),
        "",
        text_of(product.get("description")) or None if isinstance(product, dict) else None,
    )


def identity(lead: Lead) -> str:
    """Lead and instant. Raises ValueError for a lead without the instant: no reader makes one."""
    if lead.updated_at is None:
        raise ValueError("a C2S lead without its instant has no id")
    return f"c2s/{lead.id}/{lead.updated_at}"


SPEC = SourceSpec(
    source=Source.C2S,
    id_field="id",
    read=read_lead,
    identity=identity,
    crm=ExistsInCrm(closed_action="on_close_lead"),
    needs_instant=True,
    payload_schema=PAYLOAD_SCHEMA,
)
