"""The ladder's world of fakes."""

from __future__ import annotations

from uuid import UUID

from stream.domain.errors import PartnerUnavailableError
from stream.local.people import Someone
from stream.lookup.chain import Ladder, Shelf
from tests.fakes import FakeBooks, FakeCompleter, FakeDatabase, FakeDirectory, FakePartner
from tests.ladder_scenarios import TERMS, Clock


class FakeRig:
    """A world of fakes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.people = self.shelf = self._database = FakeDatabase()
        self._partner = FakePartner()
        self._leases: dict[str, UUID] = {}
        self.books: list[FakeBooks] = []

    def know(self, someone: Someone) -> None:
        """Both partners know them."""
        self._partner.know(someone)

    def mix_up(self, someone: Someone, other: Someone | None) -> None:
        """Let the Work API answer for somebody with another's record, or not know them."""
        if other is None:
            self._partner.work_by_cpf.pop(someone.cpf, None)
        else:
            self._partner.work_by_cpf[someone.cpf] = other.work()

    def fail_once(self, partner: str) -> None:
        """Answer the next call with a 500."""
        self._partner.failing[partner].append(PartnerUnavailableError(f"{partner}: status 500"))

    def calls(self, partner: str) -> int:
        """Calls of a partner."""
        return self._partner.calls[partner]

    def worker(self, shelf: Shelf | None = None) -> Ladder:
        """A ladder of a worker of its own."""
        books = FakeBooks(self._leases)
        self.books.append(books)
        directory, completer = FakeDirectory(self._partner), FakeCompleter(self._partner)
        return Ladder(self._database, directory, completer, books, shelf or self._database, TERMS, self.clock)

    async def statuses(self, provider: str) -> list[str]:
        """The ledger's statuses, sorted."""
        return sorted(status for books in self.books for one, status in books.calls.values() if one == provider)

    async def parties(self, cpf: str) -> int:
        """How many parties have the CPF."""
        return int(cpf in self._database.parties)
