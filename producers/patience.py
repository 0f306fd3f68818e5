"""Ends the patience of who waits for the broker: one look at all of them now and then, not a timer for each."""

from __future__ import annotations

import asyncio

from producers.outbox import Ticket

LOOK = 0.05  # seconds between looks: by so much a time-out may come later than it was asked for


class Patience:
    """Tickets, each with the time (of the loop's clock) from which its sender waits no more."""

    def __init__(self) -> None:
        self._until: dict[Ticket, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, ticket: Ticket, until: float) -> None:
        """Expire ``ticket`` after ``until``, unless it has ended."""
        self._until[ticket] = until
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK, self._look)

    def end(self, ticket: Ticket) -> None:
        """Nobody waits for ``ticket`` any more."""
        self._until.pop(ticket, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for ticket, until in self._until.items():
            if until <= now:
                ticket.expire()
        self._timer = loop.call_later(LOOK, self._look) if self._until else None
