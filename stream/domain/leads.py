"""The webhooks as they arrive, and the lead in them. Unknown fields are kept: the payload is never rewritten.

Shapes: C2S and Google lead forms as production sends them (docs/architecture.md, "What arrives"). Whatever
can never be understood raises PoisonError with the field at fault; an optional part that is not understood
counts as not given.
"""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, assert_never

import msgspec
import orjson

from stream.domain.errors import PoisonError
from stream.domain.forms import LONGEST_ANSWER, MOST_ANSWERS, FormAnswer, read_form
from stream.domain.text import is_id
from stream.domain.typed_contact import TypedContact, typed_contact
from stream.domain.typed_text import LONGEST_TEXT, phone_of, text_of, texts_of

if TYPE_CHECKING:
    from stream.domain.identity import Identifiers

# Which reading ``normalised`` holds. One more whenever the same payload would be read otherwise, here or in
# ``identity``: what was read by older rules is then read from its payload again (a test holds this to a digest).
RULES = 2
LONGEST_ID = 256  # characters
_OFFSETS_APART = frozenset({" +", " -"})
_LENGTH_APART = len("2026-01-31 09:00:00 -0300")
_OFFSET = re.compile(r"\s*([+-]\d{2}):?(\d{2})$", re.ASCII)


class Source(StrEnum):
    """Where a lead came from."""

    C2S = "c2s"
    GOOGLE_ADS = "google_ads"


# Their leads are not in the CRM before us: what the person typed reaches it through the event or not at all.
CREATED_SOURCES = frozenset({Source.GOOGLE_ADS})
_SOURCES: dict[str, Source] = {str(source): source for source in Source}


class Lead(msgspec.Struct, frozen=True, gc=False):
    """A lead as typed, or as the producers normalised it; "" is what was not given.

    ``updated_at``: UTC, as ``datetime.isoformat`` writes it, for the delivery's id is made of it; None for a Google
    lead without a readable ``lead_submit_time``. ``typed``: phone and e-mail as typed, where the others are canonical
    and say less. ``message`` and ``answers``: what else was typed, of leads that we create.
    """

    source: Source
    id: str
    updated_at: str | None
    hook_action: str | None
    name: str
    phone: str
    email: str
    cpf: str
    product: str | None
    is_test: bool = False
    typed: TypedContact | None = None
    message: str = ""
    answers: tuple[FormAnswer, ...] = ()

    def __repr__(self) -> str:
        return f"Lead({self.source}, {self.id!r})"


class Webhook(msgspec.Struct, frozen=True, gc=False):
    """One message of the topic ``webhooks``."""

    source: Source
    received_at: datetime
    lead: Lead

    def __repr__(self) -> str:
        return f"Webhook({self.lead!r})"


_Text = Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)]
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
    message: _Text | None = None
    answers: _Answers = ()


class _Ordinary(msgspec.Struct, gc=False):
    """A message of the producers: the payload is passed over."""

    source: Literal["c2s", "google_ads"]
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
        for name in ("lead", "id", "lead_id", "originLeadId"):
            found = part.get(name) if isinstance(part, dict) else None
            if isinstance(found, str | int):
                return str(found)
    return ""


