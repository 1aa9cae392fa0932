"""JSON by msgspec, whose decoder checks types while it reads. That makes validation cheap."""

from __future__ import annotations

from typing import Any

import msgspec
from rest_framework.renderers import BaseRenderer

encode = msgspec.json.encode
decode = msgspec.json.decode


class JsonRenderer(BaseRenderer):
    """Renders what msgspec can encode: dicts, lists, structs, datetimes, UUIDs."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return b"" if data is None else encode(data)
