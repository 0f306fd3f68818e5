"""The limits of the HTTP server: time, connections, bytes. Production uses the defaults; tests use smaller ones."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1_024
MIB = 1_048_576


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the HTTP server. Times are in seconds, sizes in bytes."""

    first_byte: float = 10.0  # until a new connection sends its first byte
    head: float = 10.0  # from the first byte of a request to the end of its head
    body: float = 15.0  # from the end of the head to the end of the body
    idle: float = 75.0  # between an answer and the next request; usual load balancers wait less, so they close first
    unread: float = 5.0  # until the client reads answers that the kernel has no room for
    unacknowledged: float = 10.0  # until the client's kernel acknowledges what was sent
    linger: float = 2.0  # for which a client may go on sending a body that was refused
    reject_linger: float = 1.0  # for which a rejected connection stays open, so that its client can read the 503
    connections_per_address: int = 100  # from one remote address; trusted proxies are exempt
    form_bytes: int = 32 * MIB  # held by all unfinished requests of a route whose secret is in the body
    event_bytes: int = 64 * MIB  # held by all unfinished requests of a route whose secret is in the head
    wrong_secrets: int = 10  # of one client in a minute; further ones are answered 429 instead of 401


DEFAULT = Limits()
