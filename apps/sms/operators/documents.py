"""JSON documents as operators write them, and the values in them.

Every unambiguous form is read: byte order marks, UTF-16 and UTF-32, older charsets, true and null, 1.0 for 1, and a
list of one element instead of the element.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

# The index of the chosen element, by the list's place in a document (see `find`).
Picks = Mapping[str, int]

WHOLE: Final[Picks] = {}

# Longer marks first: the one of UTF-32 begins with the one of UTF-16.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Without a mark: a document's first character is ASCII, so the zeros around it show the encoding (RFC 4627).
_ZEROS: Final = (
    (re.compile(rb"[^\0]\0\0\0", re.DOTALL), "utf-32-le"),
    (re.compile(rb"\0\0\0[^\0]", re.DOTALL), "utf-32-be"),
    (re.compile(rb"[^\0]\0", re.DOTALL), "utf-16-le"),
    (re.compile(rb"\0[^\0]", re.DOTALL), "utf-16-be"),
)
# Only names of text encodings: Python has other codecs, some slow, some for other things than text.
_CHARSET: Final = re.compile(r"(?:utf|iso|windows|cp|latin|us-ascii|ascii)[-_0-9a-z]*", re.IGNORECASE)
_WORDS: Final = frozenset({"true", "false", "null"})
# Longer numbers have no meaning here, and 1e999999999 must not be written out.
_LONGEST_NUMBER: Final = 100


def decode_text(body: bytes, charset: str = "") -> str:
    """The text of a body. `charset`: the sender's declaration; a byte order mark overrides it.

    Never raises: unreadable octets become U+FFFD. Blanks and NULs around the text are removed.
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return _strip(body[len(mark) :].decode(encoding, "replace"))
    for zeros, encoding in _ZEROS:
        if zeros.match(body):
            return _strip(body.decode(encoding, "replace"))
    for encoding in ("utf-8", charset):
        if _CHARSET.fullmatch(encoding):
            try:
                return _strip(body.decode(encoding))
            except (UnicodeError, LookupError):
                continue
    return _strip(body.decode("utf-8", "replace"))


def decode_document(body: bytes, charset: str = "") -> object:
    """The JSON document in a body. Whole numbers are int, all others Decimal. Raises ValueError if it has no
    document."""
    try:
        return _DECODER.decode(decode_text(body, charset))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from None


def find(document: object, path: str, picks: Picks = WHOLE, *, null: str | None = None) -> str | None:
    """The text, number or boolean at a path such as `result.0.id`, as text. Returns `null` if it is missing or null,
    None if it is an object or a list.

    In a list on the path the element is chosen by `picks` or by an index in the path; a list of one needs neither.
    """
    steps = path.split(".")
    done, place = 0, ""
    while True:
        if isinstance(document, list):
            index = _index(steps, done)
            chosen = picks.get(place, index)
            if chosen is None and len(document) == 1:
                chosen = 0
            if chosen is None or chosen >= len(document):
                return None if document else null
            document = document[chosen]
            done, place = done + (index is not None), place + "[]"
        elif document is None:
            return null
        elif done == len(steps):
            return text_of(document)
        elif isinstance(document, dict):
            name, taken = _name(document, steps[done:])
            document = document.get(name)
            done, place = done + taken, f"{place}.{name}"
        else:
            return None


