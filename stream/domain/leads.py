"""The records of the topic ``webhooks``: their bytes, and the lead in them.

Rule 1: the payload's bytes are never rewritten.
Rule 2: a payload that can never be understood raises PoisonError with the field at fault; an optional part that is not
understood counts as not given. ``sources/`` has the reader of each source.
"""

from __future__ import annotations

import zlib
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import orjson

from stream.domain.errors import PoisonError
from stream.domain.forms import MAX_ANSWER_CHARS, MAX_ANSWERS, FormAnswer
from stream.domain.instants import in_utc, parse_instant, utc_isoformat
from stream.domain.sources import ID_FIELDS, SOURCES, source_named
from stream.domain.sources.fields import MAX_ID_CHARS, required_object
from stream.domain.sources.lead import MAX_LEAD_MESSAGE_CHARS, Lead, Source
from stream.domain.text import is_id
from stream.domain.typed_contact import TypedContact, typed_contact
from stream.domain.typed_text import MAX_TEXT_CHARS

if TYPE_CHECKING:
    from stream.domain.identity import Identifiers

# The version of the rules by which ``normalised`` was read. Increase it whenever the same payload would be read
# differently, here or in ``identity``: the worker then reads older records from their payload again. A test compares a
# digest.
RULES_VERSION = 2


class Webhook(msgspec.Struct, frozen=True, gc=False):
    """One record of the topic ``webhooks``."""

    source: Source
    received_at: datetime
    lead: Lead

    def __repr__(self) -> str:
        return f"Webhook({self.lead!r})"


_Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT_CHARS)]
_Message = Annotated[str, msgspec.Meta(max_length=MAX_LEAD_MESSAGE_CHARS)]
_Answers = Annotated[tuple[FormAnswer, ...], msgspec.Meta(max_length=MAX_ANSWERS)]


class Normalised(msgspec.Struct, gc=False):
    """The lead as the producers read it from a payload, so that the worker need not read the payload.

    Phone, e-mail and CPF are canonical; None if they are missing or placeholders. The JSON also has the contact's
    ``key``. ``payload_crc``: CRC-32 of the payload's bytes in the record; ``normalised`` holds for that payload only.
    """

    lead: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS)]
    updated_at: Annotated[datetime, msgspec.Meta(tz=True)] | None
    hook_action: _Text | None
    name: _Text | None
    product: _Text | None
    phone: str | None
    email: str | None
    cpf: str | None
    is_test: bool
    rules: Literal[2]
    payload_crc: int
    typed: TypedContact | None = None
    message: _Message | None = None
    answers: _Answers = ()


class _ProducerRecord(msgspec.Struct, gc=False):
    """A record of the producers. The payload is skipped."""

    source: Source
    received_at: datetime
    payload: msgspec.Raw
    normalised: Normalised


class _SourceOnly(msgspec.Struct, gc=False):
    """A record of which only the source is read."""

    source: str


_producer_record_decoder = msgspec.json.Decoder(_ProducerRecord)
_source_decoder = msgspec.json.Decoder(_SourceOnly)
_any_decoder = msgspec.json.Decoder(
    float_hook=float
)  # a number too large for a double becomes infinite: no field needs one


def decode_webhook(value: bytes | None) -> Webhook:
    """Read a record's value; raises PoisonError if it can never be read.

    If the producers normalised the lead by the current rules, that is used (docs/adr/0010-read-once-at-the-edge.md).
    Otherwise the payload is read. Odd values in fields that are not read (a number beyond 64 bit, deep nesting) do not
    lose the lead, because the payload's bytes are passed on as they came.
    """
    if value is None:
        raise PoisonError("empty: a tombstone is no webhook")
    try:
        return _webhook(_producer_record_decoder.decode(value))
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return _decode_any(value)  # it accepts more, and its errors name the field


def source_in(value: bytes | None) -> str:
    """The source that a record names, "" if it can't be read. ``decode_webhook`` reports what is wrong."""
    try:
        return _source_decoder.decode(value or b"").source
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""


def lead_id_in(value: bytes | None) -> str:
    """The lead's id if the record names one, else "". The record may be anything: show the id, do not rely on it."""
    try:
        record = msgspec.json.decode(value or b"")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    parts = [record.get(name) for name in ("normalised", "payload")] if isinstance(record, dict) else []
    for part in parts:
        for name in ("lead", *ID_FIELDS):
            found = part.get(name) if isinstance(part, dict) else None
            if isinstance(found, str | int):
                return str(found)
    return ""


