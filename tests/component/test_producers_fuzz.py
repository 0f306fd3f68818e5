"""Whatever is sent to the producers: never a 5xx, never an answer that shows their insides, and level memory.

``FUZZ_REQUESTS=100000 make test ARGS=tests/component/test_producers_fuzz.py`` for a longer run.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "5000"))
AT_ONCE = 10  # requests of one example, side by side
WARM = 0.3  # share of the requests after which the memory is looked at first
MOST_GROWTH = 12e6  # bytes
PATIENCE = 60.0  # seconds for an answer
SILENCE = 0.2  # seconds after which half a request is given up
C2S, GOOGLE = "/api/v1/webhooks/c2s", "/api/v1/webhooks/google-ads"
OLX = "/api/v1/webhooks/grupo-olx"

SURROGATE, NUL, ARABIC = chr(0xD800), chr(0), chr(0x661) * 11
TEXTS = [
    SURROGATE,
    NUL,
    ARABIC,
    "1" * 400,
    "+55" * 20,
    "ramal 1",
    "ª²³",
    "@",
    "a@b",
    "e@[1.2.3.4]",
    "'\"@é.br",
    "x" * 300,
]
INSTANTS = ["2026-01-31T12:00:00Z", "9999-12-31T23:59:59-23:59", "0001-01-01 00:00:00 +1400"]
ODD_TEXT = st.text() | st.sampled_from(TEXTS + INSTANTS)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ODD_TEXT | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD_TEXT, inner, max_size=4),
    max_leaves=8,
)
CUSTOMER = st.dictionaries(st.sampled_from(["name", "email", "phone"]), ODD)
EVENT = st.fixed_dictionaries(
    {},
    optional={
        "id": ODD,
        "hook_action": ODD,
        "attributes": ODD
        | st.fixed_dictionaries(
            {"updated_at": ODD_TEXT | ODD}, optional={"customer": CUSTOMER | ODD, "product": ODD, "log": ODD}
        ),
    },
)
COLUMN = st.fixed_dictionaries(
    {"column_id": st.sampled_from(["CPF", "EMAIL", "PHONE_NUMBER", "FULL_NAME"]) | ODD, "string_value": ODD}
)
FORM = st.fixed_dictionaries(
    {"google_key": st.just("key") | ODD},
    optional={
        "lead_id": ODD,
        "is_test": ODD,
        "lead_submit_time": ODD,
        "user_column_data": st.lists(COLUMN, max_size=4) | ODD,
    },
)
PORTAL_LEAD = st.fixed_dictionaries(
    {"originLeadId": st.text(min_size=1) | ODD, "clientListingId": st.just("A1") | ODD},
    optional=dict.fromkeys(("ddd", "phone", "phoneNumber", "message", "leadOrigin", "timestamp", "email"), ODD),
)


def bodies(value: Any) -> bytes:
    return json.dumps(value).encode()


BODY = (
    st.binary(max_size=200)
    | ODD.map(bodies)
    | EVENT.map(bodies)
    | st.lists(EVENT, max_size=5).map(bodies)
    | st.integers(1, 50_000).map(lambda depth: b"[" * depth + b"]" * depth)
    | st.integers(1, 5_000).map(lambda depth: b'{"id":' * depth + b"1" + b"}" * depth)
)


class Sent(NamedTuple):
    """Bytes on a connection. ``whole``: a request that must be answered."""

    data: bytes
    whole: bool = True

    def __repr__(self) -> str:
        return f"{self.data[:400]!r} of {len(self.data)} bytes"


def request(method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Sent:
    """A request that is well formed, whatever its values."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers)])
    return Sent(head.encode("latin-1") + b"\r\n\r\n" + body)


def malformed(data: bytes, at: int, junk: bytes) -> Sent:
    """A request with something put into it."""
    at %= len(data)
    return Sent(data[:at] + junk + data[at:], whole=False)


