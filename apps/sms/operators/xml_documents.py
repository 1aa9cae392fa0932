"""XML from operators as a document of dicts, lists and texts, which paths such as `response.message.id` reach into.

Elements are fields by their local names; attributes too, where no element has their name. Elements of one name are a
list. A text beside other content is the field `#text`. Document types are refused, so there are no entities to expand;
size, depth and the number of elements are bounded.
"""

from __future__ import annotations

from typing import Any, Final
from xml.parsers import expat

from apps.sms.operators import documents

_DEEPEST: Final = 50
_MOST_ELEMENTS: Final = 50_000
_LONGEST: Final = 5_000_000
_TEXT: Final = "#text"


class _Element:
    __slots__ = ("fields", "name", "text")

    def __init__(self, name: str, attributes: dict[str, str]) -> None:
        self.name = name
        self.fields: dict[str, Any] = {}
        self.text: list[str] = []
        for attribute, value in attributes.items():
            self.fields.setdefault(_local(attribute), value)

    def add(self, name: str, value: object, *, is_first: bool) -> None:
        if name not in self.fields or is_first:  # an element goes before an attribute of its name
            self.fields[name] = value
        elif isinstance(self.fields[name], list):
            self.fields[name].append(value)
        else:
            self.fields[name] = [self.fields[name], value]

    def value(self) -> object:
        text = "".join(self.text).strip()
        if not self.fields:
            return text
        return {**self.fields, _TEXT: text} if text else self.fields


class _Builder:
    def __init__(self) -> None:
        self.root: dict[str, object] | None = None
        self._open: list[_Element] = []
        self._names: list[set[str]] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) >= _DEEPEST or self._count > _MOST_ELEMENTS:
            raise ValueError("it has too many elements")
        self._open.append(_Element(_local(name), attributes))
        self._names.append(set())

    def end(self, _name: str) -> None:
        element = self._open.pop()
        self._names.pop()
        if not self._open:
            self.root = {element.name: element.value()}
            return
        seen = self._names[-1]
        self._open[-1].add(element.name, element.value(), is_first=element.name not in seen)
        seen.add(element.name)

    def text(self, text: str) -> None:
        if self._open:
            self._open[-1].text.append(text)


def decode_xml(body: bytes, charset: str = "") -> dict[str, object]:
    """The document in a body. `charset`: the sender's declaration; one in the document goes before it.

    Raises ValueError if it is not well-formed, has a document type, or is too large.
    """
    if len(body) > _LONGEST:
        raise ValueError("it is too long")
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = _refuse
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(_prepared(body, charset), True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from None
    except LookupError:  # of the encoding that the document declares
        raise ValueError("its encoding is not known") from None
    if builder.root is None:
        raise ValueError("it has no element")
    return builder.root


def looks_like_xml(body: bytes) -> bool:
    """True if a body begins like XML, in any encoding."""
    return body.lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")[:1] == b"<"


def _refuse(*_arguments: object) -> None:
    raise ValueError("it has a document type")


def _prepared(body: bytes, charset: str) -> bytes:
    """The body without blanks before its declaration, which the standard forbids and operators write."""
    if body.startswith((b"\xff\xfe", b"\xfe\xff")):
        return body
    stripped = body.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n\0")
    declares = stripped.startswith(b"<?xml")
    return stripped if declares or not charset else documents.decode_text(stripped, charset).encode()


def _local(name: str) -> str:
    """A name without its prefix."""
    return name.rpartition(":")[2]
