"""Renders the responses of Django REST Framework's views as JSON."""

from __future__ import annotations

from typing import Any

from rest_framework.renderers import BaseRenderer

from smsgateway import json


class JsonRenderer(BaseRenderer):
    """Renders what msgspec can encode: dicts, lists, structs, datetimes, UUIDs."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return b"" if data is None else json.encode(data)
