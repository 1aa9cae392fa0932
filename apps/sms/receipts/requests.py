"""Receipts in an operator's HTTP request: a JSON or XML document, a form or a query."""

from __future__ import annotations

from django.http import HttpRequest

from apps.sms.operators import receipt_bodies


def signed_part(request: HttpRequest, body: bytes) -> bytes:
    """The signed bytes: the body, or the query if that has the receipt."""
    query = query_of(request)
    in_query = receipt_bodies.is_in_query(method=str(request.method), query=query, body=body)
    return query.encode() if in_query else body


def receipt_document(request: HttpRequest, body: bytes) -> object:
    """See `receipt_bodies.receipt_document`."""
    return receipt_bodies.receipt_document(
        method=str(request.method), content_type=content_type_of(request), query=query_of(request), body=body
    )


def content_type_of(request: HttpRequest) -> str:
    """The declared content type, empty if there is none."""
    return str(request.META.get("CONTENT_TYPE", ""))


def query_of(request: HttpRequest) -> str:
    """The query as it came."""
    return str(request.META.get("QUERY_STRING", ""))
