"""Calls and money: counted from the ledger and the answers, never estimated."""

from __future__ import annotations

from decimal import Decimal

from stream.domain.savings import AnswerCount, CallCount, by_day_and_source, savings

DAY = "2026-01-31"
PRICE = Decimal("0.01")


def calls(status: str, count: int, provider: str = "diretrix") -> CallCount:
    return CallCount(DAY, provider, "c2s", status, count, PRICE * count)


def answers(outcome: str, tier: str | None, webhooks: int, paying: int = 0) -> AnswerCount:
    return AnswerCount(DAY, "c2s", outcome, tier, webhooks, paying)


def test_the_measured_trace_gives_the_measured_savings() -> None:
    """73 webhooks of 31 people: 42 calls avoided, 42.5 paying webhooks in 100."""
    total = savings(
        [calls("paid", 31), calls("paid", 31, "work")],
        [answers("enriched", "diretrix", 31, 31), answers("enriched", "cache", 42)],
        PRICE,
    )
    assert (total.webhooks, total.needed_contact, total.paying, total.avoided) == (73, 73, 31, 42)
    assert (total.paid_calls, total.spent, total.saved) == (31, Decimal("0.31"), Decimal("0.42"))
    assert round(total.paying_in_100, 1) == 42.5


def test_webhooks_without_a_contact_save_nothing() -> None:
    """Tests and leads without a contact count as neither paid nor avoided."""
    total = savings([], [answers("test", None, 5), answers("no_contact", None, 5)], PRICE)
    assert (total.webhooks, total.needed_contact, total.avoided, total.saved) == (10, 0, 0, Decimal(0))
    assert total.paying_in_100 == 0.0


def test_an_unsure_call_counts_as_spent_and_a_free_one_does_not() -> None:
    """``spent`` includes unsure calls and no free ones, so it is never below the invoice."""
    total = savings(
        [calls("paid", 1), calls("unsure", 2), calls("free", 4)], [answers("not_found", "diretrix", 7, 3)], PRICE
    )
    assert (total.paid_calls, total.unsure_calls, total.free_calls) == (1, 2, 4)
    assert total.spent == Decimal("0.03")
    assert total.saved == Decimal("0.04")


def test_lines_add_up_to_the_whole() -> None:
    """The lines add up to the period; a day with calls alone has one; tiers leave out leads without contact."""
    counts = [calls("paid", 2), CallCount("2026-02-01", "diretrix", "google_ads", "paid", 1, PRICE)]
    answered = [answers("enriched", "cache", 3), answers("test", None, 1), answers("pending", None, 2, 2)]
    first, second = by_day_and_source(counts, answered, PRICE)
    assert (first.day, first.source, first.tiers) == (DAY, "c2s", {"cache": 3, "": 2})
    assert (first.savings.avoided, first.savings.spent) == (3, Decimal("0.02"))
    assert (second.day, second.source, second.tiers) == ("2026-02-01", "google_ads", {})
    assert first.savings.spent + second.savings.spent == savings(counts, answered, PRICE).spent
