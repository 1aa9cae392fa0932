"""JSON by msgspec, whose decoder checks types while it reads. That makes validation cheap."""

from __future__ import annotations

import msgspec

encode = msgspec.json.encode
decode = msgspec.json.decode
