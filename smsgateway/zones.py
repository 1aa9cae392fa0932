"""The time zones that requests may name: those of the IANA database, by their exact names.

`zoneinfo` alone would accept more: any file in the machine's zone folder, such as `right/UTC` (which counts leap
seconds) and `localtime` (which differs between machines). The accepted names come from the package tzdata, so they are
the same on every machine; ClickHouse knows all of them too.
"""

from __future__ import annotations

import functools
import importlib.resources
from typing import Final
from zoneinfo import ZoneInfo

_PACKAGE: Final = "tzdata"


class UnknownZone(ValueError):
    """a time zone of the IANA database, spelled as there, such as Asia/Tehran"""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@functools.cache
def zone_names() -> frozenset[str]:
    """The names of all zones, including aliases such as Asia/Calcutta."""
    return frozenset(importlib.resources.files(_PACKAGE).joinpath("zones").read_text(encoding="ascii").split())


def zone_named(name: str) -> ZoneInfo:
    """The zone. Raises UnknownZone."""
    if name not in zone_names():
        raise UnknownZone
    return ZoneInfo(name)
