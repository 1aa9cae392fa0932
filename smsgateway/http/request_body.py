"""Reads the body of a request: complete, decompressed and in UTF-8. Refuses other bodies with the reason."""

from __future__ import annotations

import codecs
import re
import zlib
from typing import Final

from django.conf import settings
from django.http import HttpRequest
from gunicorn.http.errors import ParseException

from smsgateway import errors
from smsgateway.http.field_errors import fault

_TOO_LARGE: Final = "Send fewer messages in one request."
_CUT: Final = "The body ended before its announced end."
# Each member of a gzip body costs about as much as a small message, so their number is limited as well as their size.
_MOST_MEMBERS: Final = 10_000
# zlib copies what follows a member, so it gets the compressed body in pieces.
_PIECE: Final = 16_384
_CHARSET: Final = re.compile(r';[ \t]*charset[ \t]*=[ \t]*"?([^";]*)"?', re.IGNORECASE)
_UTF_8: Final = frozenset(("", "utf-8", "utf8"))
# An ASCII body has the same bytes in all of these, and some clients declare one of them for every body.
_LIKE_ASCII: Final = frozenset(
    ("us-ascii", "ascii", "iso-8859-1", "iso8859-1", "latin1", "latin-1", "iso-8859-15", "windows-1252", "cp1252")
)


def unpacked_body(request: HttpRequest, *, most: int | None = None) -> bytes:
    """The whole body, decompressed if it is gzip. `most`: its largest size, if that is below HTTP_MAX_BODY_BYTES.

    Raises MalformedRequest if it is cut short or badly framed, UnsupportedMediaType for another content coding,
    BodyTooLarge (also for its decompressed size), and InvalidRequest if it is not valid gzip.
    """
    coding = _coding(request.META.get("HTTP_CONTENT_ENCODING", ""))
    longest = _longest() if most is None else min(most, _longest())
    body = _whole(request, longest)
    return _gunzip(body, longest=longest) if coding == "gzip" else body


def require_json(request: HttpRequest) -> None:
    """Raises UnsupportedMediaType if the body is not declared as JSON."""
    content_type = request.META.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if content_type not in ("", "application/json"):
        raise errors.UnsupportedMediaType(
            "Send the header Content-Type: application/json.", headers={"Accept": "application/json"}
        )


def in_utf_8(request: HttpRequest, body: bytes) -> bytes:
    """The JSON body without a byte order mark (RFC 8259, section 8.1).

    Raises UnsupportedMediaType if its declared charset would read the bytes differently.
    """
    for charset in _CHARSET.findall(request.META.get("CONTENT_TYPE", "")):
        name = charset.strip().lower()
        if name not in _UTF_8 and not (name in _LIKE_ASCII and body.isascii()):
            raise errors.UnsupportedMediaType(
                "Encode the body as UTF-8, and leave out charset or send charset=utf-8.",
                headers={"Accept": "application/json"},
            )
    return body.removeprefix(codecs.BOM_UTF8)


def _coding(header: str) -> str:
    """The one content coding of the body: gzip or identity (RFC 9110, section 8.4.1)."""
    codings = [coding for coding in map(str.strip, header.lower().split(",")) if coding not in ("", "identity")]
    if not codings:
        return "identity"
    if codings in (["gzip"], ["x-gzip"]):
        return "gzip"
    raise errors.UnsupportedMediaType(
        "Send the body uncompressed, or compressed once with Content-Encoding: gzip.",
        headers={"Accept-Encoding": "gzip, identity"},
    )


def _longest() -> int:
    return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)


def _whole(request: HttpRequest, longest: int) -> bytes:
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdecimal() and int(length) > longest:
        raise errors.BodyTooLarge(_TOO_LARGE)
    try:
        if "HTTP_TRANSFER_ENCODING" in request.META:
            return _chunked(request, longest)
        body = request.body
    except ParseException:
        raise errors.MalformedRequest(
            "The chunks of the body are not valid HTTP/1.1; the request had no effect."
        ) from None
    except OSError:
        raise errors.MalformedRequest(_CUT) from None
    if length.isdecimal() and len(body) < int(length):
        raise errors.MalformedRequest(_CUT)
    return body


def _chunked(request: HttpRequest, longest: int) -> bytes:
    """The body of a request without Content-Length, which Django would treat as empty."""
    if not request.META.get("wsgi.input_terminated"):  # reading would block
        return request.body
    body: bytes = request.META["wsgi.input"].read(longest + 1)
    if len(body) > longest:
        raise errors.BodyTooLarge(_TOO_LARGE)
    return body


def _gunzip(packed: bytes, *, longest: int) -> bytes:
    """All members of a gzip body (RFC 1952, section 2.2), one after the other."""
    unpacked, left, position = [], longest + 1, 0
    for number in range(_MOST_MEMBERS):
        member = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        while not member.eof:
            piece = packed[position : position + _PIECE]
            if not piece:
                raise _not_gzip("it ends too early" if packed else "it is empty")
            position += len(piece)
            try:
                unpacked.append(member.decompress(piece, left))
            except zlib.error:
                raise _not_gzip(_reason(number)) from None
            left -= len(unpacked[-1])
            if left <= 0:
                raise errors.BodyTooLarge(_TOO_LARGE)
        position -= len(member.unused_data)
        if position == len(packed):
            return b"".join(unpacked)
    raise _not_gzip(f"it has more than {_MOST_MEMBERS} members")


def _reason(members: int) -> str:
    if members == 0:
        return "it has another format, or its checksum is wrong"
    return f"what follows its first {members} members has another format, or a checksum is wrong"


def _not_gzip(reason: str) -> errors.InvalidRequest:
    found = fault("", "malformed_gzip", f"The body is not valid gzip: {reason}.")
    return errors.InvalidRequest("Send the whole body as gzip, or uncompressed.", errors=[found])
