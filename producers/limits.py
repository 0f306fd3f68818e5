"""What one client may cost: time, connections and bytes. Production uses the defaults; tests shrink them."""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1_024
MIB = 1_048_576


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the HTTP server. Times are in seconds, sizes in bytes."""

    first_byte: float = 10.0  # a new connection sends its first byte
    head: float = 10.0  # from the first byte of a request to the end of its head
    body: float = 15.0  # from the end of the head to the end of the body
    idle: float = 75.0  # after an answer; above the idle time of usual load balancers, so that they close first
    unread: float = 5.0  # more answers than the kernel holds wait for their client to read them
    unacknowledged: float = 10.0  # the client's kernel takes what ours has sent
    linger: float = 2.0  # a refused client may go on sending its body
    turned_away: float = 1.0  # a refused connection may read its 503
    per_address: int = 100  # connections of one remote address; not of trusted proxies
    forms: int = 32 * MIB  # unfinished requests of the Google route hold at most this
    events: int = 64 * MIB  # unfinished requests of the C2S route hold at most this
    wrong_secrets: int = 10  # of one client within a minute; after that 429 instead of 401


DEFAULT = Limits()
