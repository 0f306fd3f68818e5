"""The messages of the topic ``webhooks``: their bytes, and the lead in them. The payload is never rewritten.

What each source sends is read by its reader (``sources/``). Whatever can never be understood raises PoisonError with
the field at fault; an optional part that is not understood counts as not given.
"""

from __future__ import annotations

import zlib
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import orjson

from stream.domain.errors import PoisonError
from stream.domain.forms import LONGEST_ANSWER, MOST_ANSWERS, FormAnswer
from stream.domain.instants import in_utc, parse_instant, written
from stream.domain.sources import ID_FIELDS, SOURCES, source_named
from stream.domain.sources.fields import LONGEST_ID, required_object
from stream.domain.sources.lead import LONGEST_MESSAGE, Lead, Source
from stream.domain.text import is_id
from stream.domain.typed_contact import TypedContact, typed_contact
from stream.domain.typed_text import LONGEST_TEXT

if TYPE_CHECKING:
    from stream.domain.identity import Identifiers

# Which reading ``normalised`` holds. One more whenever the same payload would be read otherwise, here or in
# ``identity``: what was read by older rules is then read from its payload again (a test holds this to a digest).
RULES = 2


class Webhook(msgspec.Struct, frozen=True, gc=False):
    """One message of the topic ``webhooks``."""

    source: Source
    received_at: datetime
    lead: Lead

    def __repr__(self) -> str:
        return f"Webhook({self.lead!r})"


_Text = Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)]
_Message = Annotated[str, msgspec.Meta(max_length=LONGEST_MESSAGE)]
_Answers = Annotated[tuple[FormAnswer, ...], msgspec.Meta(max_length=MOST_ANSWERS)]


class Normalised(msgspec.Struct, gc=False):
    """What the producers read out of a payload, so that nobody behind them need do it again.

    Phone, e-mail and CPF are canonical, None where the payload's stand for nobody. It also has the contact's ``key``.
    ``payload_crc``: CRC-32 of the payload's bytes as they lie in the message; of another payload it says nothing.
    """

    lead: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_ID)]
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


class _Ordinary(msgspec.Struct, gc=False):
    """A message of the producers: the payload is passed over."""

    source: Source
    received_at: datetime
    payload: msgspec.Raw
    normalised: Normalised


class _Sourced(msgspec.Struct, gc=False):
    """A message of which only the source is read."""

    source: str


_ordinary = msgspec.json.Decoder(_Ordinary)
_sourced = msgspec.json.Decoder(_Sourced)
_any = msgspec.json.Decoder(float_hook=float)  # infinite where a number is beyond a double: nobody reads those


def decode_webhook(value: bytes | None) -> Webhook:
    """Read a message's value; raises PoisonError when it can never be read.

    What the producers normalised by the rules of today is taken as it is (docs/adr/0010-read-once-at-the-edge.md);
    of any other message the payload is read. Odd values in fields that nobody reads (a number beyond 64 bit, deep
    nesting) cost no lead: the payload's bytes go on as they came, and are never written again from what was parsed.
    """
    if value is None:
        raise PoisonError("empty: a tombstone is no webhook")
    try:
        return _webhook(_ordinary.decode(value))
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
        return _decode_any(value)  # it says what is wrong, and forgives more


def source_in(value: bytes | None) -> str:
    """The source that a message names, "" where it can't be read: whoever reads the rest says what is wrong."""
    try:
        return _sourced.decode(value or b"").source
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""


def lead_id_in(value: bytes | None) -> str:
    """The lead's id as far as a message that may be anything names one, else ""; to be shown, not to be relied on."""
    try:
        message = msgspec.json.decode(value or b"")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""
    parts = [message.get(name) for name in ("normalised", "payload")] if isinstance(message, dict) else []
    for part in parts:
        for name in ("lead", *ID_FIELDS):
            found = part.get(name) if isinstance(part, dict) else None
            if isinstance(found, str | int):
                return str(found)
    return ""


def _webhook(message: _Ordinary) -> Webhook:
    """The webhook as the producers read it. Raises ValueError, OverflowError for what they would not have written."""
    read, source = message.normalised, message.source
    spec = SOURCES[source]
    if zlib.crc32(message.payload) != read.payload_crc:
        raise ValueError("read out of another payload")
    if read.updated_at is None and spec.needs_instant:
        raise ValueError("a webhook without its instant")
    if not is_id(read.lead) or "\x00" in f"{read.name}{read.product}{read.hook_action}":
        raise ValueError("no id, or PostgreSQL refuses a NUL")
    if spec.is_created:
        _must_fit(read)
    lead = Lead(
        source,
        read.lead,
        None if read.updated_at is None else written(in_utc(read.updated_at)),
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
    return Webhook(source, in_utc(message.received_at), lead)


def _must_fit(read: Normalised) -> None:
    """Raise ValueError for typed text that the producers would not have written."""
    texts = [text for one in read.answers for text in (one.question, one.answer)]
    if read.typed is not None:
        texts += [read.typed.phone or "", read.typed.email or ""]
    if max(map(len, texts), default=0) > LONGEST_ANSWER or any("\x00" in text for text in (*texts, read.message or "")):
        raise ValueError("text that is too long, or has a NUL")


def _decode_any(value: bytes) -> Webhook:
    try:
        message = _any.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise PoisonError("not JSON") from None
    if not isinstance(message, dict):
        raise PoisonError("an object is required")
    source = _source(message.get("source"))
    payload = required_object(message.get("payload"), "payload")
    received_at = parse_instant(message.get("received_at"), "received_at")
    return Webhook(source, received_at, lead_from(source, payload))


def encode_webhook(
    source: Source, received_at: datetime, payload: dict[str, Any] | bytes, normalised: dict[str, Any] | None
) -> bytes:
    """A message's value. ``payload``: bytes are JSON already; ``normalised``: what the producers read out of it."""
    raw = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    if normalised is None:
        return b"".join((_begun(source, received_at), raw, b"}"))
    read = orjson.dumps({**normalised, "payload_crc": zlib.crc32(raw)})
    return b"".join((_begun(source, received_at), raw, b',"normalised":', read, b"}"))


@lru_cache(maxsize=8)  # those of one turn of the loop share it
def _begun(source: Source, received_at: datetime) -> bytes:
    return b'{"source":%b,"received_at":%b,"payload":' % (orjson.dumps(source), orjson.dumps(received_at))


def normalised_of(lead: Lead, contact: Identifiers) -> dict[str, Any]:
    """What was read out of a payload, as ``Normalised`` takes it.

    Without ``rules`` where something typed is nobody's, can't be read or was completed: whoever knows more, or has
    another DEFAULT_AREA_CODE, reads the payload.
    """
    phone, email, cpf = contact.phone, contact.email, contact.cpf
    is_whole = not contact.area_code_assumed and not (
        (lead.phone and phone is None) or (lead.email and email is None) or (lead.cpf and cpf is None)
    )
    read: dict[str, Any] = {
        "rules": RULES if is_whole else None,
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
    """Read a payload as its source writes it; raises PoisonError."""
    return SOURCES[source].read(payload)


def _source(value: object) -> Source:
    spec = source_named(value) if isinstance(value, str) else None
    if spec is None:
        raise PoisonError(f"unknown source: {' or '.join(Source)} is required", path="source")
    return spec.source
