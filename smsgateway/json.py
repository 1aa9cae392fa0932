"""JSON in and out, by msgspec: the decoder checks types while it reads, which is what makes validation cheap."""

from __future__ import annotations

import msgspec

encode = msgspec.json.encode
decode = msgspec.json.decode