def text_of(value: object) -> str | None:
    """A text, number or boolean as text: 1.0 is `1`, 1.5e3 is `1500`, true is `true`. None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value) if -(10**_LONGEST_NUMBER) < value < 10**_LONGEST_NUMBER else None
    if isinstance(value, Decimal) and -_LONGEST_NUMBER < value.adjusted() < _LONGEST_NUMBER:
        return format(value, "f").rstrip("0").rstrip(".")
    return None


def code_of(text: str) -> str:
    """A code from an answer or a setting in the form for comparisons: `True` is `true`, `1.0` is `1`."""
    if text.lower() in _WORDS:
        return text.lower()
    if re.fullmatch(r"-?[0-9]{1,20}\.[0-9]{1,20}", text):
        return text_of(_number(text)) or text
    return text


def elements(document: object, paths: Sequence[str]) -> Iterator[Picks]:
    """The `picks` for `find`, one for each thing that a document lists at these paths.

    A list on one of the paths stands for all its elements if the path has the index 0 there, or no index. Another index
    stands for that one element. Raises ValueError for two lists that are not nested, as their elements cannot be
    paired; RecursionError for a document that is nested too deeply.
    """
    return _elements(document, paths, paths, WHOLE)


def _elements(document: object, paths: Sequence[str], left: Sequence[str], picks: Picks) -> Iterator[Picks]:
    if not left:
        yield picks
        return
    open_list, passed = _open_list(document, left[0], paths, picks)
    if open_list is None:
        yield from _elements(document, paths, left[1:], picks)
        return
    if open_list.length and picks.keys() - passed:
        raise ValueError("it has two lists beside each other, and nothing shows which elements belong together")
    for index in range(open_list.length):
        yield from _elements(document, paths, left, {**picks, open_list.place: index})


def paths(document: object, *, most: int = 200) -> Iterator[str]:
    """The paths of the texts, numbers and booleans in a document, without indices, the outer ones first."""
    level: list[tuple[str, object]] = [("", document)]
    for _ in range(most):
        below: list[tuple[str, object]] = []
        for place, value in level:
            if isinstance(value, dict):
                below += [(f"{place}.{name}".lstrip("."), member) for name, member in list(value.items())[:most]]
            elif isinstance(value, list):
                below += [(place, element) for element in value[:1]]
            elif text_of(value) is not None:
                yield place
        if not below:
            return
        level = below[:most]


class _List(NamedTuple):
    place: str
    length: int


def _open_list(document: object, path: str, paths: Sequence[str], picks: Picks) -> tuple[_List | None, set[str]]:
    """The first list on the path that stands for all its elements and has no pick yet, or None; and the places of the
    lists before it that have a pick. A list of one element needs no pick."""
    steps = path.split(".")
    done, place = 0, ""
    passed: set[str] = set()
    while True:
        if isinstance(document, list):
            index = _index(steps, done)
            if place in picks:
                chosen = picks[place]
                passed.add(place)
            elif index or len(document) == 1 or _has_other_index(paths, steps[:done]):
                chosen = index or 0
            else:
                return _List(place, len(document)), passed
            if chosen >= len(document):
                return None, passed
            document = document[chosen]
            done, place = done + (index is not None), place + "[]"
        elif done < len(steps) and isinstance(document, dict):
            name, taken = _name(document, steps[done:])
            document = document.get(name)
            done, place = done + taken, f"{place}.{name}"
        else:
            return None, passed


def _name(document: Mapping[str, object], steps: Sequence[str]) -> tuple[str, int]:
    """The next member's name on a path, and its number of steps: the names in forms may have dots."""
    whole = ".".join(steps)
    return (whole, len(steps)) if whole in document else (steps[0], 1)


def _has_other_index(paths: Sequence[str], place: Sequence[str]) -> bool:
    """True if one of the paths has an index other than 0 in the list at `place`."""
    return any(
        path.split(".")[: len(place)] == list(place) and bool(_index(path.split("."), len(place))) for path in paths
    )


def _index(steps: Sequence[str], done: int) -> int | None:
    """The next step as the index of a list; None if it is no index."""
    return int(steps[done]) if done < len(steps) and re.fullmatch(r"[0-9]{1,6}", steps[done]) else None


def _number(text: str) -> int | Decimal:
    number = Decimal(text)
    whole = abs(number.adjusted()) < _LONGEST_NUMBER and number == number.to_integral_value()
    return int(number) if whole else number


def _strip(text: str) -> str:
    return text.strip("\ufeff\0 \t\r\n")


_DECODER: Final = msgspec.json.Decoder(float_hook=_number)