def _webhook(message: _Ordinary) -> Webhook:
    """The webhook as the producers read it. Raises ValueError, OverflowError for what they would not have written."""
    read, source = message.normalised, _SOURCES[message.source]
    if zlib.crc32(message.payload) != read.payload_crc:
        raise ValueError("read out of another payload")
    if read.updated_at is None and source is Source.C2S:
        raise ValueError("a C2S webhook without its instant")
    if not is_id(read.lead) or "\x00" in f"{read.name}{read.product}{read.hook_action}":
        raise ValueError("no id, or PostgreSQL refuses a NUL")
    if source in CREATED_SOURCES:
        _must_fit(read)
    lead = Lead(
        source,
        read.lead,
        None if read.updated_at is None else written(_in_utc(read.updated_at)),
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
    return Webhook(source, _in_utc(message.received_at), lead)


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
    payload = _object(message.get("payload"), "payload")
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
    if lead.source in CREATED_SOURCES:
        typed = typed_contact(lead, contact)
        read["typed"] = typed and {"phone": typed.phone, "email": typed.email}
        read["message"] = lead.message or None
        read["answers"] = [{"question": one.question, "answer": one.answer} for one in lead.answers]
    return read


def lead_from(source: Source, payload: dict[str, Any]) -> Lead:
    """Read a payload as its source writes it; raises PoisonError."""
    match source:
        case Source.C2S:
            return lead_from_c2s(payload)
        case Source.GOOGLE_ADS:
            return lead_from_google(payload)
        case _:
            assert_never(source)


def lead_from_c2s(payload: dict[str, Any]) -> Lead:
    """Read a C2S event; raises PoisonError."""
    attributes = _object(payload.get("attributes"), "attributes")
    customer = _maybe_object(attributes.get("customer"), "attributes.customer")
    product = attributes.get("product")
    return Lead(
        Source.C2S,
        _id(payload.get("id"), "id"),
        written(parse_instant(attributes.get("updated_at"), "attributes.updated_at")),
        text_of(payload.get("hook_action")) or None,
        text_of(customer.get("name")),
        phone_of(customer.get("phone")),
        texts_of(customer.get("email")),
        "",
        text_of(product.get("description")) or None if isinstance(product, dict) else None,
    )


def lead_from_google(payload: dict[str, Any]) -> Lead:
    """Read a Google lead form; raises PoisonError."""
    form = read_form(payload.get("user_column_data"))
    submitted = _maybe_instant(payload.get("lead_submit_time"))
    return Lead(
        source=Source.GOOGLE_ADS,
        id=_id(payload.get("lead_id"), "lead_id"),
        updated_at=None if submitted is None else written(submitted),
        hook_action=None,
        name=form.name,
        phone=form.phone,
        email=form.email,
        cpf=form.cpf,
        product=None,
        is_test=payload.get("is_test") is True,
        answers=form.answers,
    )


def written(instant: datetime) -> str:
    """``instant.isoformat()`` of an instant in UTC, in a third of its time."""
    return orjson.dumps(instant)[1:-1].decode()


def parse_instant(value: object, path: str = "") -> datetime:
    """Read an instant in any of the three spellings that C2S uses, as UTC; raises PoisonError."""
    if not isinstance(value, str) or not value:
        raise PoisonError("an instant such as 2026-01-31T12:00:00Z is required", path=path)
    try:
        return _in_utc(_instant(value))
    except (ValueError, OverflowError):
        raise PoisonError("not an instant: write it as 2026-01-31T12:00:00Z", path=path) from None


def _instant(text: str) -> datetime:
    if text[-6:-4] in _OFFSETS_APART and len(text) == _LENGTH_APART:
        text = f"{text[:-6]}{text[-5:]}"  # "2026-01-31 09:00:00 -0300", without the detour of an error
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        # Other blanks before an offset; RFC 3339 also allows small letters.
        return datetime.fromisoformat(_OFFSET.sub(r"\1:\2", text.strip()).upper())


def _in_utc(instant: datetime) -> datetime:
    if instant.tzinfo is UTC:
        return instant
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _maybe_instant(value: object) -> datetime | None:
    """An instant that nothing depends on: a form is not lost for it."""
    try:
        return parse_instant(value)
    except PoisonError:
        return None


def _source(value: object) -> Source:
    source = _SOURCES.get(value) if isinstance(value, str) else None
    if source is None:
        raise PoisonError(f"unknown source: {' or '.join(Source)} is required", path="source")
    return source


def _object(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PoisonError("an object is required", path=path)
    return value


def _maybe_object(value: object, path: str) -> dict[str, Any]:
    """An object that may be missing; some languages write an empty one as ``[]``."""
    return _object(value, path) if value is not None and value != [] else {}


def _id(value: object, path: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > LONGEST_ID or not is_id(value):
        raise PoisonError(f"an id of 1 to {LONGEST_ID} characters is required, no path and all printable", path=path)
    return value
