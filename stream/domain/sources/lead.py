"""The lead that a source's reader reads from a webhook's payload."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from stream.domain.forms import FormAnswer
from stream.domain.typed_contact import TypedContact

MAX_LEAD_MESSAGE_CHARS = 2_000


class Source(StrEnum):
    """The system that sent a lead. Records, events, metrics and the ledger contain the value: it never changes."""

    C2S = "c2s"
    GOOGLE_ADS = "google_ads"
    GRUPO_OLX = "grupo_olx"


class Lead(msgspec.Struct, frozen=True, gc=False):
    """A lead as typed, or as the producers normalised it; "" if it was not given.

    ``updated_at``: UTC, as ``datetime.isoformat`` writes it, because the delivery's id may contain it; None if the
    source gave no readable instant. ``typed``: phone and e-mail as typed, if ``phone`` and ``email`` are canonical and
    say less. ``message`` and ``answers``: what else was typed, for leads that we create.
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
