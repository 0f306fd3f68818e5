"""Who is a client: the remote address or, behind a trusted proxy, the last address that the proxies vouch for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PREFIX = 64  # bits of an IPv6 address that name a client: one customer has all addresses below it
MOST_HOPS = 32  # entries of X-Forwarded-For that are looked at
UNKNOWN = "unknown"


class Clients:
    """Names clients; ``trusted``: addresses and networks of the proxies in front of us."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted: tuple[Network, ...] = tuple(ip_network(one, strict=False) for one in trusted)

    def is_trusted(self, address: str) -> bool:
        """Whether a remote address is one of the proxies."""
        parsed = _parse(address)
        return parsed is not None and self._is_trusted(parsed)

    def name(self, address: str, forwarded: Sequence[str] = ()) -> str:
        """The client of a request that came from ``address``. ``forwarded``: its X-Forwarded-For headers.

        A client writes into the left of X-Forwarded-For what it likes: only the rightmost address that is no proxy
        of ours is what a proxy of ours has seen.
        """
        client = _parse(address)
        if not forwarded or client is None or not self._is_trusted(client):
            return named(client)
        for entry in ",".join(forwarded).rsplit(",", MOST_HOPS)[::-1][:MOST_HOPS]:
            hop = _parse(_without_port(entry.strip()))
            if hop is None:
                break
            client = hop
            if not self._is_trusted(hop):
                break
        return named(client)

    def _is_trusted(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def named(address: Address | None) -> str:
    """The client that an address belongs to."""
    if address is None:
        return UNKNOWN
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, PREFIX), strict=False))
    return str(address)


@lru_cache(maxsize=1_024)
def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
