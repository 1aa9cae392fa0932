"""What of a Kafka partition is done.

Messages end in another order than they stand in the partition: customers have their own paces, and retries wait. The
committed offset is the lowest one not done. What is done beyond it goes along in the commit's metadata as a bitmap, so
that the next owner of the partition does not submit it again: after a clean stop nothing is sent twice, after a hard
kill only what ended since the last commit.
"""

from __future__ import annotations

import base64
import zlib
from collections import deque
from collections.abc import Iterable
from itertools import chain

# No more is read while so many offsets lie between the lowest one not done and the newest one; the batch that reaches
# it may pass it.
WINDOW = 16_384
# Brokers keep 4,096 bytes of metadata by default (offset.metadata.max.bytes); so many bits fit whatever their pattern.
_MAX_BITS = 24_000
_VERSION = "1:"


class PartitionProgress:
    """The offsets of one partition that were taken, and which of them are done."""

    def __init__(self, *, metadata: str = "", position: int = 0) -> None:
        """`position` and `metadata` are those of the last commit."""
        self._open: deque[int] = deque()
        self._done: set[int] = set()
        self._restored = _decode(metadata, position)
        self._next = position

    def take(self, offset: int) -> bool:
        """Note that this offset was read. False if it is done already."""
        if offset < self._next:
            # The broker lost the end of its log and counts anew: what was known is of other messages.
            self._open.clear()
            self._done.clear()
            self._restored.clear()
        self._open.append(offset)
        self._next = offset + 1
        if offset in self._restored:
            self._restored.remove(offset)
            self.finish(offset)
            return False
        return True

    def finish(self, offset: int) -> None:
        """Note that this offset is done."""
        self._done.add(offset)
        while self._open and self._open[0] in self._done:
            self._done.remove(self._open.popleft())

    @property
    def is_full(self) -> bool:
        """No more offsets may be taken before the lowest ones are done."""
        return bool(self._open) and self._next - self._open[0] >= WINDOW

    def to_commit(self) -> tuple[int, str]:
        """The offset and metadata to commit."""
        position = self._open[0] if self._open else self._next
        return position, _encode(chain(self._done, self._restored), position)


def _encode(done: Iterable[int], position: int) -> str:
    bits = bytearray(_MAX_BITS // 8)
    for offset in done:
        shift = offset - position
        if 0 <= shift < _MAX_BITS:
            bits[shift >> 3] |= 1 << (shift & 7)
    used = bits.rstrip(b"\0")
    return _VERSION + base64.b64encode(zlib.compress(used)).decode() if used else ""


def _decode(metadata: str, position: int) -> set[int]:
    """The done offsets; none if the metadata is not ours: then they are submitted again rather than lost."""
    if not metadata.startswith(_VERSION):
        return set()
    try:
        bits = zlib.decompress(base64.b64decode(metadata.removeprefix(_VERSION), validate=True))
    except (ValueError, zlib.error):
        return set()
    return {position + shift for shift in range(8 * len(bits)) if bits[shift >> 3] >> (shift & 7) & 1}
