"""Receipts in an operator's HTTP request: a JSON document, a form or a query."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qsl

from django.http import HttpRequest

from apps.sms.operators import documents
from apps.sms.operators.base import UNREADABLE_RECEIPT, InvalidReceipt
from smsgateway.errors import UnsupportedMediaType

_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = frozenset({"", "application/json", "text/json", "text/plain"})
_MOST_FIELDS: Final = 200


def signed_part(request: HttpRequest, body: bytes) -> bytes:
    """The signed bytes: the body, or the query if that has the receipt."""
    return _query(request).encode() if _is_in_query(request, body) else body


def receipt_document(request: HttpRequest, body: bytes) -> object:
    """The document with the receipts. A form or a query becomes a dict of its fields, as text.

    Raises InvalidReceipt if it cannot be read, UnsupportedMediaType if it is neither JSON nor a form.
    """
    if _is_in_query(request, body):
        return _fields(_query(request))
    media_type, _, parameters = request.META.get("CONTENT_TYPE", "").lower().partition(";")
    media_type = media_type.strip()
    charset = parameters.partition("charset=")[2].partition(";")[0].strip(" \"'")
    if media_type == _FORM and body.lstrip()[:1] not in (
        b"{",
        b"[",
    ):  # some send JSON with a form's content type
        return _fields(documents.decode_text(body, charset))
    if media_type != _FORM and media_type not in _JSON and not media_type.endswith("+json"):
        raise UnsupportedMediaType(
            f"Send the header Content-Type: application/json or {_FORM}.",
            headers={"Accept": f"application/json, {_FORM}"},
        )
    try:
        return documents.decode_document(body, charset)
    except ValueError:
        raise _unreadable("The body is not a JSON document.") from None


def _is_in_query(request: HttpRequest, body: bytes) -> bool:
    return request.method == "GET" or (not body and bool(_query(request)))


def _query(request: HttpRequest) -> str:
    return str(request.META.get("QUERY_STRING", ""))


def _fields(form: str) -> dict[str, str]:
    """Raises InvalidReceipt if a field is repeated: it is unclear which value belongs to which receipt."""
    try:
        pairs = parse_qsl(form, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise _unreadable(f"The form has more than {_MOST_FIELDS} fields.", code="malformed_form") from None
    fields = dict(pairs)
    if not fields:
        raise _unreadable("The form has no fields.", code="malformed_form")
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted(name for name in fields if names.count(name) > 1)
        errors = [{"field": name, "code": "repeated", "reason": "Send one receipt in a form."} for name in twice]
        raise InvalidReceipt(UNREADABLE_RECEIPT, errors=errors)
    return fields


def _unreadable(reason: str, code: str = "malformed_json") -> InvalidReceipt:
    return InvalidReceipt(UNREADABLE_RECEIPT, errors=[{"field": "", "code": code, "reason": reason}])
