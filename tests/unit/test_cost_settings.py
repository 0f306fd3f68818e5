"""What must be stated before a worker starts: a budget, and whom it may speak to in clear."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from stream.cli import main
from stream.runtime.startup import plaintext_fault
from stream.settings import PARTNERS, calls_of, load

READY = {"DIRETRIX_USER": "u", "DIRETRIX_PASSWORD": "p", "WORK_API_TOKEN": "t", "C2S_TOKEN": "t"}


@pytest.mark.parametrize("name", ["DIRETRIX_DAILY_BUDGET", "WORK_API_DAILY_BUDGET"])
@pytest.mark.parametrize(
    ("text", "calls"), [("0", 0), ("500", 500), ("unlimited", None), (" Unlimited ", None), ("2147483647", 2**31 - 1)]
)
def test_a_budget_is_a_number_or_unlimited(name: str, text: str, calls: int | None) -> None:
    """Zero is a number, and the word unlimited sets no limit."""
    budget = getattr(load({name: text}), name.lower())
    assert budget is not None
    assert calls_of(budget) == calls


@pytest.mark.parametrize("name", ["DIRETRIX_DAILY_BUDGET", "WORK_API_DAILY_BUDGET"])
@pytest.mark.parametrize("text", ["-1", "1.5", "1e6", "many", "none", "2147483648", "9" * 5_000, "٣", "1 000", "+5"])
def test_a_budget_of_another_kind_is_a_fault(name: str, text: str) -> None:
    """An invalid budget is refused and never means no limit."""
    with pytest.raises(ValidationError):
        load({name: text})


def test_a_worker_without_a_stated_budget_does_not_start() -> None:
    """The exit code is 2, and the variable is reported beside everything else that is missing."""
    result = CliRunner().invoke(main, ["worker"], env={**READY, "DIRETRIX_USER": "", "DIRETRIX_DAILY_BUDGET": ""})
    assert result.exit_code == 2
    assert "not configured: DIRETRIX_USER, DIRETRIX_DAILY_BUDGET." in result.stderr
    assert "DIRETRIX_DAILY_BUDGET: a number of paid calls a day for the whole fleet, or: unlimited" in result.stderr
    assert "DIRETRIX_DAILY_BUDGET_FILE" not in result.stderr


def test_the_budget_of_the_work_api_may_be_left_out() -> None:
    """It is unlimited by default, because the Work API is not billed by call."""
    assert load({}).work_api_daily_budget == "unlimited"


BASES = {"diretrix": "DIRETRIX_BASE_URL", "work": "WORK_API_BASE_URL", "c2s": "C2S_BASE_URL"}
CLEAR = [
    "http://partner.example",
    "HTTP://partner.example",
    "http://10.0.0.1:80/x",
    "http://localhost.example",
    "http://127.0.0.1@partner.example",
    "http://[2001:db8::1]",
    "http://0.0.0.0",
]
FINE = ["https://partner.example", "http://localhost:9", "http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:8080"]
NONE = ["partner.example", "//partner.example", "ftp://partner.example", "https://", "http:///path"]


@pytest.mark.parametrize("partner", PARTNERS)
@pytest.mark.parametrize("address", CLEAR)
def test_http_beyond_this_machine_must_be_named(partner: str, address: str) -> None:
    """The fault names the variable and what to do; only the name of this partner permits it."""
    others = ",".join(one for one in PARTNERS if one != partner)
    fault = plaintext_fault(load({BASES[partner]: address, "PLAINTEXT_PARTNERS": others}), partner)
    assert BASES[partner] in fault
    assert f"name {partner} in PLAINTEXT_PARTNERS" in fault
    assert plaintext_fault(load({BASES[partner]: address, "PLAINTEXT_PARTNERS": partner}), partner) == ""


@pytest.mark.parametrize("address", FINE)
def test_tls_and_this_machine_need_no_name(address: str) -> None:
    """https:// and addresses of this machine need no permission."""
    assert plaintext_fault(load({"WORK_API_BASE_URL": address}), "work") == ""


@pytest.mark.parametrize("address", NONE)
def test_an_invalid_address_is_reported_at_the_start(address: str) -> None:
    """An address to which no call can go is refused, whether the partner is permitted or not."""
    settings = load({"DIRETRIX_BASE_URL": address, "PLAINTEXT_PARTNERS": "diretrix"})
    assert "DIRETRIX_BASE_URL: is no address" in plaintext_fault(settings, "diretrix")


def test_diretrix_may_use_http_by_default() -> None:
    """The real address of Diretrix is http://, so the default permits it."""
    settings = load({})
    assert settings.diretrix_base_url.startswith("http://api.")
    assert plaintext_fault(settings, "diretrix") == ""


def test_the_work_api_has_two_names() -> None:
    """It may be named as in the log or as in the variables."""
    assert load({"PLAINTEXT_PARTNERS": "Diretrix, work_api"}).plaintext_partners == ("diretrix", "work")


def test_an_unknown_partner_is_a_fault() -> None:
    """A misspelt name in the list is reported."""
    with pytest.raises(ValidationError):
        load({"PLAINTEXT_PARTNERS": "diretrix,c2"})


def test_each_process_checks_its_own_partners() -> None:
    """The worker checks Diretrix and the Work API, the CRM sync C2S; all faults are reported with exit code 2."""
    clear = dict.fromkeys(BASES.values(), "http://partner.example")
    environment = {**READY, **clear, "PLAINTEXT_PARTNERS": "diretrix", "DIRETRIX_DAILY_BUDGET": ""}
    worker = CliRunner().invoke(main, ["worker"], env=environment)
    assert worker.exit_code == 2
    assert "DIRETRIX_DAILY_BUDGET" in worker.stderr
    assert "WORK_API_BASE_URL: is http://" in worker.stderr
    assert "C2S_BASE_URL" not in worker.stderr
    sync = CliRunner().invoke(main, ["crm-sync"], env=environment)
    assert sync.exit_code == 2
    assert "C2S_BASE_URL: is http://" in sync.stderr


@pytest.mark.parametrize("budget", ["00000000000000000000099999999999", "99999999999", "2147483648"])
def test_a_budget_beyond_the_database_is_a_fault(budget: str) -> None:
    """A number that is too large for the database is refused, with leading zeros too."""
    with pytest.raises(ValidationError, match="number of calls"):
        load({"DIRETRIX_DAILY_BUDGET": budget})


def test_a_duration_that_is_too_long_is_a_fault() -> None:
    """It is reported as any other fault, without a traceback."""
    with pytest.raises(ValidationError, match="longer than any duration"):
        load({"C2S_TIMEOUT": "999999999999999d"})
