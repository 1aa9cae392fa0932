"""How several relays share the customers among them."""

from __future__ import annotations

from typing import NamedTuple


class Shard(NamedTuple):
    """Which relay of how many."""

    number: int = 0
    of: int = 1


WHOLE = Shard()
