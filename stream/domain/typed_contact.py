"""What a lead typed as phone and e-mail, where the contact that was read out of it says less."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from stream.domain.identity import Email, Identifiers
from stream.domain.phone_text import is_in_full

if TYPE_CHECKING:
    from stream.domain.sources.lead import Lead

LONGEST_TYPED = 300  # characters


class TypedContact(msgspec.Struct, frozen=True, gc=False):
    """As typed; None where nothing was, or where the contact says all of it."""

    phone: str | None = None
    email: str | None = None

    def __repr__(self) -> str:
        return f"TypedContact({len(self.phone or '')}, {len(self.email or '')} characters)"


def typed_contact(lead: Lead, contact: Identifiers) -> TypedContact | None:
    """What the salesperson must read as typed; None where the contact says it all."""
    typed = lead.typed or TypedContact()
    phone = _typed(typed.phone or lead.phone, contact)
    email = _typed(typed.email or lead.email, contact)
    return None if phone is None and email is None else TypedContact(phone, email)


def _typed(raw: str, contact: Identifiers) -> str | None:
    return raw[:LONGEST_TYPED] if raw and not _is_said(raw, contact) else None


def _is_said(raw: str, contact: Identifiers) -> bool:
    phone, email = contact.phone, contact.email
    if phone is not None and not contact.area_code_assumed and is_in_full(raw, phone.e164):
        return True
    return email is not None and Email.parse(raw) == email