TOKEN = st.just([("X-Webhook-Token", "secret")])
HEADER_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "X-Webhook-Token",
                "Authorization",
                "Content-Type",
                "Accept",
                "Content-Encoding",
                "Expect",
                "Cookie",
                "Range",
            ]
        ),
        HEADER_TEXT | st.sampled_from(["gzip", "100-continue", "application/json; charset=utf-16", "bytes=0-"]),
    ),
    max_size=3,
)
URL_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=30)
PATH = st.sampled_from([C2S, GOOGLE, OLX, "/healthz", "/readyz", "/metrics", "/openapi.json", "/", "*"]) | URL_TEXT.map(
    lambda text: f"/{text}"
)
METHOD = st.sampled_from(["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "POST", "QUERY"])
C2S_POSTS = st.builds(request, st.just("POST"), st.just(C2S), TOKEN, BODY)
GOOGLE_POSTS = st.builds(request, st.just("POST"), st.just(GOOGLE), st.just([]), FORM.map(bodies) | BODY)
BASIC = st.just([("Authorization", "Basic dXNlcjpwYXNzd29yZA==")])
PORTAL_POSTS = st.builds(request, st.just("POST"), st.just(OLX), BASIC, PORTAL_LEAD.map(bodies) | BODY)
QUERIES = st.builds(lambda path, query: f"{path}?{query}", PATH, URL_TEXT)
OTHERS = st.builds(request, METHOD, PATH | QUERIES, HEADERS, st.binary(max_size=20))
JUNK = st.binary(min_size=1, max_size=20) | st.sampled_from([b"\r\n", b"\x00", b":", b" ", b"\r\n\r\n", b"\xff" * 9])
BROKEN = st.builds(lambda sent, at, junk: malformed(sent.data, at, junk), C2S_POSTS | OTHERS, st.integers(0, 200), JUNK)
ANY = st.one_of(C2S_POSTS, GOOGLE_POSTS, PORTAL_POSTS, C2S_POSTS, GOOGLE_POSTS, OTHERS, BROKEN)


@pytest.fixture(scope="module")
def front() -> Iterator[tuple[int, psutil.Process]]:
    """The server's port and process."""
    process = subprocess.Popen([sys.executable, "-m", "tests.support.fuzz_front"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline()), psutil.Process(process.pid)
    finally:
        process.kill()
        process.communicate()


async def answers(port: int, requests: list[Sent]) -> list[bytes]:
    """What comes back for each, sent at once."""
    return await asyncio.gather(*(answer(port, one) for one in requests))


async def answer(port: int, sent: Sent) -> bytes:
    """What comes back until the server closes; b"" for half a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    read = asyncio.create_task(reader.read())
    try:
        writer.write(sent.data)
        await asyncio.wait([read], timeout=PATIENCE if sent.whole else SILENCE)
        return read.result() if read.done() and read.exception() is None else b""
    finally:
        read.cancel()
        writer.close()


@pytest.mark.timeout(600)
def test_no_request_causes_a_5xx_or_costs_memory(front: tuple[int, psutil.Process]) -> None:
    """Any body and any head is accepted or refused, and the worker can read whatever is accepted."""
    port, process = front
    sizes: list[int] = []

    @settings(
        max_examples=REQUESTS // AT_ONCE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.lists(ANY, min_size=AT_ONCE, max_size=AT_ONCE))
    def check(requests: list[Sent]) -> None:
        for sent, came in zip(requests, asyncio.run(answers(port, requests)), strict=True):
            if sent.whole:
                assert came.startswith(b"HTTP/1."), (sent, came)
            assert not re.match(rb"HTTP/1\.\d 5", came), (sent, came)
            # The page of metrics names the Python that it runs on, for whoever operates it.
            says = came.partition(b"\r\n\r\n")[0] if b"python_info" in came else came
            assert not re.search(rb"Traceback|\.py\b|aiohttp|Python", says), (sent, came)
        sizes.append(process.memory_info().rss)

    check()
    assert len(sizes) >= REQUESTS // AT_ONCE
    warm = sizes[int(len(sizes) * WARM)]
    assert sizes[-1] - warm < MOST_GROWTH
