"""The providers: their names, the terms of their calls, and how a call can end.

The order in which they are asked, and whose answer counts, is policy: see ``stream.domain.choice``.
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
    """The status of a paid call in the ledger. ``unsure``: the call may have been carried out and billed."""

    RESERVED = "reserved"
    PAID = "paid"
    FREE = "free"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class ProviderSpec:
    """The terms of one provider.

    ``price``: of one call, in PRICE_CURRENCY. ``deadline``: seconds for one call. The limits hold for all workers
    together: ``daily_budget`` in calls a day (Sao Paulo) and ``rate`` in calls a second, None without a limit, and
    ``max_concurrent_calls``.
    """

    provider: Provider
    price: Decimal
    daily_budget: int | None
    max_concurrent_calls: int
    rate: float | None
    deadline: float


CallCounts = Mapping[Provider, int]  # calls that were or may have been billed; a provider without calls may be missing
NO_CALLS: CallCounts = MappingProxyType({})
