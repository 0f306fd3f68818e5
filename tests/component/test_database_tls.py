"""PostgreSQL behind TLS, by what DATABASE_URL says.

The database is the real one; TLS ends in front of it, as at a pooler or a cloud's proxy, since the server out of the
wheel is built without it. What is proved is our side: the driver and the migrations, and whom they speak to.
"""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from stream.domain.errors import DatabaseUnavailableError
from stream.ops.migrate import migrate
from stream.settings import load
from stream.store.pool import open_pool

SSL_REQUEST = struct.pack("!ii", 8, 80877103)  # what a client sends first when it wants TLS


class Front:
    """Takes TLS off and hands the rest to the database."""

    def __init__(self, database_url: str, context: ssl.SSLContext) -> None:
        self._database = urlsplit(database_url)
        self._context = context
        self.declines = False
        self.plain = 0  # clients that went on, or began, in clear

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        with suppress(OSError, asyncio.IncompleteReadError):
            if await reader.readexactly(8) != SSL_REQUEST:
                self.plain += 1
                return writer.close()
            writer.write(b"N" if self.declines else b"S")
            if self.declines:
                self.plain += bool(await reader.read(1))
                return writer.close()
            await writer.start_tls(self._context)
            back_reader, back_writer = await self._connect()
            await asyncio.gather(_pipe(reader, back_writer), _pipe(back_reader, writer))
        return writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder = parse_qs(self._database.query).get("host", [""])[0]
        if folder:
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.5432")
        return await asyncio.open_connection(self._database.hostname, self._database.port or 5432)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    writer.close()


class Secured:
    """Addresses of the front, and the authority that vouches for it."""

    def __init__(self, front: Front, database_url: str, port: int, cafile: Path) -> None:
        parts = urlsplit(database_url)
        self.front = front
        self._login = f"{parts.username or ''}:{parts.password or ''}"
        self._port, self._path = port, parts.path
        self.cafile = cafile

    def url(self, mode: str, cafile: Path | None = None, host: str = "127.0.0.1") -> str:
        """An address with ``sslmode`` and ``sslrootcert``."""
        options = f"sslmode={mode}" + (f"&sslrootcert={cafile}" if cafile is not None else "")
        return f"postgresql://{self._login}@{host}:{self._port}{self._path}?{options}"


@asynccontextmanager
async def secured(database_url: str, folder: Path) -> AsyncIterator[Secured]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    front = Front(database_url, context)
    async with await asyncio.start_server(front.serve, "127.0.0.1", 0) as server:
        yield Secured(front, database_url, server.sockets[0].getsockname()[1], folder / "ca.pem")


@pytest.fixture
async def tls(empty_database_url: str, tmp_path: Path) -> AsyncIterator[Secured]:
    async with secured(empty_database_url, tmp_path) as one:
        yield one


async def ask(url: str) -> int:
    async with open_pool(load({"DATABASE_URL": url, "DATABASE_TIMEOUT": "3s"})) as pool:
        answer: int = await pool.fetchval("SELECT 42")
        return answer


async def test_pool_and_migrations_go_through_tls(tls: Secured) -> None:
    """verify-full with the right authority: tables are made and statements answered, and nobody spoke in clear."""
    url = tls.url("verify-full", tls.cafile)
    assert await migrate(url)
    assert await ask(url) == 42
    assert tls.front.plain == 0


async def test_another_authority_is_not_spoken_to(tls: Secured, tmp_path: Path) -> None:
    """The certificate is checked before any password is sent."""
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with pytest.raises(DatabaseUnavailableError):
        await ask(tls.url("verify-full", tmp_path / "other.pem"))


async def test_another_host_is_not_spoken_to(tls: Secured) -> None:
    """The certificate must name the host: it names 127.0.0.1 and not localhost."""
    with pytest.raises(DatabaseUnavailableError):
        await ask(tls.url("verify-full", tls.cafile, host="localhost"))


async def test_nothing_is_sent_in_clear_where_tls_is_asked_for(tls: Secured) -> None:
    """A server that declines TLS is left at once."""
    tls.front.declines = True
    with pytest.raises(DatabaseUnavailableError):
        await ask(tls.url("require"))
    assert tls.front.plain == 0
