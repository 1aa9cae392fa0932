"""ULIDs: stored as PostgreSQL `uuid`, shown as 26 characters. They begin with their time in milliseconds."""

from __future__ import annotations

import datetime as dt
from uuid import UUID, SafeUUID

import ulid

# What `from_text` accepts, as a regular expression of JSON Schema. Letters in either case; I and L count as 1, O as 0.
PATTERN = "^[0-7ILOilo][0-9A-TV-Za-tv-z]{25}$"

_RANDOM_BITS = 80
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_BASE_32 = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
_LOW_HALF = (1 << 70) - 1
_set, _UNKNOWN = object.__setattr__, SafeUUID.unknown


def _digits() -> bytes:
    """A translation of each octet to a digit that `int(text, 32)` reads; I and L count as 1, O as 0."""
    digits = dict(zip(_CROCKFORD, _BASE_32, strict=True)) | {"I": "1", "L": "1", "O": "0"}
    digits |= {letter.lower(): digit for letter, digit in digits.items()}
    return "".join(digits.get(chr(code), "?") for code in range(256)).encode("ascii")


_DIGITS = _digits()


def new_id() -> UUID:
    """A new ULID."""
    return _made(ulid.new().int)


def new_ids(count: int) -> list[UUID]:
    """`count` new ULIDs in ascending order, so that a batch keeps its order in every listing by id."""
    first = new_id()
    return [first, *(_made(first.int + offset) for offset in range(1, count))]


def to_text(value: UUID) -> str:
    """The 26 characters of an id."""
    number = value.int
    # Ten bits at a time, several times as fast as ulid's octet by octet. Two halves keep the numbers small.
    high, low, pairs = number >> 70, number & _LOW_HALF, _PAIRS
    return (
        f"{pairs[high >> 50]}{pairs[high >> 40 & 1023]}{pairs[high >> 30 & 1023]}{pairs[high >> 20 & 1023]}"
        f"{pairs[high >> 10 & 1023]}{pairs[high & 1023]}{pairs[low >> 60]}{pairs[low >> 50 & 1023]}"
        f"{pairs[low >> 40 & 1023]}{pairs[low >> 30 & 1023]}{pairs[low >> 20 & 1023]}{pairs[low >> 10 & 1023]}"
        f"{pairs[low & 1023]}"
    )


def from_text(text: str) -> UUID:
    """The id that these 26 characters show, in either case. Raises ValueError if they are not a ULID."""
    if len(text) != 26 or not text.isascii():
        raise ValueError("a ULID has 26 characters")
    # Several times as fast as ulid.from_str, which converts octet by octet.
    number = int(text.encode().translate(_DIGITS), 32)
    if number >> 128:
        raise ValueError("a ULID has 128 bits")
    return _made(number)


def _made(number: int) -> UUID:
    # The same as UUID(int=number), without the check of its other arguments, which takes most of its time.
    made = UUID.__new__(UUID)
    _set(made, "int", number)
    _set(made, "is_safe", _UNKNOWN)
    return made


def milliseconds(value: UUID) -> int:
    """When the id was made, in milliseconds since 1970 UTC."""
    return value.int >> _RANDOM_BITS


def moment(value: UUID) -> dt.datetime:
    """When the id was made."""
    return moment_of(milliseconds(value))


def moment_of(milliseconds_since_1970: int) -> dt.datetime:
    """These milliseconds since 1970 as a time in UTC."""
    return dt.datetime.fromtimestamp(milliseconds_since_1970 / 1000, tz=dt.UTC)


def lowest_id(when: dt.datetime) -> UUID:
    """The smallest id of that moment, to turn a time range into an id range. No id is older than 1970."""
    return UUID(int=max(0, int(when.timestamp() * 1000)) << _RANDOM_BITS)
