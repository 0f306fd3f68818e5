"""What the four processes write while the broker or the database is away: few lines, no trace, and the cause."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.error import URLError

import psutil
import pytest

from stream.local.people import population
from stream.local.stack import Stack
from tests.support.system import lead, post, said, teach, wait_until

NAMES = ("producers", "worker", "crm-sync", "journal")
AWAY = 20.0  # seconds
LIMIT = 120.0  # seconds
FEW = 6  # lines of a process that ask for attention: when it goes, a reminder, and what is new
# One for each webhook, which is what an operator wants to know.
OF_A_WEBHOOK = (" lead=", " c2s_id=", " refused ")


@pytest.fixture
def stack() -> Iterator[Stack]:
    """All of it, on servers of its own: they are taken away."""
    with Stack(print, scale=0.05, extra={"RETRY_DELAYS": "1s", "PRODUCER_PUBLISH_TIMEOUT": "3s"}) as started:
        started.start_servers()
        if started.kafka is None or started.postgres is None:
            pytest.skip("needs servers of its own")
        started.start_simulators()
        started.start_ours(*NAMES)
        yield started


@pytest.fixture
def load(stack: Stack) -> Iterator[None]:
    """Webhooks of new people all the while."""
    people = population(400, 5)
    teach(stack, people)
    over = threading.Event()

    def go() -> None:
        for number, someone in enumerate(people * 10):
            with suppress(URLError, OSError):
                post(stack, [lead(f"lead-{number}", someone)])
            if over.wait(0.1):
                return

    thread = threading.Thread(target=go)
    thread.start()
    yield
    over.set()
    thread.join()


def written(stack: Stack, at: dict[str, int]) -> dict[str, list[str]]:
    """The lines that each process has written since ``at``, but for those about one webhook."""
    lines = {name: stack.children[name].log.read_bytes()[at[name] :].decode().splitlines() for name in NAMES}
    return {name: [line for line in of if not any(mark in line for mark in OF_A_WEBHOOK)] for name, of in lines.items()}


def sizes(stack: Stack) -> dict[str, int]:
    """Where each log ends."""
    return {name: stack.children[name].log.stat().st_size for name in NAMES}


def hold(stack: Stack, what: str, names: tuple[str, ...], go: Callable[[], None], come: Callable[[], None]) -> None:
    """Take something away for a while: each process says so once, and once that it is back."""
    at = sizes(stack)
    go()
    until = time.monotonic() + AWAY
    for name in names:
        said(stack.children[name], f"{what} is away error=", LIMIT)
    wait_until(lambda: time.monotonic() >= until, "the end of the outage", LIMIT)
    come()
    for name in names:
        said(stack.children[name], f"{what} is back", LIMIT)
    for name, lines in written(stack, at).items():
        text = f"{name}:\n" + "\n".join(lines)
        assert len([line for line in lines if " info " not in line]) <= FEW, text
        assert "Traceback" not in text, text
        if name in names:
            assert text.count(f"{what} is away error=") == 1, text
            assert text.count(f"{what} is back") == 1, text
    assert all(child.is_running for child in stack.children.values())


@pytest.mark.usefixtures("load")
def test_a_broker_that_is_away_is_said_once(stack: Stack) -> None:
    """Killed: thousands of connections are refused meanwhile."""
    assert stack.kafka is not None
    hold(stack, "the broker", NAMES, stack.kafka.kill, stack.kafka.start)


@pytest.mark.usefixtures("load")
def test_a_broker_that_hangs_is_said_once(stack: Stack) -> None:
    """Suspended: it takes connections and answers nothing."""
    assert stack.kafka is not None
    broker = _process(stack.kafka.bootstrap_servers)
    try:
        hold(stack, "the broker", ("worker", "crm-sync", "journal"), broker.suspend, broker.resume)
    finally:
        broker.send_signal(signal.SIGCONT)


@pytest.mark.usefixtures("load")
def test_a_database_that_is_away_is_said_once(stack: Stack) -> None:
    """Killed: statements under way fail, and the pool can't connect."""
    assert stack.postgres is not None
    hold(stack, "the database", ("worker", "crm-sync"), stack.postgres.kill, stack.postgres.start)


def _process(address: str) -> psutil.Process:
    """Who listens there."""
    port = int(address.rpartition(":")[2])
    listening = (one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN and one.pid)
    return psutil.Process(next(one.pid for one in listening if one.laddr.port == port and one.pid is not None))
