"""The document in a request that brings receipts: JSON, XML, a form, or the fields of the query.

The declared content type decides only where the body may be several things: many systems declare a wrong one.
"""

from __future__ import annotations

import email.parser
import email.policy
import re
from typing import Final
from urllib.parse import parse_qsl

from apps.sms.events import ReceiptUnread
from apps.sms.operators import documents
from apps.sms.operators.base import UNREADABLE_RECEIPT, InvalidReceipt, Operator, ReadReceipt
from apps.sms.operators.xml_documents import decode_xml, looks_like_xml
from smsgateway.errors import UnsupportedMediaType

_FORM: Final = "application/x-www-form-urlencoded"
_MULTIPART: Final = "multipart/form-data"
_JSON: Final = frozenset({"", "application/json", "text/json", "text/plain"})
_MOST_FIELDS: Final = 200
# `a=1&b=2`, however it is declared
_LOOKS_LIKE_FORM: Final = re.compile(rb"[\w.\[\]%-]{1,100}=[^=\s]*(?:&[\w.\[\]%-]{1,100}=[^=\s]*)*\s*\Z")


def is_in_query(*, method: str, query: str, body: bytes) -> bool:
    """True if the query has the receipt."""
    return method == "GET" or (not body and bool(query))


def receipt_document(*, method: str, content_type: str, query: str, body: bytes) -> object:
    """The document with the receipts. A form or a query becomes a dict of its fields, as text.

    Raises InvalidReceipt if it cannot be read, UnsupportedMediaType if it is nothing known.
    """
    if is_in_query(method=method, query=query, body=body):
        return _fields(parse_qsl_bounded(query))
    media_type, _, parameters = content_type.partition(";")
    media_type = media_type.strip().lower()
    charset = parameters.lower().partition("charset=")[2].partition(";")[0].strip(" \"'")
    begin = documents.decode_text(body[:64], charset)[:1]
    if begin in ("{", "["):
        return _json(body, charset)
    if looks_like_xml(body):
        return _xml(body, charset)
    if media_type == _MULTIPART:
        try:
            return _fields(_multipart(content_type, body))
        except (RecursionError, ValueError, LookupError, TypeError, AttributeError):  # as the library raises for any
            raise unreadable("The body is not a multipart form.", code="malformed_form") from None
    if media_type == _FORM or _LOOKS_LIKE_FORM.match(body.removeprefix(b"\xef\xbb\xbf")):
        return _fields(parse_qsl_bounded(documents.decode_text(body, charset)))
    if media_type in _JSON or media_type.endswith("+json"):
        return _json(body, charset)
    if media_type.endswith("xml"):
        return _xml(body, charset)
    raise UnsupportedMediaType(
        f"Send the header Content-Type: application/json, application/xml or {_FORM}.",
        headers={"Accept": f"application/json, application/xml, {_FORM}"},
    )


def read_document_again(operator: Operator, unread: ReceiptUnread) -> list[ReadReceipt]:
    """`Operator.read_unread` of an operator whose receipts come over HTTP."""
    try:
        document = receipt_document(
            method=unread.method, content_type=unread.content_type, query=unread.query, body=unread.octets
        )
    except UnsupportedMediaType as fault:
        raise InvalidReceipt(str(fault), errors=[]) from None
    return operator.read_receipts(document)


def parse_qsl_bounded(form: str) -> list[tuple[str, str]]:
    """The fields of a form or query. Raises InvalidReceipt if there are too many."""
    try:
        return parse_qsl(form, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise unreadable(f"The form has more than {_MOST_FIELDS} fields.", code="malformed_form") from None


def _json(body: bytes, charset: str) -> object:
    try:
        return documents.decode_document(body, charset)
    except ValueError:
        raise unreadable("The body is not a JSON document.") from None


def _xml(body: bytes, charset: str) -> object:
    try:
        return decode_xml(body, charset)
    except ValueError as error:
        raise unreadable(f"The body is not an XML document: {error}.", code="malformed_xml") from None


def _multipart(content_type: str, body: bytes) -> list[tuple[str, str]]:
    """The fields of a multipart form. Files are not read."""
    head = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    parsed = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    fields: list[tuple[str, str]] = []
    for part in parsed.walk():
        name = part.get_param("name", header="content-disposition")
        if isinstance(name, str) and not part.is_multipart() and len(fields) <= _MOST_FIELDS:
            payload = part.get_payload(decode=True)
            fields.append((name, documents.decode_text(payload if isinstance(payload, bytes) else b"")))
    if len(fields) > _MOST_FIELDS:
        raise unreadable(f"The form has more than {_MOST_FIELDS} fields.", code="malformed_form")
    return fields


def _fields(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Raises InvalidReceipt if a field is repeated: it is unclear which value belongs to which receipt."""
    fields = dict(pairs)
    if not fields:
        raise unreadable("The form has no fields.", code="malformed_form")
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted(name for name in fields if names.count(name) > 1)
        errors = [{"field": name, "code": "repeated", "reason": "Send one receipt in a form."} for name in twice]
        raise InvalidReceipt(UNREADABLE_RECEIPT, errors=errors)
    return fields


def unreadable(reason: str, code: str = "malformed_json") -> InvalidReceipt:
    """The error of a body that is no document."""
    return InvalidReceipt(UNREADABLE_RECEIPT, errors=[{"field": "", "code": code, "reason": reason}])
