"""Sender ids. The API, the console's routes and the operators all use this rule.

A sender id is a number of 3 to 15 digits, with or without a plus, or a name that fits the originating address of an
SMS: 11 GSM 7-bit characters (3GPP TS 23.040, section 9.1.2.5), where those of the extension table count twice. Every
operator's adapter can encode a sender id that is valid here.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from apps.sms.encoding import BASIC, EXTENSION
from apps.sms.numbers import ascii_digits

MAX_PLACES: Final = 11
SHORTEST_NUMBER: Final = 3
LONGEST_NUMBER: Final = 15
# The longest valid text: a number with its plus.
LONGEST: Final = LONGEST_NUMBER + 1

_NUMBER: Final = re.compile(r"\+?[0-9]*")
_ALLOWED: Final = (BASIC | EXTENSION) - frozenset("\n\r\f")


class InvalidSender(ValueError):
    """The sender id cannot be sent"""


@functools.lru_cache(maxsize=4096)  # most messages of a customer have the same one
def sender_id(text: str) -> str:
    """The sender as it is sent and stored: with ASCII digits, without surrounding blanks.

    Raises InvalidSender with the reason, also for an empty text.
    """
    sender = ascii_digits(text).strip(" ")
    if not sender:
        raise InvalidSender("A sender id must have a visible character.")
    if is_number(sender):
        digits = len(sender.removeprefix("+"))
        if not SHORTEST_NUMBER <= digits <= LONGEST_NUMBER:
            raise InvalidSender(
                f"A sender id that is a number has {SHORTEST_NUMBER} to {LONGEST_NUMBER} digits, not {digits}."
            )
        return sender
    if others := [character for character in dict.fromkeys(sender) if character not in _ALLOWED]:
        lacking = ", ".join(f"U+{ord(character):04X}" for character in others[:10])
        raise InvalidSender(f"A sender id has only GSM 7-bit characters and no line breaks; not allowed: {lacking}.")
    places = len(sender) + sum(character in EXTENSION for character in sender)
    if places > MAX_PLACES:
        raise InvalidSender(
            f"A sender id that is not a number has at most {MAX_PLACES} places, not {places}; ^{{}}\\[~]|€ take two."
        )
    if "@" in sender and not is_latin(sender):
        raise InvalidSender("A sender id cannot have both @ and a Greek letter or €: no alphabet of SMPP has both.")
    return sender


def is_number(sender: str) -> bool:
    """True if the sender is only digits, with or without a plus, of any length."""
    return _NUMBER.fullmatch(sender) is not None


def is_latin(sender: str) -> bool:
    """True if ISO 8859-1 has all characters of the sender."""
    return sender.isascii() or max(sender) <= "\xff"
