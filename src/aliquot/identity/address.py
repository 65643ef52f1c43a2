"""The network address a request is counted under."""

import ipaddress
from collections.abc import Sequence

LOCAL = "local"
"""Stands for peers without an address (Unix sockets)."""


def client_address(peer: str | None, forwarded_for: str | None, trusted_proxies: Sequence[str]) -> str:
    """The client's address: the peer's, or, when the peer is a trusted proxy, what that proxy and its trusted kin report.

    X-Forwarded-For is read from the right (the nearest proxy appends there) and only as far as each hop is trusted, so a
    client cannot invent an address. `trusted_proxies` holds addresses and networks (CIDR).
    """
    address = peer or LOCAL
    hops = [hop.strip() for hop in (forwarded_for or "").split(",") if hop.strip()]
    while hops and _trusted(address, trusted_proxies):
        hop = _parse(hops.pop())
        if hop is None:
            break
        address = hop
    return address


def counting_address(address: str) -> str:
    """What failures are counted under: the address, for IPv6 its /64, which is what one subscriber is given."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return LOCAL
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), 64), strict=False))


def _parse(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


def _trusted(address: str, trusted_proxies: Sequence[str]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address in trusted_proxies
    return any(_within(parsed, network) for network in trusted_proxies)


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
