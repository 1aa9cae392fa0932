"""The customer field of forms: chosen by search, or typed as an id as the console and the API show it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib.admin.widgets import AutocompleteSelect

from apps.sms.numbers import without_marks
from smsgateway import ids


class CustomerSelect(AutocompleteSelect):
    """Accepts a ULID too. Django's own widget fails with a 500 when it redisplays a value that is not a key."""

    def value_from_datadict(self, data: Mapping[str, Any], files: Any, name: str) -> Any:
        return _key_of(super().value_from_datadict(data, files, name))

    def format_value(self, value: Any) -> Any:
        keys = (_key_of(text) for text in super().format_value(value))
        return [key for key in keys if key == "" or _is_key(key)]


def _key_of(text: Any) -> Any:
    """The key that a ULID stands for; any other text unchanged."""
    try:
        return str(ids.from_text(without_marks(text).strip())) if isinstance(text, str) else text
    except ValueError:
        return text


def _is_key(text: Any) -> bool:
    try:
        UUID(str(text))
    except ValueError:
        return False
    return True
