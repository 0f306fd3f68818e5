"""The paid partners: who they are, on which terms they are asked, how a call to them ended. Pure.

In which order they are asked, and whose answer counts, is policy: ``stream.domain.choice``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

CRM_PARTNER = "c2s"  # the CRM in logs, metrics and settings: a partner that is written to, not a provider


class Provider(StrEnum):
    """A partner that sells data. The value is part of the ledger, metrics, events and settings: it never changes."""

    DIRETRIX = "diretrix"
    WORK = "work"


class CallStatus(StrEnum):
    """How a paid call ended, as the ledger has it. ``unsure``: it may have been carried out, and billed."""

    RESERVED = "reserved"
    PAID = "paid"
    FREE = "free"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """The terms of one provider.

    ``price``: of one call, in PRICE_CURRENCY. ``daily_budget``: calls a day (Sao Paulo) of the whole fleet, None
    without a limit. ``at_once``: calls under way in the whole fleet. ``rate``: calls a second of the whole fleet, None
    without a limit. ``deadline``: seconds for one call.
    """

    provider: Provider
    price: Decimal
    daily_budget: int | None
    at_once: int
    rate: float | None
    deadline: float


CallCounts = Mapping[Provider, int]  # calls that were billed or may have been; a provider without any may be missing
NO_CALLS: CallCounts = MappingProxyType({})
