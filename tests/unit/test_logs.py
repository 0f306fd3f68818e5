"""The log: whatever is written, by whomever, nobody is in clear."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from stream.logs import configure, get_logger, mask, masked, webhook_line
from stream.logs import webhook_lines as lines_of_webhooks
from stream.settings import load

SECRETS = {
    "WORK_API_TOKEN": "tok&en/with+signs",
    "C2S_WEBHOOK_TOKEN": "first-secret,second-secret",
    "DATABASE_URL": "postgresql://user:hunter22@db/leads",
    "DIRETRIX_PASSWORD": "abc",
}
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
CLEAR = ["98765", "529.982", "529982", "ana.souza", "example.com", "secret", "signs", "hunter22"]


@pytest.fixture
def _restored() -> Iterator[None]:
    root, secrets = logging.getLogger(), set(masked._secrets)  # noqa: SLF001 - what configure changes is put back
    handlers, level = list(root.handlers), root.level
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    root.handlers, masked._secrets = handlers, secrets  # noqa: SLF001
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    masked._mask_cached.cache_clear()  # noqa: SLF001
    structlog.reset_defaults()


@pytest.fixture
def lines(_restored: None, capsys: pytest.CaptureFixture[str]) -> Callable[[], list[dict[str, Any]]]:
    """The log of a process as JSON lines, read so far."""
    configure(load({**SECRETS, "LOG_JSON": "true"}), "worker")
    return lambda: [orjson.loads(line) for line in capsys.readouterr().err.splitlines()]


def fail(text: str) -> None:
    raise ValueError(text)


@pytest.mark.parametrize(
    "text",
    [
        "11987654321",
        "+5511987654321",
        "(11) 98765-4321",
        "+55 11 98765-4321",
        "+55 (11) 9 8765 4321",
        "011.98765.4321",
        "p:+5511987654321",
        '{"phone":11987654321}',
        "phone=%2B5511987654321&x=1",
        "telefone5511987654321_",
        "/Consultas/Pessoa/Telefone/11987654321",
        "11 98765 4321: not found",
        "529.982.247-25",
        "529982247-25",
        "529 982 247-25",
        "c:52998224725",
        "consulta=52998224725",
        "52998224725.",
        "ana.souza@example.com",
        "ana.souza%40example.com",
        "<Ana ana.souza+x@example.com.br>",
        "GET http://h/api?token=secret&modulo=cpf",
        "Authorization: Bearer secret",
        '{"google_key": "secret"}',
        "postgresql://user:secret@db/leads",
        "amqp://:secret@x",
    ],
)
def test_no_identifier_and_no_secret_is_in_clear(text: str) -> None:
    """Phones, CPFs, e-mails, tokens and passwords are masked, wherever in a text they stand."""
    for shown in (mask(text), mask(f"before {text} after"), mask(f"[{text}]"), mask("x" * 300 + " " + text)):
        assert not [clear for clear in CLEAR if clear in shown]


@pytest.mark.parametrize(
    "text",
    [
        "Found existing enrichment",
        "+55******4321 a***@e*** ***.***.***-25",
        "c34c2cc6-06e3-5b23-950b-525987654321",
        "2026-01-31T12:00:00.123456+00:00",
        "2026-01-31 12:00:00",
        "webhooks 3 123456789",
        "127.0.0.1:9092",
        "0.12345678901234",
        "KafkaError: [Error 7] x=y",
    ],
)
def test_what_an_operator_needs_stays(text: str) -> None:
    """Ids, times, offsets, addresses of servers and masked values stay."""
    assert mask(text) == text


@given(st.text())
def test_any_text_can_be_masked_twice(text: str) -> None:
    """Masking never raises, and a masked text stays the same."""
    once = mask(text)
    assert "\x00" not in once or "\x00" in text
    assert mask(mask(once)) == mask(once)


def test_every_value_of_a_line_is_masked(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Texts, numbers, nested values, objects and exceptions are masked."""
    log = get_logger("x")
    try:
        fail("no such contact: 11987654321")
    except ValueError as error:
        log.exception("it went wrong for 529.982.247-25", error=error)
    log.info("DB HIT", phone=11987654321, many=["a", ("ana.souza@example.com",)], deep={"cpf": {"52998224725"}})
    log.warning("told", token="first-secret", url="http://h/?t=tok%26en%2Fwith%2Bsigns", key="x second-secret y")
    text = str(lines_ := lines())
    assert [line["event"] for line in lines_[1:]] == ["DB HIT", "told"]
    assert not [clear for clear in CLEAR if clear in text]
    assert "ValueError" in lines_[0]["exception"]
    assert lines_[1]["many"] == ["a", ["***@***"]]


