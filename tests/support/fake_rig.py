"""The look-up chain's world of fakes."""

from __future__ import annotations

import asyncio
from uuid import UUID

from stream.domain.errors import PartnerUnavailableError
from stream.local.people import Someone
from stream.lookup.chain import LookupChain
from stream.lookup.ports import PersonStore
from tests.support.fakes import FakeContactDirectory, FakeDatabase, FakeLedger, FakePartner, FakePersonProvider
from tests.support.lookup_rig import PRICING, Clock


class FakeRig:
    """A world of fakes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.people = self.store = self._database = FakeDatabase()
        self._partner = FakePartner()
        self._leases: dict[str, UUID] = {}
        self.ledgers: list[FakeLedger] = []

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

    def hold(self, partner: str) -> None:
        """Let calls of a partner wait."""
        held = self.held = asyncio.Event()
        called = self._partner.called

        async def wait(name: str) -> None:
            if name == partner:
                await held.wait()
            await called(name)

        self._partner.called = wait  # type: ignore[method-assign]

    def let_go(self) -> None:
        """Let them go on."""
        self.held.set()

    def calls(self, partner: str) -> int:
        """Calls of a partner."""
        return self._partner.calls[partner]

    def worker(self, store: PersonStore | None = None) -> LookupChain:
        """A chain of a worker of its own."""
        ledger = FakeLedger(self._leases)
        self.ledgers.append(ledger)
        directory, work = FakeContactDirectory(self._partner), FakePersonProvider(self._partner)
        return LookupChain(self._database, directory, work, ledger, store or self._database, PRICING, self.clock)

    async def statuses(self, provider: str) -> list[str]:
        """The ledger's statuses, sorted."""
        return sorted(status for ledger in self.ledgers for one, status in ledger.calls.values() if one == provider)

    async def parties(self, cpf: str) -> int:
        """How many parties have the CPF."""
        return int(cpf in self._database.parties)
