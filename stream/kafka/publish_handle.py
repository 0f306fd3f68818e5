"""Tells the sender of records whether the broker has acknowledged them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class PublishHandle:
    """The result of several records that were enqueued together.

    ``result``: succeeds when the broker has acknowledged all of them; fails when one of them fails or ``expire`` is
    called. ``is_done``: all records are acknowledged or one has failed; ``on_done`` is called then.
    """

    __slots__ = ("_left", "is_done", "on_done", "result")

    def __init__(self, count: int) -> None:
        self._left = count
        self.is_done = False
        self.result: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_done: Callable[[PublishHandle], None] | None = None

    def acknowledged(self, count: int = 1) -> None:
        """Count records that the broker has acknowledged or that were taken back."""
        self._left -= count
        if self._left <= 0:
            self._finish(None)

    def failed(self, error: BaseException) -> None:
        """Fail ``result`` with ``error``, the failure of a record."""
        self._finish(error)

    def expire(self) -> None:
        """Fail ``result`` with TimeoutError. Records in flight may still be acknowledged later."""
        if not self.result.done():
            self.result.set_exception(TimeoutError())

    def _finish(self, error: BaseException | None) -> None:
        if self.is_done:
            return
        self.is_done = True
        if self.result.done():  # expired, or its waiter was cancelled
            pass
        elif error is None:
            self.result.set_result(None)
        else:
            self.result.set_exception(error)
        if self.on_done is not None:
            self.on_done(self)
