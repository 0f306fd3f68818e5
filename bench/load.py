"""A load generator for HTTP: keep-alive connections that POST prepared bodies, in a process of its own.

Closed loop: each connection sends when it has its answer; latency is from sending to the answer. Open loop
(``--rate``): requests are due at fixed times, whatever the server does; latency is from when a request was *due*. So
a server that stops is charged for every request that would have come meanwhile (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import cast
from urllib.parse import urlsplit

import click
import orjson
import uvloop


@dataclass(slots=True)
class Tally:
    """The answers so far. Latencies in seconds; ``began`` and ``ended`` in monotonic seconds."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    began: float = 0.0
    ended: float = 0.0

    def report(self) -> dict[str, object]:
        """The result, for the benchmark that started this process."""
        cuts = quantiles(self.latencies, n=1000, method="inclusive")
        return {
            "requests": len(self.latencies),
            "seconds": self.ended - self.began,
            "p50_ms": cuts[499] * 1000,
            "p99_ms": cuts[989] * 1000,
            "max_ms": max(self.latencies) * 1000,
            "statuses": {str(status): count for status, count in self.statuses.items()},
        }


class Connection(asyncio.Protocol):
    """One keep-alive connection: a request, its answer, the next request."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._buffer = bytearray()
        self._due = 0.0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is ready."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by birth

    def send(self, body: bytes, due: float) -> None:
        """Send a request that was due at ``due``."""
        self._due = due
        assert self._transport is not None
        self._transport.write(body)

    def data_received(self, data: bytes) -> None:
        """Read an answer; the measured servers always send its length."""
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.lower().find(b"content-length:", 0, head)
        length = int(self._buffer[at + 15 : self._buffer.find(b"\r\n", at)]) if at >= 0 else 0
        if len(self._buffer) >= head + 4 + length:
            status = int(self._buffer[9:12])
            self._buffer.clear()
            self._load.answered(self, status, self._due)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if the server closes a connection while there is work."""
        self._load.lost(exc)


class Load:
    """Bodies, connections, and which connections are free."""

    def __init__(self, requests: list[bytes], rate: float) -> None:
        self._waiting = deque(requests)
        self._count = len(requests)
        self._rate = rate
        self._free: deque[Connection] = deque()
        self._due: deque[float] = deque()
        self.tally = Tally()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, host: str, port: int, connections: int) -> Tally:
        """Send everything; returns the tally."""
        loop = asyncio.get_running_loop()
        opened = [await loop.create_connection(lambda: Connection(self), host, port) for _ in range(connections)]
        self._free.extend(connection for _, connection in opened)
        self.tally.began = time.monotonic()
        if self._rate:
            await self._pace()
        else:
            while self._free and self._waiting:
                self._free.popleft().send(self._waiting.popleft(), time.monotonic())
        await self._done
        self.tally.ended = time.monotonic()
        for transport, _ in opened:
            transport.abort()
        return self.tally

    async def _pace(self) -> None:
        for number in range(self._count):
            due = self.tally.began + number / self._rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            self._due.append(due)
            self._send_due()

    def _send_due(self) -> None:
        while self._due and self._free:
            self._free.popleft().send(self._waiting.popleft(), self._due.popleft())

    def answered(self, connection: Connection, status: int, due: float) -> None:
        """Count an answer; the connection takes the next request."""
        now = time.monotonic()
        self.tally.latencies.append(now - due)
        self.tally.statuses[status] += 1
        if len(self.tally.latencies) == self._count and not self._done.done():
            self._done.set_result(None)
        elif self._rate:
            self._free.append(connection)
            self._send_due()
        elif self._waiting:
            connection.send(self._waiting.popleft(), now)

    def lost(self, error: Exception | None) -> None:
        """Fail, unless everything was sent."""
        if not self._done.done():
            self._done.set_exception(ConnectionError(f"the server hung up: {error}"))


def request(url: str, header: tuple[str, ...], body: bytes) -> bytes:
    """A request's bytes."""
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}", "Content-Type: application/json", *header]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


@click.command()
@click.option("--url", required=True, help="Where to POST.")
@click.option("--bodies", type=click.Path(path_type=Path), required=True, help="A file: one JSON body a line.")
@click.option("--header", multiple=True, help="'Name: value', besides the usual ones.")
@click.option("--connections", type=int, default=64, show_default=True)
@click.option("--rate", type=float, default=0.0, help="Requests a second, open loop; 0: as fast as answers come.")
def main(url: str, bodies: Path, header: tuple[str, ...], connections: int, rate: float) -> None:
    """POST every body once and print what was answered, as JSON.

    Example: python -m bench.load --url http://127.0.0.1:8080/api/v1/webhooks/c2s --bodies bodies.jsonl
    """
    parts = urlsplit(url)
    requests = [request(url, header, body) for body in bodies.read_bytes().splitlines()]

    async def play() -> Tally:
        return await Load(requests, rate).run(parts.hostname or "", parts.port or 80, connections)

    click.echo(orjson.dumps(uvloop.run(play()).report()))


if __name__ == "__main__":
    main()
