"""How several relays divide the customers among themselves."""

from __future__ import annotations

from typing import NamedTuple


class Shard(NamedTuple):
    """Relay `number`, from 0, of `of` relays."""

    number: int = 0
    of: int = 1


WHOLE = Shard()
