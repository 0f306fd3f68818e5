"""A request that is answered with something else than 200, and what the sender is told."""

from __future__ import annotations


class HttpError(Exception):
    """Ends a request with ``status``. ``message`` is for the sender: it never says how we are built."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
