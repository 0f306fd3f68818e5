"""Masking: however a phone, a CPF or an e-mail is written, it does not come through; what operators need does."""

from __future__ import annotations

import re
import time
from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stream.logs import mask
from stream.logs.masking import is_cpf, without_numbers

AREAS = ["11", "21", "31", "47", "51", "61", "71", "85", "92", "98"]
BETWEEN = st.sampled_from(["", "", "", " ", ".", "-", "/", "_", "\u00a0", " - ", "\u2013", "\u200b", ") ", "\t", "%20"])
SCRIPTS = st.sampled_from([0x30, 0x660, 0x966, 0xFF10, 0x1D7CE])
AROUND = st.sampled_from([("", ""), ("lead ", " failed"), ('{"x":"', '"}'), ("[", "]"), ("cpf=", "&a=b"), ("tel", "x")])


def with_check_digits(first: int) -> str:
    """A CPF of nine digits and its two check digits."""
    digits = f"{first:09d}"
    return next(f"{digits}{check:02d}" for check in range(100) if is_cpf(f"{digits}{check:02d}"))


CPFS = st.integers(0, 999_999_999).map(with_check_digits)
PHONES = st.one_of(
    st.tuples(
        st.sampled_from(["", "55", "+55", "0"]), st.sampled_from(AREAS), st.from_regex(r"9[0-9]{8}", fullmatch=True)
    ),
    st.tuples(st.sampled_from(["55", "+55"]), st.sampled_from(AREAS), st.from_regex(r"[2-5][0-9]{7}", fullmatch=True)),
).map("".join)


def written(digits: str, between: list[str], script: int) -> str:
    """Digits of a script with something between any two of them."""
    shown = [chr(script + int(digit)) if digit.isdigit() else digit for digit in digits]
    return "".join(one + gap for one, gap in zip(shown, between, strict=False))


def digits_of(text: str) -> str:
    """All digits of a text as ASCII."""
    return "".join(str(int(one)) for one in text.replace("%20", "") if one.isdecimal())


@given(st.one_of(CPFS, PHONES), st.lists(BETWEEN, min_size=16, max_size=16), SCRIPTS, AROUND)
@example("39053344705", [" " if at in {2, 5, 8} else "" for at in range(16)], 0x30, ("", ""))
@example("5511937265842", [" " if at in {3, 7} else "" for at in range(16)], 0x30, ("", ""))
def test_every_phone_and_cpf_is_masked(digits: str, between: list[str], script: int, around: tuple[str, str]) -> None:
    """At most two digits are left, whatever stands between the digits and whatever their script."""
    shown = mask(around[0] + written(digits, between, script) + around[1])
    assert len(digits_of(shown)) <= 2, shown


@pytest.mark.parametrize(
    "text",
    [
        "11 3333-4444",
        "(11) 3333 4444",
        "1133334444",
        "011 3333-4444",
        "+1 415 555 2671",
        "+351 912 345 678",
        "529.982.247-26",
    ],
)
def test_landlines_foreign_numbers_and_mistyped_cpfs_are_masked(text: str) -> None:
    """Each is masked in the ways that people write it."""
    assert len(digits_of(mask(f"lead {text} failed"))) <= 2


LOCALS = st.from_regex(r"[a-z0-9][a-z0-9._+-]{0,20}", fullmatch=True)
DOMAINS = st.sampled_from(["localhost", "example.com", "ex\u00e1mple.com.br", "\u4f8b\u5b50.\u5e7f\u544a", "a.b.c.d"])
ATS = st.sampled_from(["@", "%40", "%2540", "\uff20", "\\u0040"])


@given(LOCALS, ATS, DOMAINS, st.sampled_from(["{}", "<{}>", '{{"email":"{}"}}', "email={}&x=1", "a {}, b", "[{}]"]))
def test_every_email_is_masked(local: str, at: str, domain: str, around: str) -> None:
    """E-mails with a domain of one word or of another script, encoded, quoted or in JSON are masked."""
    assert mask(around.format(local + at + domain)) == mask(around.format("x@y"))


@pytest.mark.parametrize(
    "text", ['"ana souza"@example.com', '"a@b"@example.com', "ana @ example.com", "ana@ example.com"]
)
def test_unusual_emails_are_masked(text: str) -> None:
    """E-mails with a quoted part or with blanks around the sign are masked."""
    shown = mask(f"told {text} so")
    assert not re.search("ana|souza|example", shown), shown


