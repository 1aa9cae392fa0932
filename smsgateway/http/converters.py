"""Path converters."""

from __future__ import annotations

from uuid import UUID

from django.urls import register_converter

from smsgateway import ids


class UlidConverter:
    """`<ulid:name>`: 26 characters in the path, a UUID in the view. Other texts do not match, which is a 404."""

    regex = "[0-9A-Za-z]{26}"

    def to_python(self, value: str) -> UUID:
        return ids.from_text(value)

    def to_url(self, value: UUID) -> str:
        return ids.to_text(value)


register_converter(UlidConverter, "ulid")