def _webhook(record: _ProducerRecord) -> Webhook:
    """The webhook as the producers read it. Raises ValueError or OverflowError for a record that they did not write."""
    read, source = record.normalised, record.source
    spec = SOURCES[source]
    if zlib.crc32(record.payload) != read.payload_crc:
        raise ValueError("normalised from another payload")
    if read.updated_at is None and spec.needs_instant:
        raise ValueError("a webhook without its instant")
    if not is_id(read.lead) or "\x00" in f"{read.name}{read.product}{read.hook_action}":
        raise ValueError("no id, or PostgreSQL refuses a NUL")
    if spec.is_created:
        _check_typed_text(read)
    lead = Lead(
        source,
        read.lead,
        None if read.updated_at is None else utc_isoformat(in_utc(read.updated_at)),
        read.hook_action,
        read.name or "",
        read.phone or "",
        read.email or "",
        read.cpf or "",
        read.product,
        read.is_test,
        read.typed,
        read.message or "",
        read.answers,
    )
    return Webhook(source, in_utc(record.received_at), lead)


def _check_typed_text(read: Normalised) -> None:
    """Raise ValueError for typed text that the producers would not write."""
    texts = [text for one in read.answers for text in (one.question, one.answer)]
    if read.typed is not None:
        texts += [read.typed.phone or "", read.typed.email or ""]
    if max(map(len, texts), default=0) > MAX_ANSWER_CHARS or any(
        "\x00" in text for text in (*texts, read.message or "")
    ):
        raise ValueError("text that is too long, or has a NUL")


def _decode_any(value: bytes) -> Webhook:
    try:
        record = _any_decoder.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise PoisonError("not JSON") from None
    if not isinstance(record, dict):
        raise PoisonError("an object is required")
    source = _source(record.get("source"))
    payload = required_object(record.get("payload"), "payload")
    received_at = parse_instant(record.get("received_at"), "received_at")
    return Webhook(source, received_at, lead_from(source, payload))


def encode_webhook(
    source: Source, received_at: datetime, payload: dict[str, Any] | bytes, normalised: dict[str, Any] | None
) -> bytes:
    """A record's value. ``payload``: bytes are JSON already; ``normalised``: what ``normalised_of`` returned."""
    raw = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    if normalised is None:
        return b"".join((_record_head(source, received_at), raw, b"}"))
    read = orjson.dumps({**normalised, "payload_crc": zlib.crc32(raw)})
    return b"".join((_record_head(source, received_at), raw, b',"normalised":', read, b"}"))


@lru_cache(maxsize=8)  # all webhooks of one tick have the same time
def _record_head(source: Source, received_at: datetime) -> bytes:
    return b'{"source":%b,"received_at":%b,"payload":' % (orjson.dumps(source), orjson.dumps(received_at))


def normalised_of(lead: Lead, contact: Identifiers) -> dict[str, Any]:
    """The lead as ``Normalised`` expects it.

    ``rules`` is None if a phone, e-mail or CPF was denied, not readable or completed. The worker, whose denylist or
    DEFAULT_AREA_CODE may differ, then reads the payload.
    """
    phone, email, cpf = contact.phone, contact.email, contact.cpf
    is_complete = not contact.area_code_assumed and not (
        (lead.phone and phone is None) or (lead.email and email is None) or (lead.cpf and cpf is None)
    )
    read: dict[str, Any] = {
        "rules": RULES_VERSION if is_complete else None,
        "key": contact.key,
        "lead": lead.id,
        "updated_at": lead.updated_at,
        "hook_action": lead.hook_action,
        "name": lead.name or None,
        "product": lead.product,
        "phone": phone and phone.e164,
        "email": email and email.address,
        "cpf": cpf and cpf.digits,
        "is_test": lead.is_test,
    }
    if contact.area_code_assumed:
        read["area_code_assumed"] = True
    if SOURCES[lead.source].is_created:
        typed = typed_contact(lead, contact)
        read["typed"] = typed and {"phone": typed.phone, "email": typed.email}
        read["message"] = lead.message or None
        read["answers"] = [{"question": one.question, "answer": one.answer} for one in lead.answers]
    return read


def lead_from(source: Source, payload: dict[str, Any]) -> Lead:
    """Read a payload with the reader of its source; raises PoisonError."""
    return SOURCES[source].read(payload)


def _source(value: object) -> Source:
    spec = source_named(value) if isinstance(value, str) else None
    if spec is None:
        raise PoisonError(f"unknown source: {' or '.join(Source)} is required", path="source")
    return spec.source
