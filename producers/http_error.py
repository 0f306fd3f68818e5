"""The error that refuses a request: status, message and headers of its answer."""

from __future__ import annotations


class HttpError(Exception):
    """Refuses a request with ``status``. ``message`` goes to the sender and never reveals internals."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}
