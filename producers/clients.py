"""Names the client of a request: the remote address or, behind a trusted proxy, the address that the proxy has seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

IPV6_PREFIX_BITS = 64  # these name a client: one customer has all addresses with the same prefix
MAX_HOPS = 32  # entries of X-Forwarded-For that are read
UNKNOWN = "unknown"


class Clients:
    """Names clients. ``trusted``: addresses and networks of the proxies in front of this server."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._trusted: tuple[Network, ...] = tuple(ip_network(one, strict=False) for one in trusted)

    def is_trusted(self, address: str) -> bool:
        """Whether a remote address is one of the proxies."""
        parsed = _parse(address)
        return parsed is not None and self._is_trusted(parsed)

    def name(self, address: str, forwarded: Sequence[str] = ()) -> str:
        """The client of a request that came from ``address``. ``forwarded``: its X-Forwarded-For headers.

        A client can write anything into X-Forwarded-For, and each proxy appends the address that it has seen. So the
        client is the rightmost address that is not one of the trusted proxies.
        """
        client = _parse(address) if forwarded else None
        if client is None or not self._is_trusted(client):
            return _name(address)
        for entry in ",".join(forwarded).rsplit(",", MAX_HOPS)[::-1][:MAX_HOPS]:
            hop = _parse(_without_port(entry.strip()))
            if hop is None:
                break
            client = hop
            if not self._is_trusted(hop):
                break
        return client_name(client)

    def _is_trusted(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._trusted)


def client_name(address: Address | None) -> str:
    """The name of the client that has an address."""
    if address is None:
        return UNKNOWN
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, IPV6_PREFIX_BITS), strict=False))
    return str(address)


@lru_cache(maxsize=1_024)  # asked for each request: formatting an address takes longer than the rest of the name
def _name(address: str) -> str:
    return client_name(_parse(address))


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
