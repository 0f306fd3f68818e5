"""Ports that are chosen now and opened later are nobody else's meanwhile."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stream.domain.errors import StopError
from stream.local import kafka
from stream.local.kafka import free_port

ROOT = Path(__file__).parents[2]
COUNT = 20
FIRST = 2_000 + os.getpid() % 500 * COUNT  # another run of the tests has other ports
# Chooses as many ports as it is told out of a few, says which, and keeps them until its input ends.
CHOOSER = """
import sys
from stream.local import kafka
kafka.PORT_RANGE = (int(sys.argv[1]), int(sys.argv[2]))
found = []
for _ in range(int(sys.argv[3])):
    try:
        found.append(kafka.free_port())
    except kafka.StopError:
        break
print(*found, flush=True)
sys.stdin.read()
"""


def chooser(first: int, last: int, count: int) -> subprocess.Popen[str]:
    """Another process that chooses ports."""
    arguments = [sys.executable, "-c", CHOOSER, *map(str, (first, last, count))]
    return subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ports_of(process: subprocess.Popen[str]) -> set[int]:
    """What it has chosen."""
    assert process.stdout is not None
    return set(map(int, process.stdout.readline().split()))


def test_processes_that_choose_at_once_choose_different_ports() -> None:
    """Concurrent processes get different ports, and a port is free again after its process has ended."""
    first, last = FIRST, FIRST + COUNT
    with chooser(first, last, COUNT // 4) as one, chooser(first, last, COUNT // 4) as other:
        mine, theirs = ports_of(one), ports_of(other)
        one.communicate()
        other.communicate()
    assert len(mine) == len(theirs) == COUNT // 4
    assert not mine & theirs
    with chooser(first, last, COUNT) as third:
        again = ports_of(third)
        third.communicate()
    assert len(again) > len(mine | theirs)


def test_no_port_is_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that chooses several ports before it opens one gets different ports."""
    monkeypatch.setattr(kafka, "PORT_RANGE", (FIRST, FIRST + 3))
    found = [free_port()]
    with contextlib.suppress(StopError):
        for _ in range(3):
            found.append(free_port())  # noqa: PERF401 - what was found before the end counts
    with pytest.raises(StopError, match="no free port"):
        free_port()
    assert len(found) == len(set(found))


def test_an_open_port_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that any process has open is not chosen."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        monkeypatch.setattr(kafka, "PORT_RANGE", (port, port + 1))
        with pytest.raises(StopError, match="no free port"):
            free_port()
