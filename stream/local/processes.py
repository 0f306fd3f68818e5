"""Child processes: started, waited for, and never left behind.

A child runs ``python -m ...`` and has its own log file. On Linux it dies with its parent, even if that is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from stream.domain.errors import StopError
from stream.local.kafka import PRIVATE_UMASK, die_with_parent, wait_or_kill

START_TIMEOUT_SECONDS = 180.0
STOP_TIMEOUT_SECONDS = 40.0  # above the shutdown grace of every command


class Child:
    """One ``python -m ...`` and its log."""

    def __init__(self, name: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        """``environment``: added to that of this process; ``folder``: of the log, ``<name>.log``."""
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = [sys.executable, "-m", *arguments]
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id. Raises StopError if the child was not started."""
        if self._process is None:
            raise StopError(f"{self.name} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it without waiting."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                umask=PRIVATE_UMASK,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - it calls prctl and nothing else
            )

    def set(self, name: str, value: str) -> None:
        """Set an environment variable for its next start."""
        self._environment[name] = value

    def wait_for(self, url: str, limit: float = START_TIMEOUT_SECONDS) -> None:
        """Wait until ``url`` answers 200. Raises StopError, with the end of the log, after ``limit`` seconds."""
        until = time.monotonic() + limit
        while time.monotonic() < until:
            if not self.is_running:
                raise StopError(f"{self.name} ended: {self.tail()}")
            if answers(url):
                return
            time.sleep(0.05)
        raise StopError(f"{self.name} is not ready after {limit:.0f} s: {self.tail()}")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, limit: float = STOP_TIMEOUT_SECONDS) -> int:
        """Wait for its end and kill it after ``limit`` seconds. Returns its exit code."""
        if self._process is None:
            return 0
        return wait_or_kill(self._process, limit)

    def stop(self) -> int:
        """Send SIGTERM, and SIGKILL after STOP_TIMEOUT_SECONDS. Returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """Send SIGKILL and wait for its end."""
        self.signal(signal.SIGKILL)
        self.wait()

    def tail(self, characters: int = 1500) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""


def answers(url: str) -> bool:
    """Whether ``url`` answers 200 now."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 - our own address
            return bool(response.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False
