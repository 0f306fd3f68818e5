"""How a sender learns that the broker has its records."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class PublishHandle:
    """The outcome of several records that were enqueued together.

    ``answer``: done when the broker has all of them, failed when one of them failed or when its time has passed.
    ``is_over``: no record is queued or in flight any more; then ``afterwards`` is called.
    """

    __slots__ = ("_left", "afterwards", "answer", "is_over")

    def __init__(self, count: int) -> None:
        self._left = count
        self.is_over = False
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.afterwards: Callable[[PublishHandle], None] | None = None

    def acknowledged(self, count: int = 1) -> None:
        """Count records that the broker has, or that were taken back."""
        self._left -= count
        if self._left <= 0:
            self._finish(None)

    def failed(self, error: BaseException) -> None:
        """End with ``error``: a record was refused."""
        self._finish(error)

    def expire(self) -> None:
        """Fail ``answer`` with TimeoutError. Records in flight may still be acknowledged."""
        if not self.answer.done():
            self.answer.set_exception(TimeoutError())

    def _finish(self, error: BaseException | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        if self.answer.done():  # expired, or its waiter was cancelled
            pass
        elif error is None:
            self.answer.set_result(None)
        else:
            self.answer.set_exception(error)
        if self.afterwards is not None:
            self.afterwards(self)
