"""Computes calls and money, paid and avoided, from the counts of the ledger and of the answered webhooks.

The replaced service paid one call for each webhook that needed a contact. So nothing is estimated: avoided calls are
the answered webhooks that needed a contact, less the paying ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from stream.domain.provider import CallStatus, Provider

NEEDS_NO_CONTACT = frozenset({"test", "no_contact"})


@dataclass(frozen=True, slots=True)
class CallCount:
    """The calls of a day, by provider, source and status. ``money``: their total price."""

    day: str
    provider: str
    source: str
    status: str
    calls: int
    money: Decimal


@dataclass(frozen=True, slots=True)
class AnswerCount:
    """The webhooks of a day, by source, outcome and tier. ``paying``: those with a Diretrix call that was not free."""

    day: str
    source: str
    outcome: str
    tier: str | None
    webhooks: int
    paying: int


@dataclass(frozen=True, slots=True)
class Savings:
    """The calls and the money of a period. ``spent`` includes unsure calls, because the invoice may include them."""

    webhooks: int
    needed_contact: int
    paying: int
    avoided: int
    paid_calls: int
    free_calls: int
    unsure_calls: int
    spent: Decimal
    saved: Decimal

    @property
    def paying_in_100(self) -> float:
        """Paying webhooks in 100 that needed a contact."""
        return 100 * self.paying / self.needed_contact if self.needed_contact else 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """The savings of one day and source. ``tiers``: webhooks that needed a contact, by tier; "" without one."""

    day: str
    source: str
    tiers: Mapping[str, int]
    savings: Savings


def savings(calls: Iterable[CallCount], answers: Iterable[AnswerCount], price: Decimal) -> Savings:
    """Add up a period. ``price``: of one Diretrix call, to value the avoided ones."""
    diretrix = [one for one in calls if one.provider == Provider.DIRETRIX]
    answered = list(answers)
    needed = [one for one in answered if one.outcome not in NEEDS_NO_CONTACT]
    needed_contact, paying = sum(one.webhooks for one in needed), sum(one.paying for one in needed)
    return Savings(
        webhooks=sum(one.webhooks for one in answered),
        needed_contact=needed_contact,
        paying=paying,
        avoided=needed_contact - paying,
        paid_calls=_calls(diretrix, CallStatus.PAID),
        free_calls=_calls(diretrix, CallStatus.FREE),
        unsure_calls=_calls(diretrix, CallStatus.UNSURE),
        spent=sum((one.money for one in diretrix if one.status != CallStatus.FREE), Decimal(0)),
        saved=price * (needed_contact - paying),
    )


def by_day_and_source(calls: Sequence[CallCount], answers: Sequence[AnswerCount], price: Decimal) -> tuple[Line, ...]:
    """One line for each day and source, in order; also for a day with calls and no webhook, or the reverse."""
    keys = {(one.day, one.source) for one in calls} | {(one.day, one.source) for one in answers}
    return tuple(_line(key, calls, answers, price) for key in sorted(keys))


def _line(key: tuple[str, str], calls: Sequence[CallCount], answers: Sequence[AnswerCount], price: Decimal) -> Line:
    answered = [one for one in answers if (one.day, one.source) == key]
    return Line(*key, tiers(answered), savings((one for one in calls if (one.day, one.source) == key), answered, price))


def tiers(answers: Iterable[AnswerCount]) -> dict[str, int]:
    """How many webhooks that needed a contact each tier answered."""
    counts: Counter[str] = Counter()
    for one in answers:
        if one.outcome not in NEEDS_NO_CONTACT:
            counts[one.tier or ""] += one.webhooks
    return dict(counts)


def _calls(counts: Iterable[CallCount], status: str) -> int:
    return sum(one.calls for one in counts if one.status == status)
