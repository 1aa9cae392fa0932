"""Operators whose HTTP API is described by settings: see docs/operators.md."""

from apps.sms.operators.generic_http.client import GenericHttp

__all__ = ["GenericHttp"]
