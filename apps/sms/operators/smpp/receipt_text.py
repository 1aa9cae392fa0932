"""The text of a receipt: `id:77 sub:001 dlvrd:001 submit date:… done date:… stat:DELIVRD err:000 text:…`, and its
relatives: other separators, other names, any order, fields that are missing or added, other decodings.

Source: SMPP 3.4, appendix B, which gives the form as an example only.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from apps.sms.operators.smpp import gsm7

# The names of a field, in lower case and without blanks, underscores and hyphens.
_NAMES: Final = {
    "id": "id",
    "messageid": "other id",
    "msgid": "other id",
    "smsid": "other id",
    "smsmessageid": "other id",
    "stat": "stat",
    "status": "other stat",
    "state": "other stat",
    "messagestate": "other stat",
    "messagestatus": "other stat",
    "msgstatus": "other stat",
    "dlrstatus": "other stat",
    "err": "err",
    "error": "err",
    "errcode": "err",
    "errorcode": "err",
    "donedate": "done date",
    "donetime": "done date",
    "datedone": "done date",
    "deliverydate": "done date",
    "submitdate": "submit date",
    # What follows is the customer's text, which may look like fields.
    "text": "text",
    "txt": "text",
    "msg": "text",
    "message": "text",
    "content": "text",
    "body": "text",
}
_TWO_WORDS: Final = (
    r"(?:submit|done|delivery|date|message|msg|sms|error|err|dlr)[\s_-]+(?:date|time|done|id|state|status|code)"
)
# A name begins after a separator, so that a colon within a value starts no field.
_START: Final = re.compile(
    rf"""(?:^|(?<=[\s;,|&{{(\x00]))["']?(?P<name>{_TWO_WORDS}|[a-z][\w-]*)["']?[ \t]*[:=]""", re.IGNORECASE
)
_SEPARATORS: Final = " \t\r\n;,|&{}()\"'"
_BLANK: Final = re.compile(r"[ \t\r\n]+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

ALPHABETS: Final = ("auto", "ascii", "latin-1", "gsm", "gsm-packed", "ucs2")


class Fields(NamedTuple):
    """The fields of a receipt's text, empty where missing. `stat`: the word, or several. `conflict`: the name of a
    field that is there twice with two values."""

    id: str = ""
    stat: str = ""
    err: str = ""
    done_date: str = ""
    conflict: str = ""


@functools.lru_cache(maxsize=1000)
def _field(name: str) -> str:
    """The field that a name stands for, empty for an unknown one."""
    return _NAMES.get(re.sub(r"[\s_-]", "", name.lower()), "")


def fields_of(text: str) -> Fields:
    """The fields before the quoted text."""
    starts = list(_START.finditer(text))
    found: dict[str, str] = {}
    conflict = ""
    for number, start in enumerate(starts):
        name = _field(start["name"])
        if name == "text":
            break
        if not name:
            continue
        end = starts[number + 1].start() if number + 1 < len(starts) else len(text)
        value = text[start.end() : end].strip(_SEPARATORS)
        if name.endswith("id") or name == "err":
            value = (_BLANK.split(value, maxsplit=1)[0]).strip(_SEPARATORS)
        if value and found.get(name, value) != value and name in ("id", "stat"):
            conflict = name
        if value:
            found.setdefault(name, value)
    return Fields(
        id=found.get("id") or found.get("other id", ""),
        stat=found.get("stat") or found.get("other stat", ""),
        err=found.get("err", ""),
        done_date=found.get("done date", ""),
        conflict=conflict,
    )


def readings(content: bytes, *, data_coding: int, alphabet: str = "auto") -> Iterator[str]:
    """The texts that these octets may be, the most probable first. data_coding is often wrong, so it only decides the
    order; `alphabet` other than `auto` decides alone."""
    if alphabet != "auto":
        yield _DECODERS[alphabet](content)
        return
    octets = content.removeprefix(b"\xef\xbb\xbf")
    order = ["ucs2", "cut", "gsm cut"] if data_coding & 0x0C == 0x08 else ["cut", "gsm cut", "ucs2"]
    for name in (*order, "blanks", "gsm blanks", "ucs2-le", "gsm-packed"):
        text = _DECODERS[name](octets)
        if text and not _is_cut_in_a_word(octets, name):
            yield text


def _is_cut_in_a_word(octets: bytes, name: str) -> bool:
    """True if a NUL that ends the text stands before a printable character: it may be the @ of the GSM alphabet."""
    if not name.endswith("cut"):
        return False
    end = octets.find(b"\0")
    return 0 <= end < len(octets) - 1 and octets[end + 1] > 0x20 and not octets[:end].endswith(b" ")


def _packed(octets: bytes) -> str:
    return gsm7.decode(gsm7.unpack(octets)).rstrip("@\r")


def _blanks(octets: bytes) -> bytes:
    """NULs as padding become blanks; a NUL within a word makes the octets unusable."""
    if re.search(rb"[!-~]\0+[!-~]", octets):
        return b""
    return octets.replace(b"\0", b" ")


def _utf_16(octets: bytes, encoding: str) -> str:
    return octets.decode(encoding, "replace").removeprefix("\ufeff").partition("\0")[0]


_DECODERS: Final[Mapping[str, Callable[[bytes], str]]] = {
    "cut": lambda octets: octets.partition(b"\0")[0].decode("latin-1"),
    "blanks": lambda octets: _blanks(octets).decode("latin-1"),
    "gsm cut": lambda octets: gsm7.decode(octets.partition(b"\0")[0]),
    "gsm blanks": lambda octets: gsm7.decode(_blanks(octets)),
    "ucs2-le": lambda octets: _utf_16(octets, "utf-16-le"),
    # The settings' names
    "ascii": lambda octets: octets.partition(b"\0")[0].decode("latin-1"),
    "latin-1": lambda octets: octets.partition(b"\0")[0].decode("latin-1"),
    "gsm": lambda octets: gsm7.decode(octets.rstrip(b"\0")),
    "gsm-packed": _packed,
    "ucs2": lambda octets: _utf_16(octets, "utf-16-be"),
}


def has_control_characters(text: str) -> bool:
    """True if the text has characters that no receipt's text has: it was decoded wrongly."""
    return bool(_CONTROL.search(text))
