"""Assigns processes to cores: the measured side has one core to itself, broker and harness have the rest."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil

PINS = hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1
MEASURED = {0}
REST = set(range(1, os.cpu_count() or 1))


def pin(pid: int, cores: set[int]) -> None:
    """Keep a process, its threads and its children on ``cores``. Does nothing if the system does not support it."""
    if not PINS:
        return
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    for process in family:
        with suppress(psutil.Error, OSError):
            for thread in process.threads():
                os.sched_setaffinity(thread.id, cores)
