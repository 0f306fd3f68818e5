"""The interface of a scenario: the running system, and the methods to break it."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from stream import topics
from stream.domain.events import event_id
from stream.domain.sources.c2s import read_lead as lead_from_c2s
from stream.kafka.clients import open_admin
from stream.kafka.static_members import remove_members
from stream.local.people import Someone, population
from stream.local.processes import Child, answers
from stream.local.stack import Stack
from stream.ops.replay import Replay, Target, plan
from tests.chaos import verifier
from tests.chaos.evidence import Evidence
from tests.chaos.load import LARGEST, TICK, Load, posts
from tests.chaos.reader import Reader
from tests.chaos.report import Report
from tests.support.system import post, teach

SETTLE_LIMIT = 600.0  # seconds after the last webhook until every one must have its end, however busy the machine
STANDSTILL = 120.0  # seconds without progress after which it is given up
READY_LIMIT = 180.0  # seconds
READERS = {
    "worker": (topics.WORKER_GROUP, topics.WEBHOOKS),
    "crm-sync": (topics.CRM_GROUP, topics.ENRICHED),
    "journal": (topics.JOURNAL_GROUP, topics.ENRICHED),
}


class Rig:
    """Breaks the system on command and records what the verifier needs."""

    def __init__(self, stack: Stack, report: Report, say: Callable[[str], None]) -> None:
        self.stack = stack
        self.report = report
        self.say = say
        self.chance = random.Random(report.seed)
        self.evidence = Evidence()
        self.reader = Reader(stack, self.evidence)
        self.past_unfinished: set[tuple[int, int]] = set()
        self.left: dict[str, int] = {}  # processes that ended by themselves
        self._down: set[str] = set()  # processes that must not run now
        self._loads: list[Load] = []
        self._sent = 0
        self._people: list[Someone] = []

    # The load.

    def people(self, count: int, *, taught: bool = True) -> list[Someone]:
        """Invent people for the load. The partners know them, unless no partner may be asked."""
        self._people = population(count, self.report.seed)
        if taught:
            teach(self.stack, self._people)
        return self._people

    def load(self, webhooks: int, *, per_second: float, people: int = 0) -> Load:
        """Start posting at about this rate a second. ``people``: the number of new people; 0: those that exist."""
        if people or not self._people:
            self.people(people or max(1, webhooks // 2))
        size = min(LARGEST, max(1, round(per_second * TICK)))
        seed = self.report.seed * 1_000 + len(self._loads)
        load = Load(self.stack.producers_url, posts(self._people, webhooks, size, seed, self._sent), per_second)
        self._sent += webhooks
        self._loads.append(load)
        return load

    def post(self, webhooks: list[dict[str, Any]]) -> None:
        """POST C2S webhooks in one body."""
        post(self.stack, webhooks)
        self.evidence.answered |= {event_id(lead_from_c2s(webhook)) for webhook in webhooks}

    # The verbs.

    def kill(self, name: str) -> None:
        """SIGKILL a process."""
        self._down.add(name)
        self.stack.children[name].kill()
        self._was_killed(name)

    def restart(self, name: str, *, ready: bool = False) -> None:
        """Start a process again; with ``ready``, wait until it is ready. A worker's recovery time is measured."""
        if name.startswith("worker"):
            self.mended()
        self._down.discard(name)
        self.stack.children[name].start()
        if ready:
            self.until_ready(name)

    def rename_host(self, name: str, host: str) -> None:
        """From its next start on, the process gets this host name: Faust reads this variable first."""
        self.stack.children[name].set("WEB_HOST", host)

    def stop(self, *names: str) -> list[int]:
        """SIGTERM several processes at the same time and wait for them; returns their exit codes."""
        self._down.update(names)
        for name in names:
            self.stack.children[name].signal(signal.SIGTERM)
        return [self.stack.children[name].wait() for name in names]

    def scale_down(self, *names: str) -> list[int]:
        """Stop workers that will not come back, and remove them from the group as ``stream leave`` does."""
        codes = self.stop(*names)
        asyncio.run(self._leave(names))
        return codes

    async def _leave(self, names: tuple[str, ...]) -> None:
        members = [self.stack.instance(name) for name in names]
        async with open_admin(self.stack.settings()) as admin:
            await remove_members(admin, topics.WORKER_GROUP, members)

    def suspend(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        child = self.stack.children[name]
        self._down.add(name)  # it is about to leave
        child.signal(signal.SIGSTOP)
        self._was_killed(name)  # to whoever gets its partitions it looks the same
        self.sleep(seconds)
        child.signal(signal.SIGCONT)

    def until_gone(self, name: str, limit: float) -> int:
        """Wait for a process that must exit by itself; it is killed after ``limit`` seconds. Returns its exit code."""
        return self.stack.children[name].wait(limit)

    def replay(self, target: Target | datetime) -> int:
        """Reset the stopped worker's group; returns how many records will be read again."""
        return asyncio.run(self._replay(target))

    async def _replay(self, target: Target | datetime) -> int:
        async with open_admin(self.stack.settings()) as admin, asyncio.timeout(SETTLE_LIMIT):
            await remove_members(admin, topics.WORKER_GROUP, [self.stack.instance("worker")])
            replay = Replay(admin, self.stack.settings(), topics.WORKER_GROUP)
            # One that was killed is gone when its session has ended.
            while await replay.members():  # noqa: ASYNC110 - the broker has no event for it
                await asyncio.sleep(0.2)
            goal = await replay.offsets_at(target) if isinstance(target, datetime) else target
            moves = plan(await replay.bounds(), goal)
            await replay.execute(moves)
            return sum(move.records for move in moves)

    def add_worker(self, number: int) -> Child:
        """Start worker ``number`` (from 2) without waiting for it."""
        name = f"worker-{number}"
        self._down.discard(name)
        return self.stack.start_another_worker(number)

    def until_ready(self, name: str) -> None:
        """Wait until a worker has its partitions and its table."""
        url = f"{self.stack.page(name)}/readyz"
        self.until(lambda: answers(url), f"{name} to be ready")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until ``condition`` is true; fails with ``what`` after a while."""
        until = time.monotonic() + READY_LIMIT
        while not condition():
            assert time.monotonic() < until, f"waited {READY_LIMIT:.0f} s for {what}"
            self.sleep(0.1)

    def mended(self) -> None:
        """Record that the failure is over: the recovery time counts from here."""
        self.evidence.mended.append(time.time())

    @contextmanager
    def breaking(self, what: str) -> Iterator[None]:
        """Something is broken inside this block and repaired at its end."""
        self.say(what)
        yield
        self.mended()

    def sleep(self, seconds: float) -> None:
        """Wait. A process that exits meanwhile is started again, as its supervisor would."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.supervise()
            time.sleep(min(left, 0.2))

    def supervise(self) -> None:
        """Start each process again that exited by itself."""
        for name, child in self.stack.children.items():
            if not child.is_running and name not in self._down:
                self.left[name] = self.left.get(name, 0) + 1
                self.say(f"{name} has left by itself: {child.tail(300).strip().splitlines()[-1:]}")
                child.start()

    def _was_killed(self, name: str) -> None:
        if name.startswith("worker"):
            self.evidence.kills.append(time.time())

    # What is held.

    def look(self) -> None:
        """Check the commits of this moment against the events of a moment later."""
        committed = self.reader.committed(topics.WORKER_GROUP, topics.WEBHOOKS)
        self.reader.catch_up()
        self.past_unfinished |= {one.place for one in verifier.beyond(committed, self.evidence)}

    def events(self) -> int:
        """The number of events so far."""
        self.look()
        return len(self.evidence.emissions)

    def promise(self, kept: object, broken: str) -> None:
        """Report ``broken`` if the condition is false."""
        if not kept:
            self.say(f"BROKEN: {broken}")
            self.report.broken.append(broken)

    def note(self, name: str, value: object) -> None:
        """Record a figure of this scenario."""
        self.report.notes[name] = str(value)
        self.say(f"{name}: {value}")

    def settle(self, limit: float = SETTLE_LIMIT) -> None:
        """Wait until every webhook has its end and every reader has read all; what is missing then is lost."""
        for load in self._loads:
            while load.is_running:
                self.sleep(0.5)
            load.wait()
            self.evidence.answered |= load.answered
        until, moved, last = time.monotonic() + limit, time.monotonic(), ""
        while left := self.unsettled():
            now = time.monotonic()
            moved, last = (moved, last) if left == last else (now, left)
            if now > until or now > moved + STANDSTILL:
                self.promise(kept=False, broken=f"not settled, the last progress is {now - moved:.0f} s old: {left}")
                return
            self.sleep(0.5)

    def unsettled(self) -> str:
        """What is still outstanding; "" if nothing is."""
        self.look()
        missing = verifier.missing(self.evidence)
        if missing:
            return f"{len(missing)} webhooks"
        for name, (group, topic) in READERS.items():
            if (
                name in self.stack.children
                and name not in self._down
                and (lag := sum(self.reader.lags(group, topic).values()))
            ):
                return f"{name} has {lag} to commit"
        return ""
