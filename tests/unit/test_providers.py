"""Providers, statuses, stages and headers: one list of each, with the values that others rely on."""

from __future__ import annotations

from decimal import Decimal
from importlib import resources

import pytest

from stream.domain import headers
from stream.domain.crm import WriteStatus
from stream.domain.dead_letters import Stage
from stream.domain.events import Answer, Calls, Outcome, schema
from stream.domain.provider import CRM_PARTNER, CallStatus, Provider
from stream.providers.specs import provider_specs
from stream.runtime.startup import BASE_URLS
from stream.settings import PARTNERS, load

MIGRATIONS = "".join(
    one.read_text(encoding="utf-8")
    for one in resources.files("stream.store").joinpath("migrations").iterdir()
    if one.name.endswith(".sql")
)


def test_every_provider_has_its_own_terms() -> None:
    """Price, budget, concurrent calls, rate and deadline come from the provider's own settings."""
    specs = provider_specs(
        load(
            {
                "DIRETRIX_PRICE": "0.5",
                "DIRETRIX_DAILY_BUDGET": "7",
                "DIRETRIX_MAX_CONCURRENCY": "3",
                "DIRETRIX_RATE_PER_SECOND": "2",
                "DIRETRIX_TIMEOUT": "4s",
                "WORK_API_PRICE": "0.1",
                "WORK_API_MAX_CONCURRENCY": "5",
                "WORK_API_TIMEOUT": "6s",
            }
        )
    )
    terms = {
        name: (one.price, one.daily_budget, one.max_concurrent_calls, one.rate, one.deadline)
        for name, one in specs.items()
    }
    assert terms == {
        Provider.DIRETRIX: (Decimal("0.5"), 7, 3, 2.0, 4.0),
        Provider.WORK: (Decimal("0.1"), None, 5, None, 6.0),
    }
    assert all(one.provider is name for name, one in specs.items())


def test_every_provider_is_a_partner_with_an_address() -> None:
    """PLAINTEXT_PARTNERS and the check of addresses know each provider and the CRM."""
    assert set(PARTNERS) == {*Provider, CRM_PARTNER} == set(BASE_URLS)


def test_an_event_has_a_count_for_every_provider() -> None:
    """``calls`` has a field for each provider."""
    assert set(Calls.__struct_fields__) == set(Provider)
    assert set(schema("contacts.enriched")["properties"]["calls"]["properties"]) == set(Provider)
    for provider in Provider:
        told = Answer(Outcome.NOT_FOUND, calls={provider: 2}).event_calls
        assert {one: getattr(told, one) for one in Provider} == {one: 2 * (one is provider) for one in Provider}


@pytest.mark.parametrize("status", [*CallStatus, *WriteStatus])
def test_statuses_are_those_of_the_database(status: str) -> None:
    """The statuses are the values in the ledger and in the CRM writes."""
    assert f"'{status}'" in MIGRATIONS


def test_values_that_others_rely_on_do_not_change() -> None:
    """The values in the ledger, metrics and topics do not change."""
    assert list(Provider) == ["diretrix", "work"]
    assert list(CallStatus) == ["reserved", "paid", "free", "unsure"]
    assert list(Stage) == ["receive", "enrich", "crm"]
    assert {"attempt", "first-failed", "not-before", "reason"} == headers.RETRY_HEADERS
    names = [headers.CE_VERSION, headers.CE_ID, headers.CE_TYPE, headers.CE_SOURCE, headers.CE_TIME]
    assert names == ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time"]
    assert all(name.startswith(headers.DEAD_LETTER_PREFIX) for name in headers.DeadLetterHeader)
    assert (headers.REROUTE, headers.REDRIVEN, headers.DEAD_LETTER_PREFIX) == ("reroute", "redriven", "dl-")
