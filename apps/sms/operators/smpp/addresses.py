"""The addresses of a submit_sm: octets, type of number and numbering plan (SMPP 3.4, sections 5.2.5 to 5.2.9)."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Final

from apps.sms import senders
from apps.sms.numbers import ascii_digits
from apps.sms.operators.smpp import gsm7
from smsgateway.config import SmppOperator

_ALPHANUMERIC: Final = (5, 0)
_UNKNOWN: Final = (0, 0)
_SHORT_NUMBER: Final = 8  # digits at the most
_LONGEST: Final = 20  # octets

Kind = tuple[int, int]


def source(sender: str, settings: SmppOperator) -> tuple[bytes, Kind]:
    """The octets of a sender, its type of number and its numbering plan. Raises ValueError if it cannot be sent.

    The standard says only that a name ends with a NUL, not which alphabet it is in. `sender_charset` is preferred;
    the other one serves if that fails: GSM 7-bit writes @ as NUL, ISO 8859-1 has no Greek letters and no euro sign.
    """
    if not sender:
        return b"", _UNKNOWN  # the SMSC's own choice
    sender = ascii_digits(sender)  # messages from earlier versions may have other digits
    if senders.is_number(sender):
        digits = sender.removeprefix("+")
        kind = (settings.short_ton, settings.short_npi)
        if len(digits) > _SHORT_NUMBER:
            kind = (settings.number_ton, settings.number_npi)
        return _checked(digits.encode("ascii")), _kind(digits, settings.sender_types) or kind
    gsm = "@" not in sender and (settings.sender_charset == "gsm" or not senders.is_latin(sender))
    if not sender.isprintable():
        raise ValueError("a sender has no control characters")
    octets = _checked(gsm7.encode(sender) if gsm else sender.encode("latin-1"))
    return octets, _kind(sender, settings.sender_types) or _ALPHANUMERIC


def destination(number: str, settings: SmppOperator) -> tuple[str, Kind]:
    """A recipient's number without the plus, as SMPP expects it, with its type and plan. Raises ValueError."""
    digits = number.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST):
        raise ValueError("a recipient is a number")
    return digits, _kind(digits, settings.recipient_types) or (settings.recipient_ton, settings.recipient_npi)


def _kind(address: str, entries: Sequence[str]) -> Kind | None:
    """The type and plan of the first pattern that fits."""
    for pattern, kind in _patterns(tuple(entries)):
        if pattern.fullmatch(address):
            return kind
    return None


@functools.lru_cache(maxsize=1000)
def _patterns(entries: tuple[str, ...]) -> list[tuple[re.Pattern[str], Kind]]:
    """The patterns of a setting such as `98*=1/1`."""
    found = []
    for entry in entries:
        pattern, _, kind = entry.rpartition("=")
        ton, _, npi = kind.partition("/")
        expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
        found.append((re.compile(expression), (int(ton), int(npi))))
    return found


def _checked(octets: bytes) -> bytes:
    if not 0 < len(octets) <= _LONGEST:
        raise ValueError(f"an address has 1 to {_LONGEST} octets")
    return octets
