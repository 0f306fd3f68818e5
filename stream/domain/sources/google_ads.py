"""Google Ads lead forms: one webhook for each form that a person sends."""

from __future__ import annotations

from typing import Any

from stream.domain.forms import read_form
from stream.domain.instants import optional_instant
from stream.domain.sources.fields import ID_SCHEMA, required_id
from stream.domain.sources.lead import Lead, Source
from stream.domain.sources.spec import CreatedInCrm, SourceSpec

PAYLOAD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["lead_id"],
    "properties": {
        "lead_id": ID_SCHEMA,
        "lead_submit_time": {
            "description": "When the form was sent, as updated_at; what can't be read counts as not given."
        },
        "is_test": {"description": "true: answered, never billed, never sent to the CRM."},
        "user_column_data": {
            "type": ["array", "null"],
            "items": {"type": "object", "description": "column_id, column_name, string_value."},
        },
    },
}


def read_lead(payload: dict[str, Any]) -> Lead:
    """Read a Google lead form; raises PoisonError."""
    form = read_form(payload.get("user_column_data"))
    return Lead(
        source=Source.GOOGLE_ADS,
        id=required_id(payload.get("lead_id"), "lead_id"),
        updated_at=optional_instant(payload.get("lead_submit_time")),
        hook_action=None,
        name=form.name,
        phone=form.phone,
        email=form.email,
        cpf=form.cpf,
        product=None,
        is_test=payload.get("is_test") is True,
        answers=form.answers,
    )


def identity(lead: Lead) -> str:
    """The lead's id: a form is sent once."""
    return f"google_ads/{lead.id}"


SPEC = SourceSpec(
    source=Source.GOOGLE_ADS,
    id_field="lead_id",
    read=read_lead,
    identity=identity,
    crm=CreatedInCrm(answers_heading="RESPOSTAS DO FORMULÁRIO"),
    needs_instant=False,
    payload_schema=PAYLOAD_SCHEMA,
)
