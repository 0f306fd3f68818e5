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
    """Zero is a number; unlimited is said in a word."""
    budget = getattr(load({name: text}), name.lower())
    assert budget is not None
    assert calls_of(budget) == calls


@pytest.mark.parametrize("name", ["DIRETRIX_DAILY_BUDGET", "WORK_API_DAILY_BUDGET"])
@pytest.mark.parametrize("text", ["-1", "1.5", "1e6", "many", "none", "2147483648", "9" * 5_000, "٣", "1 000", "+5"])
def test_a_budget_of_another_kind_is_a_fault(name: str, text: str) -> None:
    """A slip must not become no limit."""
    with pytest.raises(ValidationError):
        load({name: text})


def test_a_worker_without_a_stated_budget_does_not_start() -> None:
    """It ends with 2 and says what to set, beside everything else that is missing."""
    result = CliRunner().invoke(main, ["worker"], env={**READY, "DIRETRIX_USER": "", "DIRETRIX_DAILY_BUDGET": ""})
    assert result.exit_code == 2
    assert "not configured: DIRETRIX_USER, DIRETRIX_DAILY_BUDGET." in result.stderr
    assert "DIRETRIX_DAILY_BUDGET: a number of paid calls a day for the whole fleet, or: unlimited" in result.stderr
    assert "DIRETRIX_DAILY_BUDGET_FILE" not in result.stderr


def test_the_budget_of_the_work_api_may_be_left_out() -> None:
    """It is not billed by call: unlimited, unless somebody says otherwise."""
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
    """The fault names the variable and what to do; naming the partner, and it alone, makes it none."""
    others = ",".join(one for one in PARTNERS if one != partner)
    fault = plaintext_fault(load({BASES[partner]: address, "PLAINTEXT_PARTNERS": others}), partner)
    assert BASES[partner] in fault
    assert f"name {partner} in PLAINTEXT_PARTNERS" in fault
    assert plaintext_fault(load({BASES[partner]: address, "PLAINTEXT_PARTNERS": partner}), partner) == ""


@pytest.mark.parametrize("address", FINE)
def test_tls_and_this_machine_need_no_name(address: str) -> None:
    """Nobody is on the way."""
    assert plaintext_fault(load({"WORK_API_BASE_URL": address}), "work") == ""


@pytest.mark.parametrize("address", NONE)
def test_what_is_no_address_is_said_at_the_start(address: str) -> None:
    """Named or not: no call could go there."""
    settings = load({"DIRETRIX_BASE_URL": address, "PLAINTEXT_PARTNERS": "diretrix"})
    assert "DIRETRIX_BASE_URL: is no address" in plaintext_fault(settings, "diretrix")


def test_diretrix_is_named_by_itself() -> None:
    """Its real address is http://, and the default says so."""
    settings = load({})
    assert settings.diretrix_base_url.startswith("http://api.")
    assert plaintext_fault(settings, "diretrix") == ""


def test_the_work_api_has_two_names() -> None:
    """As in the log, and as in the variables."""
    assert load({"PLAINTEXT_PARTNERS": "Diretrix, work_api"}).plaintext_partners == ("diretrix", "work")


def test_a_partner_that_nobody_knows_is_a_fault() -> None:
    """A slip in the list would leave a process that does not start, without saying why."""
    with pytest.raises(ValidationError):
        load({"PLAINTEXT_PARTNERS": "diretrix,c2"})


def test_the_processes_look_at_their_own_partners() -> None:
    """The worker at Diretrix and the Work API, the CRM sync at C2S, with all faults at once and exit code 2."""
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
    """Leading zeros hide no number that is too large."""
    with pytest.raises(ValidationError, match="number of calls"):
        load({"DIRETRIX_DAILY_BUDGET": budget})


def test_a_duration_beyond_all_time_is_a_fault() -> None:
    """It is named as any other fault is, without a traceback."""
    with pytest.raises(ValidationError, match="longer than any duration"):
        load({"C2S_TIMEOUT": "999999999999999d"})
