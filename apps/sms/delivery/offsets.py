"""Which offsets of a Kafka partition are done.

Messages do not end in the order of the partition: customers have their own paces, and retries wait. The committed
offset is the lowest one not done. The done offsets beyond it go into the commit's metadata as a bitmap, so that the
partition's next owner does not submit them again. After a clean stop no message is sent twice, after a hard kill only
those that ended since the last commit.
"""

from __future__ import annotations

import base64
import zlib
from collections import deque

# Reading stops while this many offsets lie between the lowest one not done and the newest. The batch that reaches the
# limit may exceed it.
WINDOW = 16_384
# Brokers keep 4,096 bytes of metadata by default (offset.metadata.max.bytes): this many bytes of bits always fit.
_MAX_BYTES = 3000
_VERSION = "2:"
_TRIM_BYTES = 4096


class PartitionProgress:
    """The offsets of one partition that were read, and which of them are done.

    Done offsets are bits, so that a commit costs the same however many there are: commits happen all the time.
    """

    def __init__(self, *, metadata: str = "", position: int = 0) -> None:
        """`position` and `metadata` are those of the last commit."""
        self._open: deque[int] = deque()
        self._next = position
        self._base = position & ~7  # the offset of the first bit; a multiple of 8
        self._bits = _decode(metadata)
        self.has_changed = False
        # Below it the last owner had read everything, and above it perhaps nothing.
        self.known_end = max(position, self._base + _length(self._bits))

    def take(self, offset: int) -> bool:
        """Note that this offset was read. False if it is done already."""
        if offset < self._next:
            # The broker lost the end of its log: it gives the same offsets to other messages now.
            self._open.clear()
            self._bits.clear()
            self._base = offset & ~7
        elif not self._open:
            self._trim(offset)
        self._open.append(offset)
        self._next = offset + 1
        if self._is_done(offset):
            self._advance()
            return False
        return True

    def finish(self, offset: int) -> None:
        """Note that this offset is done."""
        index = (offset - self._base) >> 3
        if index < 0:
            return
        if index >= len(self._bits):
            self._bits.extend(bytes(index + 1 - len(self._bits)))
        self._bits[index] |= 1 << (offset & 7)
        self._advance()

    @property
    def position(self) -> int:
        """The next offset to be read."""
        return self._next

    @property
    def is_full(self) -> bool:
        """No more offsets may be taken before the lowest ones are done."""
        return bool(self._open) and self._next - self._open[0] >= WINDOW

    def to_commit(self) -> tuple[int, str]:
        """The offset and metadata to commit."""
        position = self._open[0] if self._open else self._next
        start = (position - self._base) >> 3
        used = self._bits[start : start + _MAX_BYTES]
        if used:
            used[0] &= 0xFF << (position & 7) & 0xFF
        return position, _encode(bytes(used.rstrip(b"\0")))

    def _is_done(self, offset: int) -> bool:
        index = (offset - self._base) >> 3
        return index < len(self._bits) and bool(self._bits[index] >> (offset & 7) & 1)

    def _advance(self) -> None:
        self.has_changed = True
        while self._open and self._is_done(self._open[0]):
            self._open.popleft()
        lowest = self._open[0] if self._open else self._next
        if (lowest - self._base) >> 3 >= _TRIM_BYTES:
            self._trim(lowest)

    def _trim(self, lowest: int) -> None:
        """Forget the bits below this offset."""
        base = lowest & ~7
        del self._bits[: (base - self._base) >> 3]
        self._base = base


def _length(bits: bytearray) -> int:
    """The number of bits up to the last one that is set."""
    used = bits.rstrip(b"\0")
    return (len(used) - 1) * 8 + used[-1].bit_length() if used else 0


def _encode(bits: bytes) -> str:
    return _VERSION + base64.b64encode(zlib.compress(bits, 1)).decode() if bits else ""


def _decode(metadata: str) -> bytearray:
    """The done offsets; empty if the metadata is not ours: then messages are submitted again rather than lost."""
    if metadata.startswith(_VERSION):
        try:
            return bytearray(zlib.decompress(base64.b64decode(metadata.removeprefix(_VERSION), validate=True)))
        except (ValueError, zlib.error):
            pass
    return bytearray()
