"""An operator's message ids, in the one form that is stored and compared.

The same id may be written in another base, case or with zeros before it in each place: the response to the submit, the
parameter receipted_message_id, and the receipt's text. The form of each place is a setting, because guessing would
mix up messages: 16 may be an id, or the hexadecimal form of the id 22.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Literal, NamedTuple

_ID: Final = re.compile(r"[^\x00-\x20\x7f]{1,64}")
# The bases of ids in the response and in the text, by the setting RECEIPT_IDS. 0: the id is no number.
_BASES: Final = {
    "as-is": (0, 0),
    "decimal": (10, 10),
    "hexadecimal": (16, 16),
    "hex-then-decimal": (16, 10),
    "decimal-then-hex": (10, 16),
}
_TLV_BASES: Final = {"auto": None, "decimal": 10, "hexadecimal": 16}
# A text's id that is shorter than the parameter's, and begins like it, was cut: SMPP 3.3 has 10 characters for it.
_SHORTEST_CUT: Final = 8

_USUAL_WIDTHS: Final = frozenset({8, 10, 12, 16, 18, 20, 24, 32})

ID_NOTATIONS: Final = tuple(_BASES)
TLV_ID_NOTATIONS: Final = tuple(_TLV_BASES)
ID_COMPARISONS: Final = ("exact", "ignore-zeros", "ignore-case", "numeric")
Comparison = Literal["exact", "ignore-zeros", "ignore-case", "numeric"]


class IdFault(NamedTuple):
    """Why the ids of a receipt name no message, and the setting that would read them."""

    reason: str
    hint: str


class MessageIds:
    """The ids of one operator. Every method returns the form that is stored, empty for an id that cannot be stored."""

    def __init__(self, *, notation: str = "as-is", parameter: str = "auto", comparison: str = "exact") -> None:
        """`notation`, `parameter`, `comparison`: the settings RECEIPT_IDS, TLV_IDS and ID_COMPARISON."""
        self._answer, self._text = _BASES[notation]
        self._parameter = _TLV_BASES[parameter]
        if self._parameter and not self._answer:  # a base for the parameter alone means that ids are numbers
            self._answer = self._text = 10
        self._comparison = comparison

    def answered(self, written: str) -> str:
        """The id in a response to a submit."""
        return self._stored(written, self._answer)

    def receipted(self, *, parameter: str, text: str) -> str | IdFault:
        """The id of a receipt that has it in receipted_message_id, in its text, or in both.

        If both are there and do not name the same message, neither counts.
        """
        in_text = self._stored(text, self._text)
        if not parameter:
            return in_text
        readings = self._readings(parameter)
        if not readings:
            return in_text if in_text else ""
        if in_text:
            if in_text in readings:
                return in_text
            if not self._answer and _names_same(parameter, text):
                return readings[0]
            return IdFault(
                f"receipted_message_id is {parameter!r} and the text's id is {text!r}: they name two messages",
                _agreement(parameter, text),
            )
        if len(readings) > 1:
            return IdFault(
                f"receipted_message_id {parameter!r} may be decimal or hexadecimal",
                "TLV_IDS=decimal or TLV_IDS=hexadecimal",
            )
        return readings[0]

    def _readings(self, parameter: str) -> list[str]:
        """What the parameter may mean: in its own base, or else in that of the response or of the text."""
        if self._parameter:
            stored = self._stored(parameter, self._parameter)
            return [stored] if stored else []
        found = [
            self._stored(parameter, base)
            for base in dict.fromkeys((self._answer, self._text))
            if not base or _number(parameter, base) is not None
        ]
        return list(dict.fromkeys(filter(None, found or [self._stored(parameter, 0)])))

    def _stored(self, written: str, base: int) -> str:
        if not _ID.fullmatch(written):
            return ""
        if base or self._comparison == "numeric":
            number = _number(written, base or 10)
            return written if number is None else str(number)
        if self._comparison == "ignore-zeros":
            return written.lstrip("0") or "0"
        if self._comparison == "ignore-case":
            return written.lower()
        return written


def other_forms(stored: str) -> dict[str, str]:
    """The other forms that an id may have in a response, each with the setting under which the two are one id."""
    found: dict[str, str] = {}
    widths = {len(stored) + more for more in range(1, 5)} | _USUAL_WIDTHS
    for form in (stored.lstrip("0") or "0", *(stored.zfill(width) for width in sorted(widths))):
        found.setdefault(form, "ID_COMPARISON=ignore-zeros")
    for form in (stored.lower(), stored.upper()):
        found.setdefault(form, "ID_COMPARISON=ignore-case")
    if (number := _number(stored, 10)) is not None:
        for form in (f"{number:x}", f"{number:X}", f"{number:08x}", f"{number:08X}"):
            found.setdefault(form, "RECEIPT_IDS=hex-then-decimal")
    if (number := _number(stored, 16)) is not None:
        found.setdefault(str(number), "RECEIPT_IDS=decimal-then-hex")
    found.pop(stored, None)
    return {form: hint for form, hint in found.items() if _ID.fullmatch(form)}


def _number(written: str, base: int) -> int | None:
    digits = "0123456789" if base == 10 else "0123456789abcdef"
    folded = written.lower()
    if base == 16 and len(folded) > 2:
        folded = folded.removeprefix("0x")
    return int(folded, base) if folded and not folded.strip(digits) else None


def _names_same(parameter: str, text: str) -> bool:
    """True if the text's id is the parameter's in another form, and no other message can have that form as its id.

    The standard gives the parameter the form of the response. A parameter with zeros before the text's id, or digits
    alone that are another number in the other base, may be the id of another message.
    """
    if text.lower() == parameter.lower():
        return True
    if text.lstrip("0") == parameter:
        return True
    if _number(parameter, 10) is None and (number := _number(parameter, 16)) is not None:
        return _number(text, 10) == number
    return len(text) >= _SHORTEST_CUT and parameter.startswith(text)


def _agreement(parameter: str, text: str) -> str:
    """The settings with which the two are one id."""
    for settings in _settings():
        ids = MessageIds(**settings)
        found = ids.receipted(parameter=parameter, text=text) if _would_agree(ids, parameter, text) else ""
        if isinstance(found, str) and found:
            names = {"notation": "RECEIPT_IDS", "parameter": "TLV_IDS", "comparison": "ID_COMPARISON"}
            return " and ".join(f"{names[name]}={value}" for name, value in settings.items())
    return "RECEIPT_SOURCE=parameters or RECEIPT_SOURCE=text"


def _would_agree(ids: MessageIds, parameter: str, text: str) -> bool:
    return ids._stored(text, ids._text) in ids._readings(parameter)


def _settings() -> Iterator[dict[str, str]]:
    for comparison in ("ignore-zeros", "ignore-case", "numeric"):
        yield {"comparison": comparison}
    for notation in ("hex-then-decimal", "decimal-then-hex", "hexadecimal", "decimal"):
        yield {"notation": notation}
    for parameter in ("hexadecimal", "decimal"):
        for notation in ("decimal", "hexadecimal"):
            yield {"notation": notation, "parameter": parameter}
