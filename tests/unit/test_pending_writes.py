"""Pending writes: they are retried until they are stored, bounded, and callers wait for their own key only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from stream import metrics
from stream.domain.choice import PersonFound
from stream.domain.errors import DatabaseUnavailableError
from stream.local.people import population
from stream.store import pending_writes
from stream.store.pending_writes import PendingWrites
from tests.support.fake_rig import FakeRig
from tests.support.fakes import FakeDatabase
from tests.support.lookup_rig import SOMEONE, answer, contact, request

LIMIT = 10.0  # seconds


class Database:
    """Stores writes while it is up."""

    def __init__(self) -> None:
        self.up = True
        self.taken: list[str] = []
        self.tries = 0
        self.at_once = self.most = 0

    async def take(self, what: str) -> None:
        """Store one write."""
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
    """Retries follow each other quickly."""
    monkeypatch.setattr(pending_writes, "RETRY_PAUSES_S", (0.001,))


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    """A database, and a time limit for the test."""
    async with asyncio.timeout(LIMIT):
        yield Database()


async def write(pending: PendingWrites, database: Database, *keys: str) -> None:
    """One write for each key; a write fails while the database is down."""
    for key in keys:
        try:
            await pending.write(key, lambda key=key: database.take(key))  # type: ignore[misc]
        except DatabaseUnavailableError:
            assert not database.up


def dropped() -> float:
    value: float = metrics.PENDING_WRITES_DROPPED._value.get()  # noqa: SLF001 - the client has no other way
    return value


async def test_a_write_that_succeeds_runs_once(database: Database) -> None:
    """While the database is up no write is kept or retried."""
    pending = PendingWrites()
    await write(pending, database, "a", "b")
    await pending.wait_until_all_stored()
    assert (database.taken, database.tries, len(pending)) == (["a", "b"], 2, 0)


async def test_a_failed_write_is_stored_when_the_database_is_back(database: Database) -> None:
    """The caller gets the error at once; each write is retried until it is stored, and stored once."""
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
    await pending.wait_until_all_stored()
    assert sorted(database.taken) == sorted("aabcdefgh")
    assert database.most <= pending_writes.MAX_CONCURRENT_WRITES
    assert "a" not in pending
    assert metrics.PENDING_WRITES._value.get() == 0  # noqa: SLF001


async def test_waiting_for_a_key_covers_all_its_writes_and_no_others(database: Database) -> None:
    """``wait_until_stored`` returns when no write of the key waits, and at once if none does."""
    pending = PendingWrites()
    database.up = False
    await write(pending, database, "a", "a", "b")
    await pending.wait_until_stored("z")
    waiting = asyncio.create_task(pending.wait_until_stored("a"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    database.up = True
    await waiting
    assert database.taken.count("a") == 2


async def test_the_number_of_pending_writes_is_bounded(database: Database) -> None:
    """Beyond the capacity the oldest write is dropped, counted and logged, and the newest are stored."""
    pending, before = PendingWrites(capacity=5), dropped()
    database.up = False
    for number in range(8):
        await write(pending, database, f"w{number}")
        assert len(pending) <= 6  # one may be under way
    database.up = True
    await pending.wait_until_all_stored()
    assert 5 <= len(database.taken) <= 6
    assert set(database.taken) >= {"w7", "w6", "w5", "w4"}
    assert dropped() - before == 8 - len(database.taken)


async def test_many_pending_writes_are_an_overload(database: Database) -> None:
    """``is_overloaded`` is true long before a write is dropped, and false when there is room again."""
    pending = PendingWrites(capacity=100)
    assert not pending.is_overloaded
    database.up = False
    await write(pending, database, *(f"w{number}" for number in range(9)))
    assert not pending.is_overloaded
    await write(pending, database, "w9")
    assert pending.is_overloaded
    database.up = True
    await pending.wait_until_all_stored()
    assert not pending.is_overloaded


async def test_a_write_that_can_not_succeed_does_not_delay_others(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is dropped, and the text of its error, which may contain values, is not logged."""
    pending, before = PendingWrites(), dropped()
    database.up = False
    await write(pending, database, "bad", "a")
    database.up = True
    await pending.wait_until_all_stored()
    assert database.taken == ["a"]
    assert dropped() - before == 1
    assert "52998224725" not in capsys.readouterr().out


async def test_dropping_a_write_ends_the_wait_for_it(database: Database) -> None:
    """A task that waits for a dropped write, such as the release of a lease, goes on."""
    pending = PendingWrites(capacity=1)
    database.up = False
    await write(pending, database, "old")
    waiting = asyncio.create_task(pending.wait_until_stored("old"))
    await write(pending, database, "new", "newer", "newest")
    assert not waiting.done() or waiting.exception() is None
    database.up = True
    assert await asyncio.wait_for(waiting, 10) is None


class Refusing:
    """A store whose writes fail while it is ``away``, as if only its tables were locked."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database
        self.away = True

    async def save_answer(self, *answer: Any) -> None:
        """Store an answer, or fail."""
        self._must_be_there()
        await self._database.save_answer(*answer)

    async def save_person(self, *person: Any) -> None:
        """Store a person, or fail."""
        self._must_be_there()
        await self._database.save_person(*person)

    def _must_be_there(self) -> None:
        if self.away:
            raise DatabaseUnavailableError("database: LockNotAvailableError")


async def test_a_worker_whose_answers_are_not_stored_stops_paying(database: Database) -> None:
    """Calls stop although the ledger still accepts reservations: every new answer would wait in memory."""
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
        assert isinstance(await answer(chain, request(contact(one, by="phone"), one.name)), PersonFound)
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
