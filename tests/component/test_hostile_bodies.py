"""Partners that answer with anything, over raw sockets: a failure of that partner, in bounded time and memory."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import logging
import resource
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import uvloop

from stream.crm.client import C2S
from stream.domain.errors import PartnerUnavailableError
from stream.domain.identity import Cpf, Phone
from stream.domain.person import MAX_ENTRIES_READ, Candidate, person_from_work
from stream.providers.body import MAX_BODY_BYTES, MAX_DEPTH, MAX_VALUES
from stream.providers.diretrix import MAX_CANDIDATES, Diretrix
from stream.providers.guard import Guard
from stream.providers.http import partner_session
from stream.providers.work_api import WorkApi
from stream.settings import load
from tests.support.fakes import no_reservation

PHONE, CPF = Phone("+5511987654321"), "52998224725"
MARIA = [{"nome": "MARIA LIMA", "cpf": CPF}]
FOUND = (Candidate("MARIA LIMA", CPF),)
MEBIBYTE = 1024 * 1024
Write = Callable[[asyncio.StreamWriter], Awaitable[None]]


def on_uvloop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on the loop of production."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        uvloop.run(test(**arguments))

    return run


@asynccontextmanager
async def serving(write: Write) -> AsyncIterator[str]:
    """A server that reads a request's head and then writes whatever ``write`` does."""
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await write(writer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answer(body: bytes, *headers: str, status: str = "200 OK", kind: str = "application/json") -> Write:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    return write


def raw(data: bytes, *, repeat: bytes = b"", pause: float = 0.0) -> Write:
    """Bytes as they are; then ``repeat`` for ever, with a ``pause`` between."""

    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        while repeat:
            writer.write(repeat)
            await writer.drain()
            await asyncio.sleep(pause)

    return write


@asynccontextmanager
async def asked(write: Write, seconds: str = "5s") -> AsyncIterator[tuple[Diretrix, WorkApi, C2S]]:
    """The three clients against one hostile server."""
    async with serving(write) as base, partner_session() as session:
        settings = load(
            {
                **{f"{name}_BASE_URL": base for name in ("DIRETRIX", "WORK_API", "C2S")},
                **{f"{name}_TIMEOUT": seconds for name in ("DIRETRIX", "WORK_API", "C2S")},
            }
        )
        guards = [Guard(name, at_once=8, rate=None, workers=1) for name in ("diretrix", "work")]
        yield Diretrix(session, settings, guards[0]), WorkApi(session, settings, guards[1]), C2S(session, settings)


async def all_fail(write: Write, seconds: str = "5s") -> list[str]:
    """Ask all three; each must fail as one that may have been billed. Their reasons."""
    reasons = []
    async with asked(write, seconds) as (diretrix, work, c2s):
        calls: tuple[Callable[[], Awaitable[object]], ...] = (
            lambda: diretrix.by_phone(PHONE, no_reservation),
            lambda: work.by_cpf(Cpf(CPF), no_reservation),
            lambda: c2s.create_lead({"name": "Ana"}),
        )
        for call in calls:
            with pytest.raises(PartnerUnavailableError) as caught:
                await call()
            assert caught.value.billed == "unsure"
            assert caught.value.__suppress_context__ or caught.value.__context__ is None
            reasons.append(caught.value.reason)
    return reasons


def zeros(mebibytes: int, wbits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return b"".join(packer.compress(bytes(MEBIBYTE)) for _ in range(mebibytes)) + packer.flush()


def memory() -> int:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


HOSTILE = {
    "nothing": answer(b""),
    "half an object": answer(b'[{"nome": "A'),
    "trailing garbage": answer(b'[{"nome": "A", "cpf": "52998224725"}] garbage'),
    "two values": answer(b"[][]"),
    "NaN": answer(b'[{"nome": NaN}]'),
    "Infinity": answer(b'[{"nome": -Infinity}]'),
    "UTF-16": answer(orjson.dumps(MARIA).decode().encode("utf-16")),
    "UTF-16 declared": answer(orjson.dumps(MARIA).decode().encode("utf-16"), kind="application/json; charset=utf-16"),
    "UTF-32": answer(orjson.dumps(MARIA).decode().encode("utf-32")),
    "UTF-7 declared": answer(b"[+AHs-]", kind="application/json; charset=utf-7"),
    "Latin-1": answer('[{"nome": "JOSÉ"}]'.encode("latin-1")),
    "Latin-1 declared": answer('[{"nome": "JOSÉ"}]'.encode("latin-1"), kind='text/plain; charset="ISO-8859-1"'),
    "an unknown charset": answer(b"[]", kind="application/json; charset=klingon"),
    "a codec that is no charset": answer(b"[]", kind="application/json; charset=zlib_codec"),
    "half a surrogate": answer(b'[{"nome": "\xed\xa0\x80"}]'),
    "deep lists": answer(b"[" * 500_000 + b"]" * 500_000),
    "deep enough for recursion": answer(b"[" * 900 + b"]" * 900),
    "deep objects": answer(b'{"a":' * 200 + b"1" + b"}" * 200),
    "deep below the person": answer(b'{"DadosBasicos":{"nome":"A"},"x":' + b"[" * 80 + b"]" * 80 + b"}"),
    "too many values": answer(b"[" + b"1," * MAX_VALUES + b"1]"),
    "text": answer(b'"Maria"'),
    "a number of 5,000 digits": answer(b"9" * 5_000),
    "people that are none": answer(b'{"DadosBasicos": "Maria"}'),
    "a person of lists": answer(b'{"DadosBasicos": {"nome": ["A"], "cpf": "1"}}'),
    "one above the limit": answer(b'"' + b"x" * (MAX_BODY_BYTES - 1) + b'"'),
    "brotli": answer(b"\x0b\x02\x80[]\x03", "Content-Encoding: br"),
    "zstd": answer(b"\x28\xb5\x2f\xfd\x00\x58\x11\x00\x00[]", "Content-Encoding: zstd"),
    "an unknown coding": answer(b"[]", "Content-Encoding: x-unknown"),
    "gzip twice": answer(gzip.compress(gzip.compress(b"[]")), "Content-Encoding: gzip, gzip"),
    "gzip that is none": answer(b"[]", "Content-Encoding: gzip"),
    "gzip that ends early": answer(gzip.compress(orjson.dumps(MARIA))[:-20], "Content-Encoding: gzip"),
    "a length that is a lie": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[]"),
    "a length that is none": raw(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n[]"),
    "two lengths": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]"),
    "a chunk that is none": raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n[]\r\n0\r\n\r\n"),
    "no status line": raw(b"[]\r\n\r\n"),
    "a status of words": raw(b"HTTP/1.1 OK\r\n\r\n[]"),
    "a status of five digits": raw(b"HTTP/1.1 20000 OK\r\n\r\n[]"),
    "another protocol": raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
    "nothing at all": raw(b""),
    "a header without an end": raw(b"HTTP/1.1 200 OK\r\nX: ", repeat=b"x" * 65_536),
    "headers without an end": raw(b"HTTP/1.1 200 OK\r\n", repeat=b"X: y\r\n" * 1_000),
    "a large header": answer(b"[]", "X: " + "y" * 100_000),
    "many headers": answer(b"[]", *(f"X-{number}: y" for number in range(5_000))),
    "a NUL in a header": answer(b"[]", "X: a\x00b"),
    "a redirect": answer(b"[]", "Location: http://127.0.0.1:1/", status="307 Temporary Redirect"),
    "an endless body": raw(b"HTTP/1.1 200 OK\r\n\r\n[", repeat=b" " * 65_536),
    "an endless chunked body": raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", repeat=b"10000\r\n" + b" " * 65_536 + b"\r\n"
    ),
    "an endless trailer": raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n", repeat=b"X: y\r\n" * 1_000
    ),
}