def test_a_line_has_level_process_time_and_fields(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """A line has its level, the process, the time and the unchanged fields."""
    get_logger("x").info("answered", offset=12345678901, count=3, share=0.5, yes=True, none=None)
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "answered",
        "level": "info",
        "process": "worker",
        "offset": 12345678901,
        "count": 3,
        "share": 0.5,
        "yes": True,
        "none": None,
    }


def test_the_lines_of_libraries_are_masked_too(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Warnings of aiohttp, aiokafka and Faust are written masked, with their exception; lines below WARNING are not."""
    logging.getLogger("aiohttp.server").error("failed for %s", "11987654321")
    logging.getLogger("aiokafka.consumer").info("chatter")
    logging.getLogger("faust").warning("slow")
    try:
        fail("ana.souza@example.com")
    except ValueError:
        logging.getLogger("asyncio").exception("lost")
    seen = lines()
    assert [line["event"] for line in seen] == ["failed for ***21", "slow", "lost"]
    assert "ValueError" in seen[2]["exception"]
    assert "ana.souza" not in str(seen)
    assert {line["process"] for line in seen} == {"worker"}


@pytest.mark.usefixtures("_restored")
def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    """LOG_LEVEL applies to the project's lines and to those of libraries."""
    configure(load({"LOG_LEVEL": "WARNING"}), "worker")
    get_logger("x").info("quiet")
    logging.getLogger("x").info("quiet")
    get_logger("x").warning("loud")
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.usefixtures("_restored")
def test_a_plain_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A value with a line end forges no second line, and a traceback stands indented below its line."""
    configure(load({}), "producers")
    log = get_logger("x")
    log.info("answered", lead="L1\n2026 info worker: forged", n=1)
    try:
        fail("x\n2026 info worker: forged\x1b]0;t\x07")
    except ValueError:
        log.exception("broken")
    written = capsys.readouterr().err
    assert "\x1b" not in written
    first, second, *trace = written.splitlines()
    assert first.endswith(r" info producers: answered lead='L1\n2026 info worker: forged' n=1")
    assert second.endswith(" error producers: broken")
    assert trace[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") for line in trace)


@pytest.mark.usefixtures("_restored")
def test_setting_up_twice_writes_a_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    """The last set-up counts, and handlers of others stay."""
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    for process in ("first", "second"):
        configure(load({}), process)
    logging.getLogger("x").warning("once")
    text = capsys.readouterr().err
    assert text.count("once") == 1
    assert "second" in text
    assert other in logging.getLogger().handlers


@pytest.mark.parametrize("as_json", ["false", "true"])
@pytest.mark.parametrize(
    "lead", ["3f2a9c01d4e5b6a7", "11987654321", "first-secret", "ana@example.com", "a\nb", "a b=c"]
)
@pytest.mark.usefixtures("_restored")
async def test_the_line_of_a_webhook_is_the_line_that_the_log_would_write(
    lead: str, as_json: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The fast way writes and masks the same as the usual one, in the same order, at the end of the tick."""
    configure(load({**SECRETS, "LOG_JSON": as_json}), "worker")
    get_logger("x").info("DB HIT", contact="+55******4321", outcome="enriched", lead=lead)
    webhook_line("DB HIT", "+55******4321", "enriched", lead)
    get_logger("x").info("after")
    plain, quick, _ = (TIMESTAMP.sub("", line) for line in capsys.readouterr().err.splitlines())
    assert quick == plain
    webhook_line("DB HIT", "nobody", "enriched", lead)
    assert capsys.readouterr().err == ""
    await asyncio.sleep(0)
    assert capsys.readouterr().err.count("\n") == 1


@given(st.lists(st.one_of(st.text(min_size=1), st.from_regex(r"[0-9a-f]{0,6}[0-9]{8,16}[0-9a-f]{0,6}\n?")), min_size=1))
def test_ids_that_are_masked_together_are_masked_as_each_alone(leads: list[str]) -> None:
    """However many webhooks share a tick, each id is masked as if it were alone, on its own line."""
    together = lines_of_webhooks._mask_leads(leads)  # noqa: SLF001 - no log is read back for each of so many
    assert together == [shown for lead in leads for shown in lines_of_webhooks._mask_leads([lead])]  # noqa: SLF001
    for lead, shown in zip(leads, together, strict=True):
        assert shown in {mask(lead), repr(mask(lead))}


@pytest.mark.usefixtures("_restored")
def test_the_line_of_a_webhook_obeys_the_level_and_needs_no_loop(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the level nothing is written; without a loop the line is written at once."""
    configure(load({"LOG_LEVEL": "WARNING"}), "worker")
    webhook_line("DB HIT", "nobody", "enriched", "L1")
    configure(load({}), "worker")
    webhook_line("DB HIT", "nobody", "enriched", "L2")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == ["lead=L2"]
