"""Phone and e-mail as the lead typed them, if the contact that was read from them says less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stream.domain.identity import Email, Identifiers
from stream.domain.phone_text import is_only_phone

if TYPE_CHECKING:
    from stream.domain.sources.lead import Lead

MAX_TYPED_CHARS = 300  # of a phone or e-mail as typed


class TypedContact(msgspec.Struct, frozen=True, gc=False):
    """As typed; None if nothing was typed, or if the contact says all of it."""

    phone: str | None = None
    email: str | None = None

    def __repr__(self) -> str:
        return f"TypedContact({len(self.phone or '')}, {len(self.email or '')} characters)"


def typed_contact(lead: Lead, contact: Identifiers) -> TypedContact | None:
    """The texts that the salesperson must read as typed; None if the contact says all of them."""
    typed = lead.typed or TypedContact()
    phone = _unless_in_contact(typed.phone or lead.phone, contact)
    email = _unless_in_contact(typed.email or lead.email, contact)
    return None if phone is None and email is None else TypedContact(phone, email)


def _unless_in_contact(raw: str, contact: Identifiers) -> str | None:
    return raw[:MAX_TYPED_CHARS] if raw and not _is_in_contact(raw, contact) else None


def _is_in_contact(raw: str, contact: Identifiers) -> bool:
    phone, email = contact.phone, contact.email
    if phone is not None and not contact.area_code_assumed and is_only_phone(raw, phone.e164):
        return True
    return email is not None and Email.parse(raw) == email
