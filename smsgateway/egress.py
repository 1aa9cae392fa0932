"""Limits calls to URLs that customers give to public addresses: nothing in the gateway's own network (against SSRF).

Each connection resolves the name, checks the address and connects to that same address. A name that changes its address
in between (DNS rebinding) therefore gains nothing.
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
    ipaddress.ip_network("2002::/16"),  # 6to4: contains an IPv4 address, to which routers convert it
    ipaddress.ip_network("192.88.99.0/24"),  # the anycast address of 6to4 routers
    ipaddress.ip_network("3fff::/20"),  # documentation (RFC 9637), newer than Python's list
)
# Hosts whose last label is a number: resolvers read them as IPv4 in an unusual notation (127.1, 0x7f000001).
_NUMERIC: Final = re.compile(r"(.*\.)?([0-9]+|0[xX][0-9a-fA-F]*)\.?")


class AddressRefused(OSError):
    """The address is not on the public internet"""

    def __init__(self) -> None:
        super().__init__("the address is not on the public internet")


def is_public(address: str) -> bool:
    """Whether this is a unicast IP address of the public internet.

    Of IPv6 only 2000::/3 counts, which excludes IPv4-mapped, NAT64, unique local, link-local and multicast addresses.
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
    """Whether a URL's host is obviously not on the public internet. Does not use DNS."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal")):
        return True
    if ":" in host or _NUMERIC.fullmatch(host):
        return not is_public(host)
    return False


def public_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket for this address if it is public; the last check before a connection. Raises AddressRefused."""
    family, kind, protocol, _, place = address
    if not is_public(str(place[0])):
        raise AddressRefused
    return socket.socket(family=family, type=kind, proto=protocol)