@pytest.mark.parametrize("write", HOSTILE.values(), ids=HOSTILE.keys())
@on_uvloop
async def test_whatever_a_partner_answers_is_a_failure_of_that_partner(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Each client raises its own error, as one that may have been billed, and no traceback reaches the log."""
    caplog.set_level(logging.WARNING)
    await all_fail(write)
    assert "Traceback" not in caplog.text


SLOW = {
    "a slow body": raw(b"HTTP/1.1 200 OK\r\n\r\n[", repeat=b" ", pause=0.02),
    "a slow head": raw(b"HTTP/1.1 200 OK\r\n", repeat=b"X: y\r\n", pause=0.1),
    "a body that stands still": raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[", repeat=b"", pause=0),
    "interim answers without an end": raw(b"", repeat=b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "early hints without an end": raw(b"", repeat=b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=0.01),
}


@pytest.mark.parametrize("write", SLOW.values(), ids=SLOW.keys())
@on_uvloop
async def test_a_partner_that_does_not_end_is_given_up_in_its_time(write: Write) -> None:
    """The limit of a call holds for head and body together, and others go on meanwhile."""
    began = time.monotonic()
    await all_fail(write, "500ms")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("coding", "wbits"), [("gzip", 31), ("deflate", 15), ("deflate", -15)])
@on_uvloop
async def test_a_bomb_takes_no_memory_and_does_not_stop_the_loop(coding: str, wbits: int) -> None:
    """2 GB in a body of 2 MB end as a failure: a few megabytes of memory, and the loop goes on all the while."""
    write = answer(zeros(2_048, wbits), f"Content-Encoding: {coding}")
    before, longest, last = memory(), 0.0, time.monotonic()

    async def tick() -> None:
        nonlocal longest, last
        while True:
            await asyncio.sleep(0.01)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    ticking = asyncio.create_task(tick())
    assert await all_fail(write, "20s") == [f"{name}: a body above 1 MiB" for name in ("diretrix", "work", "c2s")]
    ticking.cancel()
    assert memory() - before < 64
    assert longest < 2.0


@pytest.mark.parametrize(
    "write",
    [
        answer(orjson.dumps(MARIA)),
        answer(orjson.dumps(MARIA), kind="text/plain; charset=UTF-8"),
        answer(b"\xef\xbb\xbf" + orjson.dumps(MARIA)),
        answer(gzip.compress(orjson.dumps(MARIA)), "Content-Encoding: gzip"),
        answer(zlib.compress(orjson.dumps(MARIA)), "Content-Encoding: deflate"),
        answer(orjson.dumps(MARIA).ljust(MAX_BODY_BYTES)),
        answer(orjson.dumps(MARIA)[:-2] + b',"x":' + b"9" * 300 + b"}]"),
        raw(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + orjson.dumps(MARIA)),
    ],
    ids=["plain", "text", "BOM", "gzip", "deflate", "1 MiB", "a large number beside it", "an interim answer"],
)
@on_uvloop
async def test_an_answer_within_the_limits_is_one(write: Write) -> None:
    """Compressed although nobody asked for it, with a byte order mark, of exactly 1 MiB: it is read."""
    async with asked(write) as (diretrix, _, _):
        assert await diretrix.by_phone(PHONE, no_reservation) == FOUND


@on_uvloop
async def test_no_answer_makes_more_parties_than_a_hundred() -> None:
    """Each candidate is stored: of an answer with thousands only the best are taken."""
    people = [{"nome": "A", "cpf": f"{number:011d}"} for number in range(1, 3_000)]
    async with asked(answer(orjson.dumps(people))) as (diretrix, _, _):
        assert len(await diretrix.by_phone(PHONE, no_reservation)) <= MAX_CANDIDATES


@on_uvloop
async def test_an_answer_as_deep_as_may_be_is_read() -> None:
    """The limit is on what no partner has ever sent."""
    deep = b'{"DadosBasicos":{"nome":"A"},"x":' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    async with asked(answer(deep)) as (_, work, _):
        assert await work.by_cpf(Cpf(CPF), no_reservation) is not None


@on_uvloop
async def test_an_answer_with_thousands_of_phones_is_read_for_the_first_ones() -> None:
    """Whatever is listed, little of it is looked at, and the person is there."""
    phones = [{"telefone": f"119{number:08d}"} for number in range(60_000_000, 60_003_000)]
    raw = {"DadosBasicos": {"nome": "ANA"}, "telefones": [None] * MAX_ENTRIES_READ + phones, "emails": phones}
    async with asked(answer(orjson.dumps(raw))) as (_, work, _):
        found = await work.by_cpf(Cpf(CPF), no_reservation)
    assert found is not None
    person = person_from_work(found, CPF, datetime.now(UTC))
    assert (person.name, person.phones) == ("ANA", ())


@pytest.mark.parametrize("date", ["Sat, 01 Jan 2026 00:00:00 +99999999999999", "Sat, 01 Jan 99999999999 00:00:00 GMT"])
@on_uvloop
async def test_a_retry_after_of_any_kind_is_survived(date: str) -> None:
    """A date that no calendar has counts as not given."""
    async with asked(answer(b"", f"Retry-After: {date}", status="503 Busy")) as (diretrix, _, _):
        with pytest.raises(PartnerUnavailableError) as caught:
            await diretrix.by_phone(PHONE, no_reservation)
    assert caught.value.retry_after is None
