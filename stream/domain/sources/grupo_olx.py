"""Grupo OLX (the portals ZAP, VivaReal and OLX): one webhook for each person who asks about a listing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from stream.domain.forms import MAX_ANSWER_CHARS, FormAnswer
from stream.domain.identity import MAX_PHONE_CHARS, Phone, is_placeholder
from stream.domain.instants import optional_instant
from stream.domain.phone_text import AREA_CODE, find_local
from stream.domain.sources.fields import ID_SCHEMA, required_id
from stream.domain.sources.lead import MAX_LEAD_MESSAGE_CHARS, Lead, Source
from stream.domain.sources.spec import CreatedInCrm, SourceSpec
from stream.domain.typed_text import BETWEEN_VALUES, phone_of, text_of, texts_of

GROUP = "Grupo OLX"  # the source in the CRM of a lead whose portal is not known
PORTAL = "Portal"
PORTALS = (("zap", "ZAP"), ("viva", "VivaReal"), ("olx", "OLX"))  # a part of ``leadOrigin``, the portal's name
TRANSACTIONS = {"SELL": "Venda", "RENT": "Aluguel"}
_AREA_CODE = re.compile(rf"0?({AREA_CODE})", re.ASCII)
_NO_DENIED_ALIASES: frozenset[str] = frozenset()

PAYLOAD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["originLeadId"],
    "properties": {
        "originLeadId": ID_SCHEMA,
        "clientListingId": {"description": "The advertiser's own code of the property."},
        "originListingId": {"description": "The portal's id of the listing."},
        "leadOrigin": {"description": "The portal: ZAP, VivaReal, OLX, or Grupo OLX."},
        "timestamp": {"description": "When the person wrote, as RFC 3339; what can't be read counts as not given."},
        "name": {},
        "email": {},
        "ddd": {"description": "The phone's area code."},
        "phone": {"description": "The phone without its area code."},
        "phoneNumber": {"description": "Both together."},
        "message": {"description": "What the person wrote."},
        "temperature": {"description": "How likely the portal thinks a deal is, such as Alta."},
        "transaction_type": {"description": "SELL or RENT."},
    },
}


def read_lead(payload: dict[str, Any]) -> Lead:
    """Read a lead; raises PoisonError. A field of the wrong type counts as not given."""
    return Lead(
        source=Source.GRUPO_OLX,
        id=required_id(payload.get("originLeadId"), "originLeadId"),
        updated_at=optional_instant(payload.get("timestamp")),
        hook_action=None,
        name=text_of(payload.get("name")),
        phone=_phone(payload),
        email=texts_of(payload.get("email")),
        cpf="",
        product=None,
        message=_message(payload.get("message")),
        answers=tuple(_answers(payload)),
    )


def identity(lead: Lead) -> str:
    """The lead's id: a webhook that is sent again has the same."""
    return f"grupo_olx/{lead.id}"


def source_name(answers: Sequence[FormAnswer]) -> str:
    """The CRM's name of the source: the portal, if it is one of the three."""
    portals = {name for _, name in PORTALS}
    return next((one.answer for one in answers if one.question == PORTAL and one.answer in portals), GROUP)


def _phone(payload: dict[str, Any]) -> str:
    """All phones that were given, each once, those that can be read first."""
    ddd = text_of(payload.get("ddd"))
    texts = [_with_area(text, ddd) for name in ("phoneNumber", "phone") if (text := phone_of(payload.get(name)))]
    readable: dict[Phone, str] = {}
    unread: dict[str, None] = {}
    for text in texts:
        phone = _read(text)
        if phone is None:
            unread[text] = None
        else:
            readable.setdefault(phone, text)
    together = BETWEEN_VALUES.join([*readable.values(), *unread])[:MAX_PHONE_CHARS]
    first = next(iter(readable), None)
    # Some spellings can be read only without text beside them.
    if first is None or _read(together) == first:
        return together
    return f"{first.e164}{BETWEEN_VALUES}{together}"[:MAX_PHONE_CHARS]


def _with_area(text: str, ddd: str) -> str:
    """The text unchanged if it contains a whole phone; else its number after the area code, followed by the text."""
    if not ddd or _read(text) is not None:
        return text
    area = _AREA_CODE.fullmatch(re.sub(r"\D", "", ddd, flags=re.ASCII))
    local = next(filter(None, map(find_local, text.split(BETWEEN_VALUES))), None)
    if area is None:
        return f"{ddd} {text}"  # an invalid area code is kept for the salesperson, and not replaced
    if local is None:
        return text
    whole = f"({area[1]}) {local}"
    return whole if re.sub(r"[ -]", "", text) == local else f"{whole}{BETWEEN_VALUES}{text}"


def _read(text: str) -> Phone | None:
    phone = Phone.parse(text)
    return None if phone is None or is_placeholder(phone, _NO_DENIED_ALIASES) else phone


def _message(value: object) -> str:
    """The message as typed. It may be longer than other texts, because people write sentences here."""
    return value.replace("\x00", "").strip()[:MAX_LEAD_MESSAGE_CHARS] if isinstance(value, str) else texts_of(value)


def _answers(payload: dict[str, Any]) -> Iterable[FormAnswer]:
    transaction = text_of(payload.get("transaction_type"))
    answers = (
        (PORTAL, _portal(text_of(payload.get("leadOrigin")))),
        ("Código do imóvel", text_of(payload.get("clientListingId"))),
        ("Código do anúncio", text_of(payload.get("originListingId"))),
        ("Temperatura", text_of(payload.get("temperature"))),
        ("Transação", TRANSACTIONS.get(transaction.upper(), transaction)),
    )
    return (FormAnswer(question, answer[:MAX_ANSWER_CHARS]) for question, answer in answers if answer)


def _portal(origin: str) -> str:
    if origin.casefold() == GROUP.casefold():
        return GROUP
    return next((name for part, name in PORTALS if part in origin.casefold()), origin)


SPEC = SourceSpec(
    source=Source.GRUPO_OLX,
    id_field="originLeadId",
    read=read_lead,
    identity=identity,
    crm=CreatedInCrm(answers_heading="DADOS DO ANÚNCIO", source_name=source_name),
    needs_instant=False,
    payload_schema=PAYLOAD_SCHEMA,
)
