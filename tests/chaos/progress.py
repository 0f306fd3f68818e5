"""Reports the progress of a run: minutes passed and the number of the scenario."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LONGEST = 60  # characters of a line that are said again
SILENCE = 30.0  # seconds after which it is said what is still being done


class Progress:
    """Prints lines, each with the minutes passed and the scenario's number of all."""

    def __init__(self, scenarios: int, write: Callable[[str], None] | None = None) -> None:
        """``write`` takes a line; by default it is printed at once."""
        self._scenarios = scenarios
        self._write = write or _print
        self._number = 0
        self._began = self._said = time.monotonic()
        self._last = ""
        threading.Thread(target=self._break_silence, daemon=True).start()

    def next(self) -> Callable[[str], None]:
        """Count one more scenario; returns the function that reports its steps."""
        self._number += 1
        return self.say

    def say(self, text: str) -> None:
        """Write a line."""
        self._said, self._last = time.monotonic(), text.strip()[:LONGEST]
        minutes = (self._said - self._began) / 60
        self._write(f"{minutes:4.1f} min, {self._number} of {self._scenarios}: {text}")

    def _break_silence(self) -> None:
        while True:
            time.sleep(SILENCE / 10)
            last = self._last
            if time.monotonic() > self._said + SILENCE:
                self.say(f"  still after: {last}")
                self._last = last


def _print(line: str) -> None:
    print(line, flush=True)
