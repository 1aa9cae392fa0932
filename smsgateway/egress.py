"""Which addresses the gateway calls on a customer's word: public ones, and nothing of its own network (SSRF).

Names are resolved and checked at the moment of each connection, and what was checked is what is connected to, so a name
that changes its address in between (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import aiohttp

_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC: Final = (
    ipaddress.ip_network("2002::/16"),  # 6to4 carries an IPv4 address, which a router on the way makes of it
    ipaddress.ip_network("192.88.99.0/24"),  # and this leads to such routers
    ipaddress.ip_network("3fff::/20"),  # documentation (RFC 9637), younger than Python's list
)
# The last label of such a host is a number: resolvers take it for IPv4 in one of its odd spellings (127.1, 0x7f000001).
_NUMERIC: Final = re.compile(r"(.*\.)?([0-9]+|0[xX][0-9a-fA-F]*)\.?")


class AddressRefused(OSError):
    """The address is none of the public internet"""

    def __init__(self) -> None:
        super().__init__("the address is none of the public internet")


def is_public(address: str) -> bool:
    """Whether this IP address is a unicast one of the public internet.

    IPv6 is taken from 2000::/3 alone: IPv4-mapped, NAT64, unique local, link-local and multicast addresses lie outside.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if not found.is_global or found.is_multicast or found.is_reserved:
        return False
    if found.version == 6 and found not in _GLOBAL_UNICAST:
        return False
    return not any(found in network for network in _NOT_PUBLIC)


def is_private_host(host: str) -> bool:
    """Whether a URL's host is, without asking any name server, none of the public internet."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        return True
    if ":" in host or _NUMERIC.fullmatch(host):
        return not is_public(host)
    return False


def public_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket for this address, if it is public: the last gate before a connection. Raises AddressRefused."""
    family, kind, protocol, _, place = address
    if not is_public(str(place[0])):
        raise AddressRefused
    return socket.socket(family=family, type=kind, proto=protocol)
