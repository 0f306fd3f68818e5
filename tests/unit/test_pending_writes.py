"""Writes that the database did not take: made until they hold, bounded, and nobody waits for more than they must."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stream import metrics
from stream.domain.choice import Found
from stream.domain.errors import DatabaseUnavailableError
from stream.local.people import population
from stream.store import pending_writes
from stream.store.pending_writes import PendingWrites
from tests.support.fake_rig import FakeRig
from tests.support.fakes import FakeDatabase
from tests.support.lookup_rig import SOMEONE, answer, contact, request

LIMIT = 10.0  # seconds


class Database:
    """Takes writes while it is up."""

    def __init__(self) -> None:
        self.up = True
        self.taken: list[str] = []
        self.tries = 0
        self.at_once = self.most = 0

    async def take(self, what: str) -> None:
        """One write."""
        self.tries += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if not self.up:
            raise DatabaseUnavailableError("database: away")
        if what == "bad":
            raise ValueError("52998224725")
        self.taken.append(what)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other soon."""
    monkeypatch.setattr(pending_writes, "PAUSES", (0.001,))


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """A database, and a limit for the test."""
    async with asyncio.timeout(LIMIT):
        yield Database()


async def write(pending: PendingWrites, database: Database, *keys: str) -> None:
    """One write of each key; those that the database does not take fail."""
    for key in keys:
        try:
            await pending.write(key, lambda key=key: database.take(key))  # type: ignore[misc]
        except DatabaseUnavailableError:
            assert not database.up


def dropped() -> float:
    value: float = metrics.PENDING_WRITES_DROPPED._value.get()  # noqa: SLF001 - the client has no other way
    return value


async def test_a_write_that_holds_is_made_once(database: Database) -> None:
    """While the database is there nothing is kept and nothing is tried twice."""
    pending = PendingWrites()
    await write(pending, database, "a", "b")
    await pending.all_stored()
    assert (database.taken, database.tries, len(pending)) == (["a", "b"], 2, 0)


async def test_what_was_not_taken_is_made_when_the_database_is_back(database: Database) -> None:
    """The caller hears of it at once; each write is tried until it holds, and holds once."""
    pending = PendingWrites()
    database.up = False
    with pytest.raises(DatabaseUnavailableError):
        await pending.write("a", lambda: database.take("a"))
    await write(pending, database, *"bcdefgh", "a")
    assert len(pending) == 9
    assert "a" in pending
    assert "z" not in pending
    while database.tries < 40:  # noqa: ASYNC110 - it tries on while the database is away
        await asyncio.sleep(0.001)
    assert (database.taken, len(pending)) == ([], 9)
    database.up = True
    await pending.all_stored()
    assert sorted(database.taken) == sorted("aabcdefgh")
    assert database.most <= pending_writes.AT_ONCE
    assert "a" not in pending
    assert metrics.PENDING_WRITES._value.get() == 0  # noqa: SLF001


async def test_who_waits_for_one_key_waits_for_all_of_it_and_no_other(database: Database) -> None:
    """``stored`` ends when nothing of the key waits; at once for a key of which nothing does."""
    pending = PendingWrites()
    database.up = False
    await write(pending, database, "a", "a", "b")
    await pending.stored("z")
    waiting = asyncio.create_task(pending.stored("a"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    database.up = True
    await waiting
    assert database.taken.count("a") == 2


async def test_it_is_bounded(database: Database) -> None:
    """Beyond its capacity the oldest write is given up, counted and logged; the newest are made."""
    pending, before = PendingWrites(capacity=5), dropped()
    database.up = False
    for number in range(8):
        await write(pending, database, f"w{number}")
        assert len(pending) <= 6  # one may be under way
    database.up = True
    await pending.all_stored()
    assert 5 <= len(database.taken) <= 6
    assert set(database.taken) >= {"w7", "w6", "w5", "w4"}
    assert dropped() - before == 8 - len(database.taken)


async def test_nothing_more_is_to_be_paid_for_while_much_waits(database: Database) -> None:
    """Long before anything is given up a caller is told, and told again when there is room."""
    pending = PendingWrites(capacity=100)
    assert not pending.is_enough
    database.up = False
    await write(pending, database, *(f"w{number}" for number in range(9)))
    assert not pending.is_enough
    await write(pending, database, "w9")
    assert pending.is_enough
    database.up = True
    await pending.all_stored()
    assert not pending.is_enough


async def test_what_can_never_be_made_does_not_hold_up_the_others(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is given up, and its error's text, which may hold values, is not logged."""
    pending, before = PendingWrites(), dropped()
    database.up = False
    await write(pending, database, "bad", "a")
    database.up = True
    await pending.all_stored()
    assert database.taken == ["a"]
    assert dropped() - before == 1
    assert "52998224725" not in capsys.readouterr().out


async def test_what_is_given_up_frees_who_waits_for_it(database: Database) -> None:
    """A lease that waits for a write is not held for ever."""
    pending = PendingWrites(capacity=1)
    database.up = False
    await write(pending, database, "old")
    waiting = asyncio.create_task(pending.stored("old"))
    await write(pending, database, "new", "newer", "newest")
    assert not waiting.done() or waiting.exception() is None
    database.up = True
    assert await asyncio.wait_for(waiting, 10) is None


class Refusing:
    """A store that takes nothing while it is ``away``, as when only its tables are locked."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database
        self.away = True

    async def save_answer(self, *answer: Any) -> None:
        """Store an answer."""
        self._must_be_there()
        await self._database.save_answer(*answer)

    async def save_person(self, *person: Any) -> None:
        """Store a person."""
        self._must_be_there()
        await self._database.save_person(*person)

    def _must_be_there(self) -> None:
        if self.away:
            raise DatabaseUnavailableError("database: LockNotAvailableError")


async def test_a_worker_whose_answers_are_not_taken_stops_paying(database: Database) -> None:
    """The books still take reservations: without a limit every new contact would be paid for and kept in memory."""
    del database
    rig = FakeRig()
    people = population(6, seed=12)
    for one in people:
        rig.know(one)
    store = Refusing(rig.store)
    chain = rig.worker(store=store)
    chain._paid_calls._pending = PendingWrites(capacity=30)  # noqa: SLF001 - three are enough
    for one in people:
        with pytest.raises(DatabaseUnavailableError):
            await answer(chain, request(contact(one, by="phone"), one.name))
    assert rig.calls("diretrix") == 3
    store.away = False
    await chain.wait_settled()
    assert len(rig.store.answers) == 3
    for one in people:
        assert isinstance(await answer(chain, request(contact(one, by="phone"), one.name)), Found)
    assert rig.calls("diretrix") == len(people)


async def test_a_worker_that_stops_waits_for_what_was_paid_for(database: Database) -> None:
    """``wait_settled`` returns when all paid answers are stored, and not before."""
    del database
    rig = FakeRig()
    rig.know(SOMEONE)
    store = Refusing(rig.store)
    chain = rig.worker(store=store)
    with pytest.raises(DatabaseUnavailableError):
        await answer(chain, request(contact(SOMEONE, by="phone")))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(chain.wait_settled(), 0.02)
    store.away = False
    await chain.wait_settled()
    assert rig.store.answers
