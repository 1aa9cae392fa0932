"""Operators whose HTTP API is described by settings: see docs/reference/operators.md."""

from apps.sms.operators.generic_http.client import GenericHttp

__all__ = ["GenericHttp"]
