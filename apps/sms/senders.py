"""Sender ids: what a message may come from. One rule for the API, the console's routes and the operators.

A sender is a number of 3 to 15 digits, with a plus or without, or a name that the originating address of an SMS can
carry: 11 places of GSM 7-bit (3GPP TS 23.040, section 9.1.2.5), in which the characters of the extension table take two
places each. What passes here every operator's adapter can encode.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from apps.sms.encoding import BASIC, EXTENSION
from apps.sms.numbers import ascii_digits

MOST_PLACES: Final = 11
SHORTEST_NUMBER: Final = 3
LONGEST_NUMBER: Final = 15
# Of what is written, for documents and forms: a number and its plus.
LONGEST: Final = LONGEST_NUMBER + 1

_NUMBER: Final = re.compile(r"\+?[0-9]*")
_CARRIED: Final = (BASIC | EXTENSION) - frozenset("\n\r\f")


class InvalidSender(ValueError):
    """The sender id cannot be sent"""


@functools.lru_cache(maxsize=4096)  # the messages of a customer have mostly the same ones
def sender_id(text: str) -> str:
    """The sender as it is sent and stored: digits of every script as 0 to 9, without blanks around it.

    Raises InvalidSender with the reason; an empty text is no sender.
    """
    sender = ascii_digits(text).strip(" ")
    if not sender:
        raise InvalidSender("A sender id needs a character that shows.")
    if is_number(sender):
        digits = len(sender.removeprefix("+"))
        if not SHORTEST_NUMBER <= digits <= LONGEST_NUMBER:
            raise InvalidSender(
                f"A number as sender id has {SHORTEST_NUMBER} to {LONGEST_NUMBER} digits, not {digits}."
            )
        return sender
    if others := [character for character in dict.fromkeys(sender) if character not in _CARRIED]:
        lacking = ", ".join(f"U+{ord(character):04X}" for character in others[:10])
        raise InvalidSender(f"A sender id is written in GSM 7-bit, without line breaks; that lacks {lacking}.")
    places = len(sender) + sum(character in EXTENSION for character in sender)
    if places > MOST_PLACES:
        raise InvalidSender(
            f"A sender id that is no number has {MOST_PLACES} places at most, not {places}; ^{{}}\\[~]|€ take two."
        )
    if "@" in sender and not is_latin(sender):
        raise InvalidSender("A sender id cannot have @ beside a Greek letter or €: SMPP has no alphabet for both.")
    return sender


def is_number(sender: str) -> bool:
    """Whether it is digits with a plus or without, any number of them."""
    return _NUMBER.fullmatch(sender) is not None


def is_latin(sender: str) -> bool:
    """Whether ISO 8859-1 has all of its characters."""
    return sender.isascii() or max(sender) <= "\xff"