ORDINARY = """
Found existing enrichment
+55******4321 a***@e*** ***.***.***-25 ***21
c34c2cc6-06e3-5b23-950b-525987654321
52998224-7251-1987-6543-210987654321
2026-01-31T12:00:00.123456+00:00
2026-01-31 12:00:00,123 INFO aiokafka.consumer
at 2026-01-31 12:00:00 +0000 and on 2026-02-01
webhooks 3 123456789
webhooks/3/123456789
127.0.0.1:9092
10.244.13.201:54321 -> 192.168.100.12:9092
1769860800123
1769860800.123456
0.12345678901234
load 0.52 0.58 0.59 10.25
Python 3.11.14, aiokafka 0.14.0, PostgreSQL 18.1
TopicPartition(topic='webhooks', partition=3)
OffsetAndMetadata(offset=123456789, metadata='')
partitions 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
[12, 34, 56, 78, 90, 12]
took 12.345678 s
<Task pending at 0x7f1234567890>
offset 123456789 of 987654321
pool 8/8, 12 wait
leads-worker-1-7d9f8b6c5-x2x4z
Generation 12 of faust-0.15.3-1f0ec0a1-7d2c-4c3e-8c1d-1234567890ab
9 of 10 records, 8 bytes
consumed 1000 2000 3000 4000
postgresql://user:***@db:5432/leads
KafkaError: [Error 7] x=y
File "/app/stream/logs.py", line 123, in _mask
HTTP/1.1 200 1234 567
@app.agent and @ alone
""".strip().splitlines()


@pytest.mark.parametrize("text", ORDINARY)
def test_what_an_operator_needs_stays(text: str) -> None:
    """Ids, times, addresses, offsets, counters, versions and masked values stay."""
    assert mask(text) == text


TIMES = st.datetimes(datetime(1900, 1, 1), datetime(2099, 12, 31))  # noqa: DTZ001 - logs have them without a zone too


@given(st.uuids(), TIMES, st.ip_addresses(v=4), st.integers(0, 10**9 - 1), st.integers(0, 65535))
def test_ids_times_and_addresses_stay(identity: object, at: object, host: object, offset: int, port: int) -> None:
    """Ids, times and addresses of any value stay, except an address that is also a CPF."""
    text = f"{identity} at={at} offset={offset}"
    assert mask(text) == text
    if not is_cpf(str(host).replace(".", "")):
        assert mask(f"{host}:{port}") == f"{host}:{port}"


@pytest.mark.parametrize(
    "text",
    [
        "a" * 10**6 + "@",
        "1 " * 500_000,
        "1.2-3" * 200_000,
        "@a" * 500_000,
        "1%20" * 200_000,
        '"' * 500_000 + "@",
        "55" * 500_000,
        "1," * 500_000,
        "9%2C&#44;" * 100_000,
        "token='" * 150_000,
        "token:bearer " * 80_000,
        "cookie=" * 150_000,
        "://a:" * 200_000,
        "1.5e" * 250_000,
    ],
    ids=[
        *("word", "digits", "signs", "ats", "encoded", "quotes", "row"),
        *("list", "escapes", "tokens", "schemes", "cookies", "addresses", "exponents"),
    ],
)
def test_a_hostile_text_is_masked_in_linear_time(text: str) -> None:
    """A text of a megabyte is masked in seconds, whatever it is made of."""
    began = time.monotonic()
    mask(text)
    assert time.monotonic() - began < 60


@pytest.mark.parametrize(
    "text",
    [
        "event_id=deb36176b8c11987650123b7d41903bd",
        "sha=80ad440011987650123f00000000000000000000000000000000000000000ab0",
        "lead_09796518-6389-2e54-96fc-3307b9e747b6_1",
    ],
)
def test_digests_that_operators_search_for_stay(text: str) -> None:
    """Hexadecimal ids keep their digits, whatever stands beside them."""
    assert without_numbers(text) == text


@pytest.mark.parametrize(
    "text",
    [
        r"b'\x00\x1631973570001\x01\x08\x0eattempt'",
        r"b'\x1239053344705\x01'",
        r"b'\n31\x0097357\x000001'",
    ],
)
def test_identifiers_behind_escaped_bytes_are_masked(text: str) -> None:
    """The two digits of an escaped byte are not part of the phone that follows it."""
    masked = without_numbers(text)
    assert "97357" not in masked
    assert "390533" not in masked
